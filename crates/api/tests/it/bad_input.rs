//! Every class of bad input: a 4xx with a problem body, and nothing stored.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::{Api, KEY};
use crate::client::{exchange, read};

const JSON: &str = "Content-Type: application/json";

/// Name, body, status, last part of the type.
type Case = (&'static str, Vec<u8>, u16, &'static str);

fn case(name: &'static str, body: impl Into<Vec<u8>>, status: u16, kind: &'static str) -> Case {
    (name, body.into(), status, kind)
}

async fn refused(api: &Api, cases: Vec<Case>) {
    for (name, body, status, kind) in cases {
        let answer = api.send("POST", "/v1/jobs", &[JSON], &body).await;
        assert_eq!((answer.status, name), (status, name), "{answer:?}");
        assert_eq!((answer.problem(status).as_str(), name), (kind, name));
    }
    assert_eq!(api.count().await, 0, "a refused request stores nothing");
}

#[tokio::test]
async fn malformed_bodies() {
    let api = Api::start().await;
    let utf16: Vec<u8> = r#"{"kind":"k"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let malformed = |name, body: &[u8]| case(name, body, 400, "invalid-json");
    refused(
        &api,
        vec![
            malformed("empty", b" "),
            malformed("truncated", br#"{"kind":"k""#),
            malformed("two documents", br#"{"kind":"k"}{"kind":"k"}"#),
            malformed("garbage behind", br#"{"kind":"k"} x"#),
            malformed("BOM", "\u{feff}{\"kind\":\"k\"}".as_bytes()),
            malformed("UTF-16", &utf16),
            malformed("bad UTF-8", b"{\"kind\":\"k\xff\"}"),
            malformed("bad UTF-8 in the payload", b"{\"kind\":\"k\",\"payload\":\"\xc3\x28\"}"),
            malformed("NaN", br#"{"kind":"k","priority":NaN}"#),
            malformed("NaN in the payload", br#"{"kind":"k","payload":NaN}"#),
            malformed("a comment", b"// c\n{\"kind\":\"k\"}"),
            malformed("a trailing comma", br#"{"kind":"k",}"#),
            malformed("single quotes", b"{'kind':'k'}"),
            malformed("a field twice", br#"{"kind":"k","kind":"l"}"#),
            malformed("a nested field twice", br#"{"kind":"k","unique":{"key":"a","key":"b"}}"#),
            malformed("a key twice in the payload", br#"{"kind":"k","payload":{"a":1,"a":2}}"#),
            malformed("a lone surrogate in a name", br#"{"kind":"\ud800"}"#),
            malformed("a raw control character", b"{\"kind\":\"k\x01\"}"),
        ],
    )
    .await;
    let none = api.send("POST", "/v1/jobs", &[JSON, "Content-Length: 0"], b"").await;
    assert_eq!(none.problem(400), "invalid-json");
}

#[tokio::test]
async fn wrong_shapes_and_values() {
    let api = Api::start().await;
    let deep = |n: usize| format!(r#"{{"kind":"k","payload":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    let wrong = |name, body: &str| case(name, body, 422, "invalid-body");
    refused(
        &api,
        vec![
            wrong("an array", r#"["default","k"]"#),
            wrong("null", "null"),
            wrong("a string", r#""k""#),
            wrong("no kind", "{}"),
            wrong("an unknown field", r#"{"kind":"k","prioritty":1}"#),
            wrong(
                "dependencies, which there are none of",
                r#"{"kind":"k","depends_on":["0198c1a2-3b4c-7d5e-8f60-718293a4b5c6"]}"#,
            ),
            wrong("a callback, which there is none of", r#"{"kind":"k","callback_url":"http://127.0.0.1/"}"#),
            wrong("an unknown nested field", r#"{"kind":"k","unique":{"key":"a","keys":1}}"#),
            wrong("a struct as an array", r#"{"kind":"k","unique":["a"]}"#),
            wrong("NUL in the payload", r#"{"kind":"k","payload":"a\u0000"}"#),
            wrong("NUL in a payload's key", r#"{"kind":"k","payload":{"\u0000":1}}"#),
            wrong("NUL in a kind", r#"{"kind":"k\u0000"}"#),
            wrong("NUL in a tag", r#"{"kind":"k","tags":["\u0000"]}"#),
            wrong("NUL in a unique key", r#"{"kind":"k","unique":{"key":"\u0000"}}"#),
            wrong("NUL in the metadata", r#"{"kind":"k","metadata":{"a":"\u0000"}}"#),
            wrong("a lone surrogate in the payload", r#"{"kind":"k","payload":"\ud800"}"#),
            wrong("bidi in a kind", "{\"kind\":\"a\u{202e}b\"}"),
            wrong("bidi in a tag", "{\"kind\":\"k\",\"tags\":[\"a\u{202e}b\"]}"),
            wrong("1e400 in the payload", r#"{"kind":"k","payload":[1e400]}"#),
            wrong("priority above", r#"{"kind":"k","priority":101}"#),
            wrong("priority of 2^64", r#"{"kind":"k","priority":18446744073709551616}"#),
            wrong("priority as text", r#"{"kind":"k","priority":"5"}"#),
            wrong("priority of 1.5", r#"{"kind":"k","priority":1.5}"#),
            wrong("no attempts", r#"{"kind":"k","max_attempts":0}"#),
            wrong("an unknown strategy", r#"{"kind":"k","retry":{"strategy":"never"}}"#),
            wrong("an unknown field of a strategy", r#"{"kind":"k","retry":{"strategy":"fixed","delay":1}}"#),
            wrong("metadata that is no object", r#"{"kind":"k","metadata":[1]}"#),
            wrong("an empty queue", r#"{"kind":"k","queue":""}"#),
            wrong("a slash in a queue", r#"{"kind":"k","queue":"a/b"}"#),
            wrong("quotes in a queue", r#"{"kind":"k","queue":"a'\"b"}"#),
            wrong("a long queue", &format!(r#"{{"kind":"k","queue":"{}"}}"#, "q".repeat(65))),
            wrong("depth 65", &deep(65)),
            wrong("depth 100,000", &deep(100_000)),
            wrong("a bad trace", r#"{"kind":"k","traceparent":"00-x"}"#),
        ],
    )
    .await;
    assert_eq!(api.post_text("/v1/jobs", &deep(64)).await.status, 201, "depth 64 is fine");
}

#[tokio::test]
async fn timestamps_and_durations() {
    let api = Api::start().await;
    let wrong = |name, body: &str| case(name, body, 422, "invalid-body");
    refused(
        &api,
        vec![
            wrong("negative delay", r#"{"kind":"k","delay_seconds":-1}"#),
            wrong("endless delay", r#"{"kind":"k","delay_seconds":1e300}"#),
            wrong("a delay of 101 years", r#"{"kind":"k","delay_seconds":3187000000}"#),
            wrong("a start in more than a century", r#"{"kind":"k","run_at":"2160-01-01T00:00:00Z"}"#),
            wrong("an expiry in more than a century", r#"{"kind":"k","expires_at":"2160-01-01T00:00:00Z"}"#),
            wrong("before 1970", r#"{"kind":"k","run_at":"1969-12-31T23:59:59Z"}"#),
            wrong("a timeout of nearly nothing", r#"{"kind":"k","timeout_seconds":1e-7}"#),
            wrong("a soft timeout of nearly nothing", r#"{"kind":"k","soft_timeout_seconds":1e-7}"#),
            wrong("a timeout in text", r#"{"kind":"k","timeout_seconds":"1"}"#),
            wrong("a negative retry", r#"{"kind":"k","retry":{"strategy":"fixed","delay_seconds":-1}}"#),
            wrong("no timeout", r#"{"kind":"k","timeout_seconds":0}"#),
            wrong("30 February", r#"{"kind":"k","run_at":"2027-02-30T00:00:00Z"}"#),
            wrong("no offset", r#"{"kind":"k","run_at":"2027-01-01T00:00:00"}"#),
            wrong("year 10000", r#"{"kind":"k","run_at":"10000-01-01T00:00:00Z"}"#),
            wrong("a leap second", r#"{"kind":"k","run_at":"2026-12-31T23:59:60Z"}"#),
        ],
    )
    .await;
    for fine in [
        r#"{"kind":"k","delay_seconds":3153600000}"#,
        r#"{"kind":"k","run_at":"1970-01-01T00:00:00Z","timeout_seconds":0.001}"#,
        r#"{"kind":"k","run_at":"2099-01-01T00:00:00Z","expires_at":"2099-01-02T00:00:00+14:00"}"#,
    ] {
        assert_eq!(api.post_text("/v1/jobs", fine).await.status, 201, "{fine}");
    }
    let batch = r#"{"jobs":[{"kind":"k"},{"kind":"k","run_at":"2160-01-01T00:00:00Z"}]}"#;
    assert_eq!(api.post_text("/v1/jobs/batch", batch).await.pointers(), ["/jobs/1/run_at"]);
}

#[tokio::test]
async fn errors_point_at_fields_and_come_together() {
    let api = Api::start().await;
    let pointers = |body: &'static str| {
        let api = &api;
        async move { api.post_text("/v1/jobs", body).await.pointers() }
    };
    assert_eq!(pointers(r#"{"kind":"k","prioritty":1}"#).await, ["/prioritty"]);
    assert_eq!(pointers(r#"{"kind":"k","unique":{"key":"a","x":1}}"#).await, ["/unique/x"]);
    assert_eq!(pointers(r#"{"kind":"k","tags":["a",1]}"#).await, ["/tags/1"]);
    assert_eq!(pointers(r#"{"kind":"k","payload":"\u0000"}"#).await, ["/payload"]);
    assert_eq!(pointers(r#"{"unique":{},"priority":999}"#).await, ["/kind", "/priority", "/unique/key"]);
}

#[tokio::test]
async fn sizes() {
    let api = Api::start().await;
    let payload = |bytes: usize| format!(r#"{{"kind":"k","payload":"{}"}}"#, "x".repeat(bytes - 2));
    assert_eq!(api.post_text("/v1/jobs", &payload(1024 * 1024)).await.status, 201, "1 MiB is fine");
    let over = api.post_text("/v1/jobs", &payload(1024 * 1024 + 1)).await;
    assert_eq!((over.problem(422).as_str(), over.pointers()), ("invalid-body", vec!["/payload".to_owned()]));
    let declared = api.post_text("/v1/jobs", &payload(3 * 1024 * 1024)).await;
    assert_eq!(declared.problem(413), "body-too-large");
    let keys: Vec<String> = (0..1_000_000).map(|n| format!("\"k{n}\":0")).collect();
    let many = api.post_text("/v1/jobs", &format!("{{{}}}", keys.join(","))).await;
    assert_eq!(many.problem(413), "body-too-large");

    let chunk = format!("{:x}\r\n{}\r\n", 64 * 1024, "x".repeat(64 * 1024));
    let endless = chunk.repeat(40);
    let chunked = ["Transfer-Encoding: chunked", JSON];
    let without_end = api.send("POST", "/v1/jobs", &chunked, endless.as_bytes()).await;
    assert_eq!(without_end.problem(413), "body-too-large");
    let ended = format!("{endless}0\r\n\r\n");
    let with_end = api.send("POST", "/v1/jobs", &chunked, ended.as_bytes()).await;
    assert_eq!(with_end.problem(413), "body-too-large");
}

#[tokio::test]
async fn headers() {
    let api = Api::start().await;
    let body = br#"{"kind":"k"}"#;
    for header in [
        "X: y",
        "Content-Type: text/plain",
        "Content-Type: application/json; charset=latin1",
        "Content-Type:",
    ] {
        assert_eq!(
            api.send("POST", "/v1/jobs", &[header], body).await.problem(415),
            "unsupported-media-type",
            "{header}"
        );
    }
    for header in
        ["Content-Type: application/JSON;charset=\"utf-8\"", "content-type: application/json; charset=UTF-8"]
    {
        assert_eq!(api.send("POST", "/v1/jobs", &[header], body).await.status, 201, "{header}");
    }
    let wrong = api.send("DELETE", "/v1/jobs", &[], b"").await;
    assert_eq!(wrong.problem(405), "method-not-allowed");
    assert!(
        wrong.header("allow").is_some_and(|allow| allow.contains("GET") && allow.contains("POST")),
        "{wrong:?}"
    );
    assert_eq!(api.get("/v1/nothing").await.problem(404), "not-found");

    let huge = api.send("GET", "/health", &[&format!("X: {}", "x".repeat(64 * 1024))], b"").await;
    assert_eq!(huge.problem(431), "header-too-large");
    let twice = "POST /v1/jobs HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}";
    for nonsense in [twice, "nonsense\r\n\r\n", "GET /health HTTP/1.1\r\nno colon\r\n\r\n"] {
        assert_eq!(exchange(api.addr, nonsense.as_bytes()).await.problem(400), "bad-request", "{nonsense}");
    }
    for key in
        ["Idempotency-Key:", "Idempotency-Key: \u{e9}", &format!("Idempotency-Key: {}", "k".repeat(256))]
    {
        let answer = api.send("POST", "/v1/jobs", &[JSON, key], body).await;
        assert_eq!(answer.problem(400), "invalid-idempotency-key", "{key}");
    }
}

#[tokio::test]
async fn a_slow_header() {
    let api = Api::with_header_read(Duration::from_millis(300)).await;
    let answer = exchange(api.addr, b"POST /v1/jobs HTTP/1.1\r\nHost: te").await;
    assert_eq!(answer.problem(408), "request-timeout");
}

#[tokio::test]
async fn identifiers_in_paths() {
    let api = Api::start().await;
    let unknown = "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6";
    for (path, status) in [
        ("/v1/jobs/x", 400),
        ("/v1/jobs/0198c1a23b4c7d5e8f60718293a4b5c6", 400),
        ("/v1/jobs/%00", 400),
        ("/v1/jobs/%ff", 400),
        ("/v1/jobs/%F0%9F%98%80", 400),
        ("/v1/jobs/", 404),
        (&format!("/v1/jobs/{unknown}"), 404),
        (&format!("/v1/jobs/{unknown}/attempts"), 404),
        (&format!("/v1/jobs/{unknown}/events"), 404),
        (&format!("/v1/jobs/{unknown}/explain"), 404),
        ("/v1/jobs/x/explain", 400),
        ("/v1/schedules/none/explain", 404),
        ("/v1/schedules/a%2Fb/explain", 400),
        ("/v1/queues/none", 404),
        ("/v1/queues/", 404),
        ("/v1/queues/%20", 400),
        ("/v1/queues/a%2Fb", 400),
        ("/v1/queues/a%27b", 400),
        ("/v1/queues/a%00", 400),
        (&format!("/v1/queues/{}", "q".repeat(65)), 400),
    ] {
        api.get(path).await.problem(status);
    }
    for verb in ["cancel", "retry", "promote"] {
        assert_eq!(api.act(&format!("/v1/jobs/{unknown}/{verb}")).await.problem(404), "not-found");
        assert_eq!(api.act(&format!("/v1/jobs/x/{verb}")).await.problem(400), "invalid-path");
    }
    assert_eq!(api.act("/v1/queues/none/purge").await.problem(404), "not-found");
}

#[tokio::test]
async fn query_parameters() {
    let api = Api::start().await;
    for query in [
        "limit=0",
        "limit=-1",
        "limit=1000000000",
        "limit=1001",
        "limit=x",
        "limit=1&limit=2",
        "limit=",
        "staus=queued",
        "status=QUEUED",
        "status=%00",
        "queue=a/b",
        "queue=",
        "kind=%ff",
        "tag=%00",
        "created_after=yesterday",
        "created_before=2027-02-30T00:00:00Z",
        "api_key=test-key-test-key-test-key-test-key",
    ] {
        assert_eq!(api.get(&format!("/v1/jobs?{query}")).await.problem(400), "invalid-query", "{query}");
    }
    let id = api.enqueue(json!({ "kind": "k" })).await;
    for query in [
        "from=yesterday",
        "from=2027-01-31",
        "from=2027-01-31T09:00:00",
        "from=1990-01-01T00:00:00Z",
        "from=9999-01-01T00:00:00Z",
        "to=1990-01-01T00:00:00Z",
        "to=x",
        "from=2027-01-31T09:00:00Z&from=2027-01-31T09:00:00Z",
        "step=0",
        "step=1",
        "step=90",
        "step=-60",
        "step=60.0",
        "step=1h",
        "step=99999999999",
        "step=34560060",
        "step=",
        "queue=a&queue=b",
        "queue=a%20b",
        "queue=_other",
        "queue=",
        "kind=%00",
        "queue=a&limit=5",
        "kind=a&cursor=b",
        "interval=5",
    ] {
        assert_eq!(api.get(&format!("/v1/stats?{query}")).await.problem(400), "invalid-query", "{query}");
    }
    for query in ["wait=61", "wait=60.1", "wait=NaN", "wait=-1", "wait=x", "wait=1&wait=1", "wat=1"] {
        assert_eq!(api.get(&format!("/v1/jobs/{id}?{query}")).await.problem(400), "invalid-query", "{query}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come() {
    let api = Api::start().await;
    let mut stream = TcpStream::connect(api.addr).await.unwrap();
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {KEY}\r\n{JSON}\r\nContent-Length: 12\r\n\
         Expect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut more = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut more).await.unwrap();
    assert!(more.starts_with(b"HTTP/1.1 100 "), "somebody reads the body");
    stream.write_all(b"{").await.unwrap();
    // for as long as the API waits
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(read(&answer).problem(408), "request-timeout");
    assert_eq!(api.count().await, 0);
}
