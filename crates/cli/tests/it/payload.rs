//! `jobqueue submit` changes no byte of a payload.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;

/// The response of the fake API.
const ANSWER: &str = r#"{"id":"0198c1a2-3b4c-7d5e-8f60-718293a4b5c6","status":"queued","payload":{"z":0.10,"a":18446744073709551616,"a":1E5}}"#;

/// Responds to one request and returns the request.
fn serve_one(listener: TcpListener) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = whole(&mut stream);
        let head = format!(
            "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            ANSWER.len()
        );
        write!(stream, "{head}Connection: close\r\n\r\n{ANSWER}").unwrap();
        request
    })
}

fn whole(stream: &mut TcpStream) -> String {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk).unwrap();
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return text;
        }
        assert!(count > 0, "the request broke off: {text}");
    }
}

/// Runs a client command against a listener that responds once; returns the request and the output.
fn run(args: &[&str], stdin: &str) -> (String, Output) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let request = serve_one(listener);
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobqueue"));
    command
        .args(args)
        .env("JOBQUEUE_URL", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (request.join().unwrap(), output)
}

#[test]
fn a_payload_is_sent_and_printed_as_it_is() {
    for payload in [
        "18446744073709551616",
        "0.10",
        "-0",
        "1E400",
        r#"{"a":1,"a":2}"#,
        r#"{ "z" : 1.0 , "a" : "\u00e9\ud83d\ude00" }"#,
        "[1, 2 ]",
        "null",
    ] {
        for (argument, stdin) in [(payload, ""), ("-", payload)] {
            let (request, output) =
                run(&["submit", "k", argument, "--delay-seconds", "1.5", "-o", "json"], stdin);
            assert!(request.contains(&format!("\"payload\":{payload}}}")), "{payload}: {request}");
            assert!(request.contains("\"delay_seconds\":1.5"), "{request}");
            let printed = String::from_utf8(output.stdout).unwrap();
            let expected =
                "\"payload\": {\n    \"z\": 0.10,\n    \"a\": 18446744073709551616,\n    \"a\": 1E5\n  }";
            assert!(printed.contains(expected), "{printed}");
            assert!(printed.starts_with("{\n  \"id\": "), "{printed}");
        }
    }
}

#[test]
fn a_payload_that_is_not_json_is_not_sent() {
    for payload in ["", "{", "x", "{} {}"] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_jobqueue")).args(["submit", "k", payload]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("the payload is not JSON"), "{payload}: {error}");
    }
}
