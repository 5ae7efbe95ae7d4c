//! `cancel`, `retry` and `promote`, by id and by selector.

use serde_json::json;

use crate::service::Service;

#[tokio::test]
async fn jobs_are_changed_by_id() {
    let service = Service::start().await;
    let (a, b) = (service.submit(&["echo"]).await, service.submit(&["echo"]).await);
    let later = service.submit(&["echo", "--delay-seconds", "3600"]).await;
    let table = service.ok(&["cancel", &a, &b]).await;
    assert_eq!(table.matches("cancelled").count(), 2, "{table}");
    assert_eq!(service.json(&["retry", &a]).await["status"], "queued");
    assert_eq!(service.json(&["promote", &later[..18]]).await["status"], "queued");
    let ran = service.ran(&["promote", &a, &b, "-o", "name"]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    let unknown = "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6";
    let ran = service.ran(&["cancel", unknown, &later, "-o", "name"]).await;
    assert_eq!((ran.code, ran.stdout.trim()), (3, later.as_str()), "the others are still done: {ran:?}");
    assert!(ran.stderr.contains(unknown), "{ran:?}");
    let ran = service.fed(&["cancel", "-", "-o", "name"], &format!("{a} queued\n\n{a}\n")).await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 2), "{ran:?}");
}

#[tokio::test]
async fn jobs_are_changed_by_selector() {
    let service = Service::start().await;
    service
        .db
        .execute("SELECT jobqueue.enqueue('echo', queue => 'mail') FROM generate_series(1, 2300)")
        .await;
    let keep = service.submit(&["echo", "--queue", "other"]).await;
    let all = ["cancel", "-q", "mail", "--status", "queued"];
    let with = |more: &[&'static str]| [&all[..], more].concat();

    let dry = service.ran(&with(&["--dry-run", "--limit", "3"])).await;
    assert_eq!((dry.code, dry.stdout.lines().count()), (0, 3), "{dry:?}");
    assert!(dry.stderr.contains("nothing was changed"), "{dry:?}");
    service.ran(&all).await.fails(64, "--yes");
    assert_eq!(service.db.number("SELECT count(*) FROM jobs WHERE status = 'cancelled'").await, 0);

    assert_eq!(
        service.json(&with(&["--yes", "--limit", "100"])).await,
        json!({"changed": 100, "refused": 0})
    );
    assert_eq!(service.ok(&with(&["--yes"])).await, "2200 jobs changed, 0 refused\n");
    assert_eq!(service.db.number("SELECT count(*) FROM jobs WHERE status = 'cancelled'").await, 2_300);
    let none = service.ran(&with(&["--yes"])).await;
    assert_eq!((none.code, none.stderr.trim()), (0, "No jobs match."), "{none:?}");
    assert_eq!(service.json(&["get", "job", &keep]).await["status"], "queued");
    assert_eq!(service.ok(&["retry", "-q", "mail", "-y"]).await, "2300 jobs changed, 0 refused\n");
}

#[tokio::test]
async fn a_running_job_that_matches_again_does_not_repeat_the_request_forever() {
    let service = Service::start().await.with_worker();
    let id = service.submit(&["block"]).await;
    service.ok(&["wait", &id, "--for", "running", "--timeout", "60"]).await;
    assert_eq!(service.ok(&["cancel", "-k", "block", "-y"]).await, "1 jobs changed, 0 refused\n");
    service.ok(&["wait", &id, "--for", "cancelled", "--timeout", "60"]).await;
}

#[tokio::test]
async fn it_must_be_said_which_jobs() {
    let service = Service::start().await;
    for args in [&["cancel"][..], &["retry", "--yes"], &["promote", "--dry-run"]] {
        service.ran(args).await.fails(64, "say which jobs");
    }
    service
        .ran(&["cancel", "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6", "-q", "mail"])
        .await
        .fails(64, "not both");
    service.ran(&["cancel", "-q", "no spaces", "-y"]).await.fails(4, "queue");
}
