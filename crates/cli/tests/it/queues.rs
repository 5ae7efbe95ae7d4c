//! `queue` and `delete`.

use serde_json::json;

use crate::service::Service;

#[tokio::test]
async fn a_queue_is_paused_configured_purged_and_deleted() {
    let service = Service::start().await;
    service.submit(&["echo", "-q", "mail"]).await;
    assert_eq!(service.json(&["queue", "pause", "mail"]).await["paused"], true);
    assert!(service.ok(&["queue", "list"]).await.contains("yes"), "the pause is shown");
    assert_eq!(service.json(&["queue", "resume", "mail"]).await["paused"], false);
    let ran = service.ran(&["queue", "pause", "missing", "mail", "-o", "name"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "mail\n"), "{ran:?}");
    assert_eq!(service.json(&["queue", "pause", "new", "--create"]).await["paused"], true);

    let queue =
        service.json(&["queue", "set", "mail", "--keep-completed", "2h", "--keep-failed", "90"]).await;
    assert_eq!(
        (&queue["completed_retention_seconds"], &queue["failed_retention_seconds"]),
        (&json!(7200.0), &json!(90.0))
    );
    let queue = service.json(&["queue", "set", "mail", "--keep-completed", "default"]).await;
    assert_eq!(
        (&queue["completed_retention_seconds"], &queue["failed_retention_seconds"]),
        (&json!(null), &json!(90.0))
    );
    assert_eq!(service.ran(&["queue", "set", "mail"]).await.code, 64);
    assert_eq!(service.json(&["queue", "set", "mail", "--max-queued", "1"]).await["max_queued"], 1);
    service.ran(&["submit", "echo", "-q", "mail"]).await.fails(5, "max_queued");
    assert_eq!(
        service.json(&["queue", "set", "mail", "--max-queued", "none"]).await["max_queued"],
        json!(null)
    );

    assert_eq!(
        service.ok(&["queue", "purge", "mail", "--dry-run"]).await,
        "1 waiting jobs match, nothing was deleted\n"
    );
    service.ran(&["queue", "purge", "mail"]).await.fails(64, "--yes");
    assert_eq!(service.ok(&["queue", "purge", "mail", "-y"]).await, "1 waiting jobs deleted\n");

    service.submit(&["echo", "-q", "mail"]).await;
    service.ran(&["delete", "queue", "mail"]).await.fails(4, "queue mail");
    service.ran(&["delete", "queue", "mail", "--force"]).await.fails(64, "--yes");
    assert!(service.ok(&["delete", "queue", "mail", "--force", "-y"]).await.contains("1 waiting jobs"));
    service.ran(&["queue", "delete", "mail"]).await.fails(3, "no such queue");
    assert_eq!(service.ok(&["get", "queues", "-o", "name"]).await, "new\n");
    service.ran(&["delete", "pods", "x"]).await.fails(64, "use queue");
}
