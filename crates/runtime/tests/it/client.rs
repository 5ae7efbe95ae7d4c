//! An HTTP/1.1 client on one socket, with which the tests see every byte and every close.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Waits for an event. Fails after a time limit, so that a missing event does not block the test suite.
pub(crate) async fn within<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), event).await.unwrap_or_else(|_| panic!("it never happened"))
}

pub(crate) struct Client(TcpStream);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).await;
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(path).await;
        self.answer().await
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        within(self.read_answer()).await
    }

    async fn read_answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(
                self.0
                    .read_u8()
                    .await
                    .unwrap_or_else(|e| panic!("{e} after {:?}", String::from_utf8_lossy(&head))),
            );
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        Answer { status, headers, body: String::from_utf8(body).unwrap() }
    }

    /// Waits until the server closes the connection, and returns the bytes that it sent before.
    pub(crate) async fn closed(mut self) -> String {
        let mut rest = Vec::new();
        // a reset also counts as a close
        let _reset = within(self.0.read_to_end(&mut rest)).await;
        String::from_utf8(rest).unwrap()
    }
}

/// Waits until connections to the address are refused.
pub(crate) async fn refused(addr: SocketAddr) {
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
