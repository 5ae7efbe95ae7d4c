//! What a program says. Owns the bounds: however much comes, memory stays small.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::handler::JobContext;

/// Bytes of stderr that a failure's message shows.
const TAIL_BYTES: usize = 2 * 1024;
/// A line of stderr is cut here.
const LINE_BYTES: usize = 4 * 1024;

/// stdout, up to a limit.
pub(super) struct Captured {
    bytes: Vec<u8>,
    most: usize,
}

impl Captured {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most }
    }

    /// Reads to the end, or to one byte beyond the limit.
    pub(super) async fn read(&mut self, from: Option<impl AsyncRead + Unpin>) {
        if let Some(from) = from {
            let beyond = u64::try_from(self.most).unwrap_or(u64::MAX).saturating_add(1);
            // a broken pipe ends the output like any other end
            let _ended = from.take(beyond).read_to_end(&mut self.bytes).await;
        }
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.bytes.len() > self.most
    }

    /// As text; bytes that are none become U+FFFD.
    pub(super) fn into_text(self) -> String {
        String::from_utf8(self.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// stderr: every line goes to the job's log, the end is kept for the message of a failure.
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
