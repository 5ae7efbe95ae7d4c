//! An HTTP/1.1 client with one socket per request, with which tests can send invalid requests.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Time limit; reached only if the test fails.
pub(crate) const HANG: Duration = Duration::from_mins(1);

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Checks the status and returns the body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// Checks that the body is a complete problem document, and returns the last part of its type.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], status, "{self:?}");
        for member in ["title", "detail"] {
            assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {self:?}");
        }
        assert_eq!(document["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        for word in ["sqlx", "panicked", "src/", "jobqueue."] {
            assert!(!self.text.contains(word), "`{word}` leaks in {self:?}");
        }
        if status == 429 || status == 503 {
            assert!(self.header("retry-after").is_some(), "{self:?}");
        }
        let kind = document["type"].as_str().unwrap();
        kind.strip_prefix("urn:jobqueue:problem:").unwrap().to_owned()
    }

    /// The JSON pointers of a problem.
    pub(crate) fn pointers(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap_or("-").to_owned()).collect()
    }
}

/// Sends bytes and reads until the server closes the connection.
pub(crate) async fn exchange(addr: SocketAddr, bytes: &[u8]) -> Answer {
    let talk = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        // the server may respond and close before it has read everything
        let _refused = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        // a stream of events has no end
        while !is_head_of_stream(&answer) && stream.read_buf(&mut answer).await.is_ok_and(|count| count > 0) {
        }
        answer
    };
    let answer = tokio::time::timeout(HANG, talk).await.expect("the server never answered");
    read(&answer)
}

fn is_head_of_stream(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    text.split_once("\r\n\r\n").is_some_and(|(head, _)| head.contains("content-type: text/event-stream"))
}

/// Parses a response.
#[track_caller]
pub(crate) fn read(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Answer { status, headers, text: body.to_owned() }
}
