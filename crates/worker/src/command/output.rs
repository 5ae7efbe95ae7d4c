//! The output of a program. Owns its bounds: memory use is limited however much the program writes.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::handler::JobContext;

/// How many bytes of stderr the message of a failure contains.
const TAIL_BYTES: usize = 2 * 1024;
/// The longest line of stderr in bytes; the rest of the line is dropped.
const LINE_BYTES: usize = 4 * 1024;

/// stdout, up to a limit.
pub(super) struct Captured {
    bytes: Vec<u8>,
    limit: usize,
}

impl Captured {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    /// Reads to the end, or to one byte beyond the limit.
    pub(super) async fn read(&mut self, from: Option<impl AsyncRead + Unpin>) {
        if let Some(from) = from {
            let beyond = u64::try_from(self.limit).unwrap_or(u64::MAX).saturating_add(1);
            // a read error is treated as the end of the output
            let _ended = from.take(beyond).read_to_end(&mut self.bytes).await;
        }
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.bytes.len() > self.limit
    }

    /// The output as text; invalid UTF-8 becomes U+FFFD.
    pub(super) fn into_text(self) -> String {
        String::from_utf8(self.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// stderr: every line is added to the job's log; the end is kept for the message of a failure.
#[derive(Default)]
pub(super) struct Tail {
    text: String,
    line: Vec<u8>,
}

impl Tail {
    /// Reads to the end.
    pub(super) async fn read(&mut self, from: Option<impl AsyncRead + Unpin>, context: &JobContext) {
        let Some(mut from) = from else { return };
        let mut buffer = vec![0; 8 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            for &byte in &buffer[..count] {
                match byte {
                    b'\n' => self.end_line(context),
                    _ if self.line.len() < LINE_BYTES => self.line.push(byte),
                    _ => {}
                }
            }
        }
        if !self.line.is_empty() {
            self.end_line(context);
        }
    }

    pub(super) fn as_str(&self) -> &str {
        self.text.trim()
    }

    fn end_line(&mut self, context: &JobContext) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        context.log(&line);
        self.text.push_str(&line);
        self.text.push('\n');
        let start = self.text.len().saturating_sub(TAIL_BYTES);
        self.text.drain(..self.text.ceil_char_boundary(start));
    }
}
