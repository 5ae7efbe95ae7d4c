//! The stream of a job: snapshot, order, resumption, the end, limits, and outages.

use std::time::Duration;

use jobqueue_api::{ApiState, Settings, router};
use jobqueue_runtime::{HttpLimits, Shutdown, http};
use jobqueue_store::Store;
use jobqueue_testkit::{Fault, FaultProxy, TestDb, eventually};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bench::{Api, options, settings};
use crate::client::HANG;
use crate::listener::{Listener, lines, names};
use crate::process::post;

/// A leased job of the queue `q`.
pub(crate) async fn running(api: &Api) -> (String, Value) {
    let id = api.enqueue_in("q").await;
    (id, api.lease("q").await.unwrap())
}

/// Reports log text and, if it is not null, progress.
pub(crate) async fn report(api: &Api, lease: &Value, log: &str, progress: Value) {
    let mut item = json!({ "lease": lease["lease"], "log": log });
    if !progress.is_null() {
        item["progress"] = progress;
    }
    let answer = api.post("/v1/leases/heartbeat", &json!({ "leases": [item] })).await.expect(200);
    assert_eq!(answer["leases"][0]["status"], "ok", "{answer}");
}

/// Another API on the database of this one.
pub(crate) async fn replica(api: &Api) -> std::net::SocketAddr {
    let store = Store::connect_lazy(&options(api.db.url())).unwrap();
    serve(&store, settings(), &api.shutdown).await
}

/// Serves an API on this store until the shutdown.
pub(crate) async fn serve(store: &Store, settings: Settings, shutdown: &Shutdown) -> std::net::SocketAddr {
    let state = ApiState::start(store, &settings, shutdown, &Registry::new()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    // a stalled client is not what these tests are about
    let limits = HttpLimits { write_stall: Duration::from_hours(1), ..HttpLimits::default() };
    shutdown.spawn(http::serve(listener, router(state), limits, shutdown.clone()));
    addr
}

#[tokio::test]
async fn a_stream_begins_with_a_snapshot_and_ends_with_the_job() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let mut listener = Listener::open(api.addr, &format!("/v1/jobs/{id}/stream"), None).await;
    for (name, value) in
        [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
    {
        assert_eq!(listener.head.header(name), Some(value), "{:?}", listener.head);
    }
    let first = listener.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id.as_deref()), ("status", Some("0-0")));
    let job = &first.json;
    assert_eq!((&job["id"], &job["queue"], &job["kind"]), (&json!(id), &json!("q"), &json!("k")));
    assert_eq!(
        (&job["status"], &job["attempt"], &job["worker_id"]),
        (&json!("queued"), &json!(0), &json!(null))
    );

    let lease = api.lease("q").await.unwrap();
    let status = listener.named("status").await.json;
    assert_eq!((&status["status"], &status["attempt"]), (&json!("running"), &json!(1)));
    assert!(status["started_at"].is_string(), "{status}");
    report(&api, &lease, "one\ntwo\nthr", json!({ "percent": 20 })).await;
    let mut events = listener.until("progress").await;
    assert_eq!(events[0].json, json!({ "attempt": 1, "line": "one" }));
    assert_eq!(events.last().unwrap().json, json!({ "attempt": 1, "progress": { "percent": 20 } }));
    report(&api, &lease, "ee\nthe end", json!(null)).await;
    let error = json!({ "type": "broken", "message": "it broke" });
    api.settle(json!({ "outcome": "discarded", "error": error }), &lease).await.expect(200);
    events.extend(listener.rest().await);
    assert_eq!(lines(&events), ["one", "two", "three", "the end"]);
    assert_eq!(names(&events), ["log", "progress", "log", "status", "end"], "{events:?}");
    let end = events.last().unwrap();
    assert_eq!((&end.json["status"], &end.json["error"]["type"]), (&json!("failed"), &json!("broken")));
    assert!(end.id.as_deref().is_some_and(|id| id.ends_with("-end")), "{end:?}");

    // a client that has the end is not to come again; one that has not gets it
    let path = format!("/v1/jobs/{id}/stream");
    let again = Listener::open_with(api.addr, &path, end.id.as_deref(), None).await;
    assert_eq!(again.head.status, 204);
    let all = Listener::open(api.addr, &path, None).await.rest().await;
    assert_eq!(lines(&all), ["one", "two", "three", "the end"]);
    assert_eq!(names(&all), ["status", "log", "progress", "end"]);
}

#[tokio::test]
async fn lines_are_neither_lost_nor_doubled_when_a_listener_moves_between_replicas() {
    let api = Api::start().await;
    let other = replica(&api).await;
    let id = api.enqueue(json!({ "kind": "k", "queue": "q", "max_attempts": 20 })).await;
    let path = format!("/v1/jobs/{id}/stream");
    let (mut written, mut received, mut last) = (Vec::new(), Vec::new(), Some("0-0".to_owned()));
    for round in 0..8 {
        let lease = api.lease("q").await.unwrap();
        // more attempts than a process remembers end while the client is not connected
        let listens = !(2..=6).contains(&round);
        let mut line = 0;
        for piece in 0..3 {
            let text: Vec<_> = (0..=piece).map(|n| format!("attempt {round} line {}", line + n)).collect();
            let text = text.join("\n") + "\n";
            line += piece + 1;
            written.extend(text.lines().map(ToOwned::to_owned));
            report(&api, &lease, &text, json!(null)).await;
            if listens {
                let addr = if piece % 2 == 0 { other } else { api.addr };
                let mut listener = Listener::open(addr, &path, last.as_deref()).await;
                // the client breaks the connection somewhere in the middle
                while received.len() + 1 < written.len() {
                    let event = listener.named("log").await;
                    assert!(event.json["skipped_bytes"].is_null(), "{event:?}");
                    last = event.id.clone();
                    received.extend(lines(&[event]));
                }
            }
        }
        if round == 7 {
            api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
        } else {
            let error =
                json!({ "outcome": "failed", "retry_after_seconds": 3600, "error": { "type": "again" } });
            api.settle(error, &lease).await.expect(200);
            api.act(&format!("/v1/jobs/{id}/promote")).await.expect(200);
        }
    }
    let rest = Listener::open(other, &path, last.as_deref()).await.rest().await;
    received.extend(lines(&rest));
    assert_eq!(received, written);
    let fresh = Listener::open(other, &path, None).await.rest().await;
    assert_eq!(
        lines(&fresh),
        written[written.len() - 6..],
        "without an id the log begins with the last attempt"
    );
    let all = Listener::open(api.addr, &path, Some("0-0")).await.rest().await;
    assert_eq!(lines(&all), written);
}

#[tokio::test]
async fn what_is_no_longer_kept_is_counted() {
    let api = Api::start().await;
    let (id, lease) = running(&api).await;
    let text: Vec<_> = (0..2_000).map(|n| format!("line {n:05}")).collect();
    let text = text.join("\n") + "\n";
    for part in text.as_bytes().chunks(7_000) {
        report(&api, &lease, std::str::from_utf8(part).unwrap(), json!(null)).await;
    }
    let mut listener = Listener::open(api.addr, &format!("/v1/jobs/{id}/stream"), None).await;
    let first = listener.named("log").await;
    let skipped = first.json["skipped_bytes"].as_u64().unwrap();
    assert_eq!(usize::try_from(skipped).unwrap(), text.len() - 16 * 1024);
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    let mut kept = vec![first];
    kept.extend(listener.rest().await);
    let kept = lines(&kept);
    assert!(text.ends_with(&(kept.join("\n") + "\n")), "{}", kept.len());
    assert_eq!(kept.last().unwrap(), "line 01999");
}

#[tokio::test]
async fn unusable_ids_are_refused() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let listen =
        async |path: &str, last: &str| api.send("GET", path, &[&format!("Last-Event-ID: {last}")], b"").await;
    for wrong in ["x", "1", "-1-1", "1-1-END", "1-1-end-end", "99999999999999999999-0", "0000c0de-1x"] {
        assert_eq!(
            listen(&format!("/v1/jobs/{id}/stream"), wrong).await.problem(400),
            "bad-request",
            "{wrong}"
        );
    }
    for wrong in ["x", "1-1", "0000c0de", "0000c0de--1", "0-0-end"] {
        assert_eq!(listen("/v1/stream", wrong).await.problem(400), "bad-request", "{wrong}");
    }
    // an id of a future that never comes, or in the middle of a character, is a place without lines
    for odd in ["9000000000000000000-0", "1-18446744073709551615", "0-1"] {
        let mut listener = Listener::open(api.addr, &format!("/v1/jobs/{id}/stream"), Some(odd)).await;
        assert_eq!(listener.next().await.unwrap().name, "status");
    }
    let unknown = "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6";
    assert_eq!(api.get(&format!("/v1/jobs/{unknown}/stream")).await.problem(404), "not-found");
    assert_eq!(api.get("/v1/jobs/x/stream").await.problem(400), "invalid-path");
}

#[tokio::test]
async fn a_job_that_is_deleted_or_cancelled_ends_its_stream() {
    let api = Api::start().await;
    let [cancelled, deleted] = [api.enqueue_in("q").await, api.enqueue_in("old").await];
    let open = async |id: &str| Listener::open(api.addr, &format!("/v1/jobs/{id}/stream"), None).await;
    let (mut first, mut second) = (open(&cancelled).await, open(&deleted).await);
    api.act(&format!("/v1/jobs/{cancelled}/cancel")).await.expect(200);
    api.send("POST", "/v1/queues/old/purge", &[], b"").await.expect(200);
    let first = first.rest().await;
    assert_eq!(names(&first), ["status", "end"]);
    assert_eq!(first.last().unwrap().json["error"]["type"], "cancelled");
    let second = second.rest().await;
    assert_eq!(second.last().unwrap().json, json!({ "id": deleted, "status": "deleted" }));
}

#[tokio::test]
async fn the_number_of_listeners_is_limited_and_shown() {
    let api = Api::with(Settings { max_streams: 2, ..settings() }).await;
    let id = api.enqueue_in("q").await;
    let path = format!("/v1/jobs/{id}/stream");
    let first = Listener::open(api.addr, &path, None).await;
    let _second = Listener::open(api.addr, "/v1/stream", None).await;
    assert_eq!(api.get(&path).await.problem(503), "unavailable");
    assert_eq!(api.get("/v1/stream").await.problem(503), "unavailable");
    let gauge = |stream: &str| {
        let families = api.registry.gather();
        let family = families.iter().find(|family| family.name() == "api_stream_listeners").unwrap();
        let of = |metric: &&prometheus::proto::Metric| metric.get_label()[0].value() == stream;
        family.get_metric().iter().find(of).unwrap().get_gauge().get_value()
    };
    assert_eq!((gauge("job"), gauge("service")), (1.0, 1.0));
    drop(first);
    // the place is free when the process notices that the client is gone, at the latest with the next comment
    let opened = eventually(HANG, "a place is free", async || {
        let listener = Listener::open_with(api.addr, &path, None, None).await;
        if listener.head.status == 200 { Ok(listener) } else { Err(listener.head) }
    })
    .await;
    assert_eq!((gauge("job"), gauge("service")), (1.0, 1.0));
    drop(opened);
}

#[tokio::test]
async fn a_quiet_stream_sends_comments() {
    let keep_alive = Duration::from_millis(50);
    let api = Api::with(Settings { stream_keep_alive: keep_alive, ..settings() }).await;
    let id = api.enqueue_in("q").await;
    for path in [format!("/v1/jobs/{id}/stream"), "/v1/stream".to_owned()] {
        let mut listener = Listener::open(api.addr, &path, None).await;
        let last = if path == "/v1/stream" { "ready" } else { "status" };
        listener.named(last).await;
        let before = listener.comments;
        listener.comments_reach(before + 3).await;
    }
}

#[tokio::test]
async fn the_shutdown_ends_streams_at_once() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let path = format!("/v1/jobs/{id}/stream");
    let mut job = Listener::open(api.addr, &path, None).await;
    let mut service = Listener::open(api.addr, "/v1/stream", None).await;
    job.named("status").await;
    service.named("ready").await;
    api.shutdown.begin();
    assert_eq!((job.next().await, service.next().await), (None, None), "they end in order");
    tokio::time::timeout(HANG, api.shutdown.wait()).await.expect("every task ends");
}

#[tokio::test]
async fn an_outage_is_an_event_and_the_stream_continues_after_it() {
    let api = Api::start().await;
    let proxy = FaultProxy::before(api.db.url()).await;
    let store = Store::connect_lazy(&options(&proxy.through(api.db.url()))).unwrap();
    let addr = serve(&store, settings(), &api.shutdown).await;
    let (id, lease) = running(&api).await;
    let path = format!("/v1/jobs/{id}/stream");
    let mut job = Listener::open(addr, &path, None).await;
    let mut service = Listener::open(addr, "/v1/stream", None).await;
    job.named("status").await;
    service.named("ready").await;
    for fault in [Fault::Cut, Fault::Reject("57P03")] {
        proxy.set(fault);
        let event = job.next().await.unwrap();
        assert_eq!(
            (event.name.as_str(), &event.json["reason"]),
            ("unavailable", &json!("the database is unavailable"))
        );
        assert_eq!(service.named("unavailable").await.json, event.json);
        let refused = Listener::open_with(addr, &path, None, None).await;
        // the picture of the job is still known, so this listener gets it and the outage
        assert_eq!(refused.head.status, 200);
        let unknown = api.enqueue_in("other").await;
        let refused = Listener::open_with(addr, &format!("/v1/jobs/{unknown}/stream"), None, None).await;
        assert_eq!((refused.head.status, refused.head.header("retry-after")), (503, Some("2")));
        report(&api, &lease, "written during the outage\n", json!(null)).await;
        proxy.set(Fault::Pass);
        assert_eq!(job.next().await.unwrap().name, "available");
        assert_eq!(job.next().await.unwrap().json["line"], "written during the outage");
        service.named("available").await;
    }
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    assert_eq!(names(&job.rest().await), ["status", "end"]);
}

#[tokio::test]
async fn a_listener_without_a_connection_of_its_own_sees_a_job_on_a_small_pool() {
    let db = TestDb::new().await;
    let small = jobqueue_store::StoreOptions { max_connections: 3, ..options(db.url()) };
    let (store, shutdown) = (Store::connect_lazy(&small).unwrap(), Shutdown::new());
    let addr = serve(&store, settings(), &shutdown).await;
    let job = post(addr, "/v1/jobs", r#"{"kind":"k"}"#).await.expect(201);
    let id = job["id"].as_str().unwrap();
    let path = format!("/v1/jobs/{id}/stream");
    let mut listeners = Vec::new();
    for _ in 0..50 {
        listeners.push(Listener::open(addr, &path, None).await);
    }
    post(addr, &format!("/v1/jobs/{id}/cancel"), "").await.expect(200);
    for listener in &mut listeners {
        assert_eq!(listener.rest().await.last().unwrap().name, "end");
    }
    shutdown.begin();
}

/// Only the streams of the corrupt job end.
#[tokio::test]
async fn a_corrupt_job_ends_its_own_stream_with_an_error() {
    let api = Api::start().await;
    let (corrupt, fine) = (api.enqueue_in("q").await, api.enqueue_in("other").await);
    let path = format!("/v1/jobs/{corrupt}/stream");
    let mut of_corrupt = Listener::open(api.addr, &path, None).await;
    let mut of_fine = Listener::open(api.addr, &format!("/v1/jobs/{fine}/stream"), None).await;
    assert_eq!(of_corrupt.named("status").await.json["status"], "queued");
    assert_eq!(of_fine.named("status").await.json["status"], "queued");
    let lease = api.lease("q").await.unwrap();
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    of_corrupt.named("end").await;
    api.db.execute(&format!("UPDATE jobqueue.outcome SET status = 77 WHERE job_id = '{corrupt}'")).await;
    let refused = Listener::open_with(api.addr, &path, None, None).await;
    assert_eq!(refused.head.status, 500, "a new listener is refused");
    api.db.execute(&format!("UPDATE jobqueue.outcome SET status = 5 WHERE job_id = '{corrupt}'")).await;

    let lease = api.lease("other").await.unwrap();
    assert_eq!(of_fine.named("status").await.json["status"], "running");
    let third = api.enqueue_in("q").await;
    let mut of_third = Listener::open(api.addr, &format!("/v1/jobs/{third}/stream"), None).await;
    of_third.named("status").await;
    api.db.execute(&format!("UPDATE jobqueue.body SET max_attempts = -1 WHERE id = '{third}'")).await;
    let rest = of_third.rest().await;
    assert_eq!(names(&rest), ["unreadable"], "{rest:?}");
    assert!(rest[0].json["reason"].is_string(), "{rest:?}");
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    assert_eq!(of_fine.named("end").await.json["status"], "completed");
}
