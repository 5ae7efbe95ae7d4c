//! Tests of the HTTP handler with receivers that close connections unexpectedly or do not finish their responses.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use jobqueue_core::{JobDraft, JobId, Status};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::bench::{AtWork, Bench, configured, draft, written};
use crate::process::{binary, ready};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7";

/// How the receiver handles a request.
#[derive(Clone, Copy)]
enum Reaction {
    /// Responds and keeps the connection open.
    Answer(&'static str),
    /// Responds, and then closes the connection without `Connection: close`.
    AnswerAndClose(&'static str),
    Close,
    /// Closes the connection with a TCP reset.
    Reset,
}

/// A received request: the number of its connection, and its head and body.
type Request = (usize, String);

/// A receiver on plain TCP. `script` returns how to handle the nth request of the mth connection; both count from 0.
struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    _serving: JoinSet<()>,
}

impl Receiver {
    async fn start(script: impl Fn(usize, usize) -> Reaction + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let mut serving = JoinSet::new();
        let book = seen.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, book) = (script.clone(), book.clone());
                connections
                    .spawn(serve(stream, book, connection, move |request| script(connection, request)));
            }
        });
        Self { address, seen, _serving: serving }
    }

    fn worker(&self, bench: &Bench, more: &str) -> AtWork {
        let address = self.address;
        let config = format!(
            "[handlers.hook]\ntype = \"http\"\nurl = \"http://{address}/hook?a=1\"\nallow = [\"{address}\"]\n{more}\n"
        );
        AtWork::start(configured(bench.db.url(), &config))
    }

    /// The connections on which this job was sent, in order.
    fn connections_of(&self, id: JobId) -> Vec<usize> {
        let line = format!("webhook-id: {id}\r\n");
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|(_, request)| request.contains(&line))
            .map(|(connection, _)| *connection)
            .collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<Request>>>,
    connection: usize,
    script: impl Fn(usize) -> Reaction,
) {
    for number in 0.. {
        let Some(request) = read_request(&mut stream).await else { return };
        seen.lock().unwrap().push((connection, request));
        match script(number) {
            Reaction::Answer(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
            Reaction::AnswerAndClose(answer) => return stream.write_all(answer.as_bytes()).await.unwrap(),
            Reaction::Close => return,
            Reaction::Reset => return stream.set_zero_linger().unwrap(),
        }
    }
}

/// Reads a complete request; `None` at the end of the connection.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = String::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return Some(text);
            }
        }
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_receiver_closes_costs_no_attempt() {
    for (name, first, second) in [
        ("closed after the answer", Reaction::AnswerAndClose(OK), Reaction::Answer(OK)),
        ("closed at the next request", Reaction::Answer(OK), Reaction::Close),
        ("reset at the next request", Reaction::Answer(OK), Reaction::Reset),
    ] {
        let bench = Bench::new().await;
        let script = move |connection, request| match (connection, request) {
            (0, 0) => first,
            (0, _) => second,
            _ => Reaction::Answer(OK),
        };
        let receiver = Receiver::start(script).await;
        let worker = receiver.worker(&bench, "");
        let mut ids = Vec::new();
        for _ in 0..3 {
            let id = bench.enqueue("hook", "{\"a\": 1}").await;
            let record = bench.reaches(id, Status::Completed).await;
            assert_eq!((record.job.attempt, record.result.unwrap().as_str()), (1, "7"), "{name}");
            ids.push(id);
        }
        worker.drain().await;
        let connections_of: Vec<_> = ids.iter().map(|id| receiver.connections_of(*id)).collect();
        assert_eq!(connections_of[0], [0], "{name}");
        assert_eq!(*connections_of[1].last().unwrap(), 1, "{name}: {connections_of:?}");
        assert_eq!(connections_of[2], [1], "{name}: the new connection is kept in its turn");
        let seen = receiver.seen.lock().unwrap();
        let again: Vec<_> =
            seen.iter().filter(|(_, request)| request.contains(&ids[1].to_string())).collect();
        assert!(again.iter().all(|(_, request)| *request == again[0].1), "{name}: it is the same request");
        assert!(again[0].1.starts_with("POST /hook?a=1 HTTP/1.1\r\n"), "{}", again[0].1);
        assert!(again[0].1.contains(&format!("\r\nhost: {}\r\n", receiver.address)), "{}", again[0].1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_idle_connections_may_be_closed_at_the_same_time() {
    let bench = Bench::new().await;
    // three concurrent requests use three connections; each connection is closed at its second request
    let gate = Arc::new(std::sync::Barrier::new(3));
    let script = move |connection, request| match (connection, request) {
        (0..3, 0) => {
            tokio::task::block_in_place(|| gate.wait());
            Reaction::Answer(OK)
        }
        (0..3, _) => Reaction::Close,
        _ => Reaction::Answer(OK),
    };
    let receiver = Receiver::start(script).await;
    let worker = receiver.worker(&bench, "");
    let first = [
        bench.enqueue("hook", "1").await,
        bench.enqueue("hook", "2").await,
        bench.enqueue("hook", "3").await,
    ];
    for id in first {
        bench.reaches(id, Status::Completed).await;
    }
    let id = bench.enqueue("hook", "4").await;
    assert_eq!(bench.reaches(id, Status::Completed).await.job.attempt, 1);
    assert_eq!(receiver.connections_of(id).len(), 2, "the second try does not take another kept connection");
    assert_eq!(receiver.connections_of(id)[1], 3);
    worker.drain().await;
}

#[tokio::test]
async fn a_request_is_not_repeated_without_a_reason() {
    let part = "HTTP/1.1 200 OK\r\ncontent-le";
    for (name, script, expected) in [
        ("a new connection is closed", vec![vec![Reaction::Close]], vec![0]),
        ("a new connection is reset", vec![vec![Reaction::Reset]], vec![0]),
        ("the answer breaks off", vec![vec![Reaction::Answer(OK), Reaction::AnswerAndClose(part)]], vec![0]),
        (
            "the new connection is closed as well",
            vec![vec![Reaction::Answer(OK), Reaction::Close], vec![Reaction::Close]],
            vec![0, 1],
        ),
    ] {
        let bench = Bench::new().await;
        let warm_up = script[0].len() - 1;
        let receiver = Receiver::start(move |connection, request| script[connection][request]).await;
        let worker = receiver.worker(&bench, "");
        for _ in 0..warm_up {
            let id = bench.enqueue("hook", "{}").await;
            bench.reaches(id, Status::Completed).await;
        }
        let id = bench.submit(JobDraft { max_attempts: Some(1), ..draft("hook", "{}") }).await;
        assert_eq!(bench.reaches(id, Status::Failed).await.error.unwrap().kind, "request", "{name}");
        assert_eq!(receiver.connections_of(id), expected, "{name}");
        worker.drain().await;
    }
}

#[tokio::test]
async fn a_2xx_completes_the_job_even_if_its_body_is_incomplete() {
    let large: &'static str =
        format!("HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n\"{}\"", "x".repeat(1998)).leak();
    let large_chunked: &'static str = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n\"{}\"\r\n0\r\n\r\n",
        "x".repeat(1998)
    )
    .leak();
    for (act, more, note) in [
        (Reaction::Answer(large), "max_response_bytes = 1000", "more than 1000 bytes"),
        (Reaction::Answer(large_chunked), "max_response_bytes = 1000", "more than 1000 bytes"),
        (Reaction::AnswerAndClose("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n7"), "", "it is incomplete"),
        (
            Reaction::AnswerAndClose("HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n1\r\n7\r\n"),
            "",
            "it is incomplete",
        ),
        (
            Reaction::AnswerAndClose("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense"),
            "",
            "it is incomplete",
        ),
        (
            Reaction::Answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n7"),
            "timeout_seconds = 0.5",
            "did not end in time",
        ),
    ] {
        let bench = Bench::new().await;
        let receiver = Receiver::start(move |_, _| act).await;
        let worker = receiver.worker(&bench, more);
        let id = bench.submit(JobDraft { max_attempts: Some(1), ..draft("hook", "{}") }).await;
        let record = bench.reaches(id, Status::Completed).await;
        assert_eq!((record.job.attempt, record.result), (1, None), "{note}");
        let log = bench.attempts(id).await.pop().unwrap().log;
        assert!(log.contains("its response body is dropped") && log.contains(note), "{note}: {log}");
        // the rest of the response is not read as the response of the next job
        let id = bench.submit(JobDraft { max_attempts: Some(1), ..draft("hook", "{}") }).await;
        bench.reaches(id, Status::Completed).await;
        assert_eq!(receiver.connections_of(id), [1], "{note}");
        worker.drain().await;
    }
}

#[tokio::test]
async fn the_largest_response_may_exceed_the_largest_result() {
    let bench = Bench::new().await;
    let body = format!("\"{}\"", "x".repeat(2 << 20));
    let answer: &'static str =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).leak();
    let receiver = Receiver::start(move |_, _| Reaction::Answer(answer)).await;
    let worker = receiver.worker(&bench, "max_response_bytes = 10000000");
    let id = bench.enqueue("hook", "{}").await;
    assert_eq!(bench.reaches(id, Status::Completed).await.result, None);
    worker.drain().await;
}

#[tokio::test]
async fn an_error_status_counts_even_if_its_body_is_incomplete() {
    let bench = Bench::new().await;
    let receiver =
        Receiver::start(|_, _| Reaction::Answer("HTTP/1.1 410 Gone\r\ncontent-length: 9\r\n\r\nno")).await;
    let worker = receiver.worker(&bench, "timeout_seconds = 0.5");
    let id = bench.enqueue("hook", "{}").await;
    let error = bench.reaches(id, Status::Failed).await.error.unwrap();
    assert_eq!(
        (error.kind.as_str(), error.message.as_str()),
        ("http_410", "the endpoint answered 410 Gone: no")
    );
    worker.drain().await;
}

#[tokio::test]
async fn tls_behaves_the_same_and_is_verified() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let tls = TlsAcceptor::from(Arc::new(config));
        // a reused connection is closed at its second request, without a response
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = tls.accept(stream).await else { continue };
            if read_request(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
                read_request(&mut stream).await;
            }
        }
    });
    let bench = Bench::new().await;
    let handler = format!("[handlers.hook]\ntype = \"http\"\nurl = \"{url}\"\nallow = [\"localhost\"]\n");
    let trusting = binary(bench.db.url(), &handler).env("SSL_CERT_FILE", written(&cert.pem())).spawn();
    ready(&trusting).await;
    for _ in 0..2 {
        let id = bench.enqueue("hook", "{}").await;
        assert_eq!(bench.reaches(id, Status::Completed).await.job.attempt, 1);
    }
    drop(trusting);
    let stranger = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let doubting = binary(bench.db.url(), &handler).env("SSL_CERT_FILE", written(&stranger)).spawn();
    ready(&doubting).await;
    let id = bench.submit(JobDraft { max_attempts: Some(1), ..draft("hook", "{}") }).await;
    let error = bench.reaches(id, Status::Failed).await.error.unwrap();
    assert_eq!(error.kind, "connect", "{}", error.message);
}
