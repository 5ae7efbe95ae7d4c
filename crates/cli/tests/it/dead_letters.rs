//! `dlq`: list, groups, show, retry, redrive and purge.

use jobqueue_store::{Pooler, Store, StoreOptions};
use serde_json::Value;

use crate::service::{SOON, Service};

async fn dead(service: &Service, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(service.submit(&["fail"]).await);
    }
    let args: Vec<&str> = ["wait"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    assert_eq!(service.ran(&args).await.code, 1);
    ids
}

/// A store that does what the reaper would.
fn store(service: &Service) -> Store {
    Store::connect_lazy(&StoreOptions {
        url: service.db.url().into(),
        application_name: "cli-test".to_owned(),
        max_connections: 2,
        connect_timeout: SOON,
        pooler: Pooler::None,
    })
    .unwrap()
}

#[tokio::test]
async fn dead_letters_are_listed_grouped_and_shown() {
    let service = Service::start().await.with_worker();
    let ids = dead(&service, 2).await;
    store(&service).upkeep().count_dead_letters().await.unwrap();
    let list = service.ok(&["dlq", "list", "--text", "BROKEN", "-o", "wide"]).await;
    assert!(list.contains(&ids[0]) && list.contains("broken") && list.contains("GROUP"), "{list}");
    let one = service.ran(&["dlq", "list", "--limit", "1", "-o", "name"]).await;
    assert_eq!((one.stdout.trim(), one.stderr.contains("--limit")), (ids[1].as_str(), true));
    let groups = service.json(&["dlq", "groups", "-k", "fail", "--sort", "last"]).await;
    assert_eq!((&groups[0]["count"], &groups[0]["error_type"]), (&2.into(), &"broken".into()), "{groups}");
    let group = groups[0]["group"].as_str().unwrap();
    let shown = service.ok(&["dlq", "show", group]).await;
    assert!(shown.contains("newest:") && shown.contains(&ids[0]), "{shown}");
    assert!(service.ok(&["dlq", "show", &ids[0]]).await.contains("failed_at:"));
    service.ran(&["dlq", "show", "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6"]).await.fails(3, "not found");
}

#[tokio::test]
async fn a_dead_letter_is_retried_with_another_payload() {
    let service = Service::start().await.with_worker();
    let ids = dead(&service, 2).await;
    let new = service.json(&["dlq", "retry", &ids[0], "--payload", "[1.0]"]).await;
    let new = if new.is_array() { new[0].clone() } else { new };
    assert_eq!(
        (&new["payload"], &new["metadata"]["retry_of"]),
        (&serde_json::json!([1.0]), &Value::from(ids[0].clone()))
    );
    service.ran(&["dlq", "retry", &ids[0], "--payload", "1"]).await.fails(4, "retried");
    service.ran(&["dlq", "retry", &ids[0], &ids[1], "--payload", "1"]).await.fails(64, "one id");
    service.ran(&["dlq", "retry", &ids[1], "--payload", "{"]).await.fails(64, "not JSON");
    service.ok(&["dlq", "retry", &ids[1]]).await;
}

#[tokio::test]
async fn a_redrive_is_followed_to_its_end() {
    let service = Service::start().await.with_worker();
    let ids = dead(&service, 3).await;
    let dry = service.ok(&["dlq", "redrive", "-k", "fail", "--dry-run"]).await;
    assert!(dry.contains("3 dead letters match"), "{dry}");
    service.ran(&["dlq", "redrive", "-k", "fail"]).await.fails(64, "--yes");
    service.ran(&["dlq", "redrive", "--yes"]).await.fails(64, "--all");
    assert_eq!(service.ran(&["dlq", "redrive", "-k", "none", "--yes"]).await.code, 0);
    let begun = service
        .json(&[
            "dlq",
            "redrive",
            "-k",
            "fail",
            "--yes",
            "--no-wait",
            "--stop-window",
            "4",
            "--stop-share",
            "0.5",
        ])
        .await;
    let id = begun["id"].as_str().unwrap().to_owned();
    let reaper = store(&service);
    let followed = async |args: &[&str]| {
        let steps = async {
            loop {
                reaper.redrive_step().await.unwrap();
                // the interval of the reaper's duty, which this loop stands for
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = steps => unreachable!("it does not end"),
            ran = service.ran(args) => ran,
        }
    };
    let watched = followed(&["dlq", "watch", &id]).await;
    assert_eq!(watched.code, 1, "{watched:?}");
    assert!(watched.stdout.contains("failing") && watched.stderr.contains("fail again"), "{watched:?}");
    let stopped = service.ok(&["dlq", "stop", &id]).await;
    assert!(stopped.contains("failing"), "it had ended: {stopped}");
    assert!(service.ok(&["dlq", "redrives"]).await.contains(&id));
    assert_eq!(ids.len(), 3);
    // so few failures stop no redrive, but its jobs failed again
    let done = followed(&["dlq", "redrive", "-k", "fail", "--yes"]).await;
    assert!(done.code == 1 && done.stdout.contains("done"), "{done:?}");
}

#[tokio::test]
async fn dead_letters_are_purged() {
    let service = Service::start().await.with_worker();
    let ids = dead(&service, 3).await;
    let dry = service.ran(&["dlq", "purge", "--all", "--dry-run"]).await;
    assert!(dry.stdout.contains(&ids[0]) && dry.stderr.contains("3 dead letters match"), "{dry:?}");
    service.ran(&["dlq", "purge", "--all"]).await.fails(64, "--yes");
    service.ran(&["dlq", "purge", "--yes"]).await.fails(64, "--all");
    assert!(
        service
            .ok(&["dlq", "purge", "-k", "fail", "--limit", "2", "--yes"])
            .await
            .contains("2 dead letters deleted")
    );
    assert_eq!(service.json(&["dlq", "purge", "--all", "--yes"]).await, serde_json::json!({ "deleted": 1 }));
    assert_eq!(service.ran(&["get", "job", &ids[0]]).await.code, 3);
}
