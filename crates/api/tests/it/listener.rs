//! A client of a stream of server-sent events, over a socket of its own, which can read as slowly as a test wants.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::bench::KEY;
use crate::client::{Answer, HANG, read};

/// An open stream.
pub(crate) struct Listener {
    stream: TcpStream,
    /// Status and headers of the response.
    pub(crate) head: Answer,
    /// Bytes of the body that are not decoded yet.
    raw: Vec<u8>,
    /// What is decoded and not read yet.
    text: Vec<u8>,
    /// Comments that were received.
    pub(crate) comments: usize,
    is_over: bool,
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Received {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) json: Value,
}

impl Listener {
    /// Opens a stream that must be accepted.
    pub(crate) async fn open(addr: SocketAddr, path: &str, last: Option<&str>) -> Self {
        let listener = Self::open_with(addr, path, last, None).await;
        assert_eq!(listener.head.status, 200, "{:?}", listener.head);
        listener
    }

    /// The same with a receive buffer of this size.
    pub(crate) async fn open_with(
        addr: SocketAddr,
        path: &str,
        last: Option<&str>,
        buffer: Option<u32>,
    ) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut stream = timeout(HANG, socket.connect(addr)).await.unwrap().unwrap();
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        let head = format!("GET {path} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {KEY}\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut raw = Vec::new();
        let end = loop {
            if let Some(at) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let count = timeout(HANG, stream.read_buf(&mut raw)).await.unwrap().unwrap();
            assert_ne!(count, 0, "no response: {:?}", String::from_utf8_lossy(&raw));
        };
        let head = read(&raw[..end]);
        raw.drain(..end);
        Self { stream, head, raw, text: Vec::new(), comments: 0, is_over: false }
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Received> {
        loop {
            if let Some(event) = self.event() {
                return Some(event);
            }
            if self.is_over {
                assert_eq!(self.text, b"", "an event was cut");
                return None;
            }
            self.read_more().await;
        }
    }

    /// The next event with this name; others are skipped.
    pub(crate) async fn named(&mut self, name: &str) -> Received {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended without {name}"));
            if event.name == name {
                return event;
            }
        }
    }

    /// All events up to the first with this name.
    pub(crate) async fn until(&mut self, name: &str) -> Vec<Received> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended without {name}"));
            let is_last = event.name == name;
            events.push(event);
            if is_last {
                return events;
            }
        }
    }

    /// All events until the end.
    pub(crate) async fn rest(&mut self) -> Vec<Received> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Reads until so many comments have arrived.
    pub(crate) async fn comments_reach(&mut self, count: usize) {
        while self.comments < count {
            assert_eq!(self.event(), None);
            self.read_more().await;
        }
    }

    async fn read_more(&mut self) {
        let count = timeout(HANG, self.stream.read_buf(&mut self.raw)).await.expect("no event came").unwrap();
        if count == 0 {
            self.is_over = true;
        }
        self.decode();
    }

    /// Decodes complete chunks.
    fn decode(&mut self) {
        while let Some(line) = self.raw.windows(2).position(|two| two == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if self.raw.len() < line + 2 + size + 2 {
                return;
            }
            self.text.extend_from_slice(&self.raw[line + 2..line + 2 + size]);
            self.raw.drain(..line + 2 + size + 2);
            self.is_over |= size == 0;
        }
    }

    fn event(&mut self) -> Option<Received> {
        while let Some(at) = self.text.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.text.drain(..at + 2).collect();
            let block = String::from_utf8(block).unwrap();
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(ToOwned::to_owned))
            };
            if let Some(name) = field("event") {
                let json = serde_json::from_str(&field("data").unwrap()).unwrap();
                return Some(Received { name, id: field("id"), json });
            }
            self.comments += usize::from(block.starts_with(':'));
        }
        None
    }
}

/// The lines of `log` events.
pub(crate) fn lines(events: &[Received]) -> Vec<String> {
    let logs = events.iter().filter(|event| event.name == "log");
    logs.map(|event| event.json["line"].as_str().unwrap().to_owned()).collect()
}

/// The names of events, without repetitions of the same name.
pub(crate) fn names(events: &[Received]) -> Vec<&str> {
    let mut names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    names.dedup();
    names
}
