//! Tests of the HTTP handler with a real server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jobqueue_core::{JobDraft, Status};
use tokio::task::JoinSet;

use crate::bench::{AtWork, Bench, configured, draft};

/// A server whose response depends on the path, and which records the requests.
struct Endpoint {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _serving: JoinSet<()>,
}

struct Seen {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Endpoint {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let router = Router::new().fallback(answer).with_state(seen.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, _serving: serving }
    }

    fn handler(&self, path: &str, more: &str) -> String {
        let address = self.address;
        format!(
            "[handlers.{path}]\ntype = \"http\"\nurl = \"http://{address}/{path}\"\nallow = [\"{address}\"]\n{more}\n"
        )
    }

    fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.path.clone()).collect()
    }
}

async fn answer(
    State(seen): State<Arc<Mutex<Vec<Seen>>>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().trim_start_matches('/').to_owned();
    seen.lock().unwrap().push(Seen { path: path.clone(), headers, body });
    match path.as_str() {
        "ok" => "{\"delivered\": 18446744073709551616}".into_response(),
        "text" => "thanks".into_response(),
        "empty" => StatusCode::NO_CONTENT.into_response(),
        "huge" => "x".repeat(2 << 20).into_response(),
        "busy" => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")]).into_response(),
        "away" => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "60")]).into_response(),
        "crowded" => StatusCode::TOO_MANY_REQUESTS.into_response(),
        "gone" => (StatusCode::GONE, "moved away").into_response(),
        "wrong" | "wrong_again" => (StatusCode::UNPROCESSABLE_ENTITY, "no such field").into_response(),
        "broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "elsewhere" => {
            (StatusCode::FOUND, [("location", "http://169.254.169.254/latest/meta-data")]).into_response()
        }
        "here" => (StatusCode::TEMPORARY_REDIRECT, [("location", "/ok")]).into_response(),
        "slow" => std::future::pending().await,
        other => panic!("unexpected path {other}"),
    }
}

#[tokio::test]
async fn a_request_is_signed_and_its_response_is_the_result() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let config: String = ["ok", "text", "empty"].map(|path| endpoint.handler(path, "")).concat();
    let worker = AtWork::start(configured(bench.db.url(), &config));
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let ok = JobDraft { traceparent: Some(traceparent.into()), ..draft("ok", r#"{ "b":1, "a":2.50 }"#) };
    let ok = bench.submit(ok).await;
    let result = bench.reaches(ok, Status::Completed).await.result.unwrap();
    assert_eq!(result.as_str(), "{\"delivered\": 18446744073709551616}");
    for kind in ["text", "empty"] {
        let id = bench.enqueue(kind, "{}").await;
        assert_eq!(bench.reaches(id, Status::Completed).await.result, None, "{kind}");
    }
    worker.drain().await;
    let seen = endpoint.seen.lock().unwrap();
    let header = |name: &str| seen[0].headers[name].to_str().unwrap();
    assert_eq!(seen[0].body, r#"{ "b":1, "a":2.50 }"#);
    assert_eq!((header("webhook-id"), header("jobqueue-attempt")), (ok.to_string().as_str(), "1"));
    assert_eq!((header("content-type"), header("traceparent")), ("application/json", traceparent));
    assert!(header("webhook-timestamp").parse::<u64>().unwrap() > 1_700_000_000);
    assert!(!seen[0].headers.contains_key("webhook-signature"), "no secret, no signature");
}

#[tokio::test]
async fn the_response_decides_the_outcome() {
    let (bench, endpoint) = (Bench::new().await, Endpoint::start().await);
    let paths = ["huge", "busy", "away", "crowded", "gone", "wrong", "broken", "elsewhere", "here"];
    let mut config: String = paths.map(|path| endpoint.handler(path, "")).concat();
    config += &endpoint.handler("wrong_again", "client_errors = \"retry\"");
    config += &endpoint.handler("slow", "timeout_seconds = 0.2");
    let worker = AtWork::start(configured(bench.db.url(), &config));
    for (kind, status, attempt, error) in [
        ("huge", Status::Completed, 1, ""),
        ("gone", Status::Failed, 1, "http_410"),
        ("wrong", Status::Failed, 1, "http_422"),
        ("elsewhere", Status::Failed, 1, "http_302"),
        ("here", Status::Failed, 1, "http_307"),
        ("busy", Status::Scheduled, 0, ""),
        ("away", Status::Scheduled, 0, ""),
        ("crowded", Status::Scheduled, 1, "http_429"),
        ("broken", Status::Scheduled, 1, "http_500"),
        ("wrong_again", Status::Scheduled, 1, "http_422"),
        ("slow", Status::Scheduled, 1, "timeout"),
    ] {
        let id = bench.enqueue(kind, "{}").await;
        let record = bench.reaches(id, status).await;
        assert_eq!(record.job.attempt, attempt, "{kind}");
        let ended = bench.attempts(id).await.pop().unwrap();
        assert_eq!(ended.error.map(|failure| failure.kind).unwrap_or_default(), error, "{kind}");
    }
    assert!(!endpoint.paths().contains(&"ok".to_owned()), "no redirect was followed");
    worker.drain().await;
}

#[tokio::test]
async fn a_failed_connection_is_retried_and_a_private_name_is_rejected() {
    let bench = Bench::new().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = Endpoint::start().await;
    let port = endpoint.address.port();
    let config = format!(
        "[handlers.closed]\ntype = \"http\"\nurl = \"http://{closed}/\"\nallow = [\"{closed}\"]\n\
         [handlers.private]\ntype = \"http\"\nurl = \"http://localhost:{port}/ok\"\n\
         [handlers.meant]\ntype = \"http\"\nurl = \"http://localhost:{port}/ok\"\nallow = [\"localhost\"]\n"
    );
    let worker = AtWork::start(configured(bench.db.url(), &config));
    let closed = bench.enqueue("closed", "{}").await;
    bench.reaches(closed, Status::Scheduled).await;
    assert_eq!(bench.attempts(closed).await[0].error.as_ref().unwrap().kind, "connect");
    let private = bench.enqueue("private", "{}").await;
    assert_eq!(bench.reaches(private, Status::Failed).await.error.unwrap().kind, "address_refused");
    assert!(endpoint.paths().is_empty(), "nothing was sent");
    let meant = bench.enqueue("meant", "{}").await;
    bench.reaches(meant, Status::Completed).await;
    worker.drain().await;
}
