//! `wait` and `submit --wait`: exit codes that scripts can use.

use crate::service::{Service, json_lines};
use serde_json::json;

#[tokio::test]
async fn the_exit_code_says_how_the_job_ended() {
    let service = Service::start().await.with_worker();
    let done = service.submit(&["echo", "7"]).await;
    let ran = service.ran(&["wait", &done, "--timeout", "1m"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("completed"), "{ran:?}");
    let failed = service.submit(&["fail"]).await;
    let ran = service.ran(&["wait", &failed, &done, "--timeout", "1m"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("is failed") && ran.stdout.contains("completed"), "{ran:?}");
    service.ok(&["wait", &failed, "--for", "final"]).await;
    service.ok(&["wait", &failed, "--for", "failed"]).await;
    service.ran(&["wait", &done, "--for", "failed"]).await.fails(1, "is completed");
    service.ran(&["wait", "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6"]).await.fails(3, "not found");
}

#[tokio::test]
async fn a_wait_has_a_time_limit() {
    let service = Service::start().await;
    let id = service.submit(&["echo"]).await;
    service.ran(&["wait", &id, "--timeout", "200ms"]).await.fails(6, "still queued");
    service.ran(&["wait", &id, "--for", "running", "--timeout", "0"]).await.fails(6, "still queued");
    service.ok(&["wait", &id, "--for", "queued"]).await;
    let ran = service.ran(&["submit", "echo", "--wait", "--timeout", "0.1"]).await;
    assert_eq!(ran.code, 6, "{ran:?}");
}

#[tokio::test]
async fn a_submission_can_wait() {
    let service = Service::start().await.with_worker();
    let result = service.ok(&["submit", "echo", "{\"n\": 1.0}", "--wait", "-o", "jsonpath=.result.n"]).await;
    assert_eq!(result, "1.0\n");
    let ran = service.ran(&["submit", "fail", "--wait"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("failed"), "{ran:?}");
    let lines = json_lines((0..30).map(|n| json!(n)));
    let ran =
        service.fed(&["submit", "echo", "--lines", "-", "--wait", "-o", "jsonpath=.result"], &lines).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, lines, "in the order of the lines");
    let mixed = json_lines([json!({"kind": "echo"}), json!({"kind": "fail"})]);
    let ran = service.fed(&["submit", "--lines", "-", "--wait"], &mixed).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let ids = service.ok(&["get", "jobs", "--kind", "echo", "-o", "name"]).await;
    assert_eq!(service.fed(&["wait", "-"], &ids).await.code, 0);
}
