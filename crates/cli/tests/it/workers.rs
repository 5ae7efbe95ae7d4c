//! `worker`: commands to workers, until they are acknowledged.

use jobqueue_testkit::eventually;

use crate::service::{SOON, Service};

async fn with_listed_worker() -> Service {
    let service = Service::start().await.with_worker();
    let listed = async || {
        let workers = service.json(&["get", "workers"]).await;
        if workers[0]["name"] == "of-the-test" { Ok(()) } else { Err(workers) }
    };
    eventually(SOON, "the worker is listed", listed).await;
    service
}

#[tokio::test]
async fn a_worker_answers_pauses_and_is_resized() {
    let service = with_listed_worker().await;
    let answer = service.json(&["worker", "ping", "of-the-test"]).await;
    assert_eq!(
        (&answer[0]["status"], &answer[0]["worker"]),
        (&"acknowledged".into(), &"of-the-test".into()),
        "{answer}"
    );
    service.ok(&["worker", "pause", "of-*"]).await;
    assert!(service.ok(&["get", "workers"]).await.contains("paused"));
    service.ok(&["worker", "resume", "--all"]).await;
    service.ok(&["worker", "resize", "3", "of-the-test"]).await;
    service.ok(&["worker", "queues", "of-the-test", "--subscribe", "more", "--unsubscribe", "mail"]).await;
    let worker = service.json(&["get", "workers", "of-the-test"]).await;
    let worker = if worker.is_array() { worker[0].clone() } else { worker };
    assert_eq!(
        (&worker["slots"], &worker["queues"]),
        (&3.into(), &serde_json::json!(["default", "more"])),
        "{worker}"
    );
    let dry = service.ok(&["worker", "drain", "--queue", "more", "--dry-run"]).await;
    assert!(dry.contains("dry run"), "{dry}");
}

#[tokio::test]
async fn a_worker_is_drained() {
    let service = with_listed_worker().await;
    service.ran(&["worker", "drain", "--all"]).await.fails(64, "--yes");
    let answer = service.ok(&["worker", "drain", "of-the-test"]).await;
    assert!(answer.contains("acknowledged"), "{answer}");
    let gone = async || {
        let workers = service.json(&["get", "workers"]).await;
        if workers.as_array().unwrap().is_empty() { Ok(()) } else { Err(workers) }
    };
    eventually(SOON, "the worker has ended", gone).await;
}

#[tokio::test]
async fn it_must_be_said_which_workers() {
    let service = Service::start().await;
    service.ran(&["worker", "ping"]).await.fails(64, "say which workers");
    service.ran(&["worker", "ping", "missing"]).await.fails(3, "no live worker");
    assert_eq!(service.ran(&["worker", "resize", "0", "x"]).await.code, 64);
    assert_eq!(service.ran(&["worker", "queues", "x"]).await.code, 64);
    assert_eq!(service.ran(&["worker", "ping", "x", "--all"]).await.code, 64);
}
