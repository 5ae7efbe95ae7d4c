//! Errors that do not depend on the body are sent before the body arrives, whether the client waits, sends nothing, or
//! is sending.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bench::{Api, KEY};
use crate::client::{Answer, HANG, read};

const JSON: &str = "Content-Type: application/json";

/// Method and path, header lines, status.
const EARLY: [(&str, &[&str], u16); 9] = [
    ("POST /v1/jobs", &[JSON], 401),
    ("POST /v1/jobs", &["Content-Type: text/plain", "*"], 415),
    ("POST /v1/jobs", &[JSON, "Content-Encoding: gzip", "*"], 415),
    ("POST /v1/leases/settle", &[JSON, "Content-Encoding: br", "Idempotency-Key: a", "*"], 415),
    ("POST /v1/queues/q/purge", &[JSON, "Content-Encoding: zstd", "*"], 415),
    ("POST /v1/nothing", &[JSON, "*"], 404),
    ("DELETE /v1/jobs", &[JSON, "*"], 405),
    ("POST /v1/jobs?x=1", &[JSON, "*"], 400),
    ("POST /v1/jobs/0198c1a2-3b4c-7d5e-8f60-718293a4b5c6/cancel", &[JSON, "*"], 422),
];

/// The head of a request with a declared length; `*` stands for the key.
fn head(line: &str, headers: &[&str], length: usize, more: &str) -> String {
    let key = format!("Authorization: Bearer {KEY}");
    let lines = headers.iter().map(|line| if *line == "*" { &key } else { *line });
    let lines = lines.collect::<Vec<_>>().join("\r\n");
    format!("{line} HTTP/1.1\r\nHost: t\r\n{lines}\r\nContent-Length: {length}\r\n{more}\r\n")
}

/// Reads one complete response; the connection may stay open.
async fn answer(stream: &mut TcpStream) -> Answer {
    let read_one = async {
        let mut bytes = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.expect("the answer arrives");
            bytes.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if count == 0 || length.is_some_and(|length| body.len() >= length.parse::<usize>().unwrap()) {
                    return read(&bytes);
                }
            }
            assert!(count > 0, "closed without an answer: {text}");
        }
    };
    timeout(HANG, read_one).await.expect("the server waits for the body")
}

/// Reads until the server closes the connection.
async fn closes(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let read = timeout(HANG, stream.read_to_end(&mut rest)).await.expect("the server closes");
    assert!(read.is_err() || rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_the_error_instead() {
    let api = Api::start().await;
    let large = [("POST /v1/jobs", &[JSON, "*"][..], 413)];
    for (line, headers, status) in EARLY.into_iter().chain(large) {
        let mut stream = TcpStream::connect(api.addr).await.unwrap();
        let head = head(line, headers, 100_000_000, "Expect: 100-continue\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        answer.problem(status);
        assert_eq!(answer.header("connection"), Some("close"), "{line}: its body will not be read");
        closes(stream).await;
    }
    assert_eq!(api.count().await, 0);
}

#[tokio::test]
async fn a_client_that_sends_no_body_gets_the_error() {
    let api = Api::start().await;
    let large = [("POST /v1/jobs", &[JSON, "*"][..], 413)];
    for (line, headers, status) in EARLY.into_iter().chain(large) {
        let mut stream = TcpStream::connect(api.addr).await.unwrap();
        stream.write_all(head(line, headers, 100_000_000, "").as_bytes()).await.unwrap();
        let answer = answer(&mut stream).await;
        answer.problem(status);
        let encoding = headers.iter().any(|line| line.starts_with("Content-Encoding"));
        assert_eq!(answer.header("accept-encoding").is_some(), encoding, "{line}");
    }
}

#[tokio::test]
async fn a_client_that_is_sending_a_body_gets_the_error_and_can_continue() {
    let api = Api::start().await;
    let body = "x".repeat(3 * 1024 * 1024);
    let large = [("POST /v1/jobs", &[JSON, "*"][..], 413)];
    for (line, headers, status) in EARLY.into_iter().chain(large) {
        let mut stream = TcpStream::connect(api.addr).await.unwrap();
        let head = head(line, headers, body.len(), "");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.expect("the server reads what it does not want");
        answer(&mut stream).await.problem(status);
        // the connection can be used for another request
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
        assert_eq!(answer(&mut stream).await.status, 200, "{line}");
    }
}

#[tokio::test]
async fn a_body_that_is_needed_is_requested_by_100_continue() {
    let api = Api::start().await;
    let mut stream = TcpStream::connect(api.addr).await.unwrap();
    let body = r#"{"kind":"k"}"#;
    for coding in ["", "Content-Encoding: identity\r\n"] {
        let more = format!("{coding}Expect: 100-continue\r\n");
        stream.write_all(head("POST /v1/jobs", &[JSON, "*"], body.len(), &more).as_bytes()).await.unwrap();
        let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        timeout(HANG, stream.read_exact(&mut go_on)).await.unwrap().unwrap();
        assert!(go_on.starts_with(b"HTTP/1.1 100 "));
        stream.write_all(body.as_bytes()).await.unwrap();
        assert_eq!(answer(&mut stream).await.status, 201);
    }
}
