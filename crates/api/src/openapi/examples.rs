//! An example of each request body. A test sends all of them.

use serde_json::{Value, json};

/// A lease of no job: settling it is answered with 409.
const LEASE: &str = "AAAAAAAAAAEAAAAAAABAAIAAAAAAAAAAAZjBojtMfV6PYHGCk6S1xgAAAQ";

/// The secret of the examples of Standard Webhooks.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The example body of an operation.
pub(super) fn of(operation_id: &str) -> Option<Value> {
    Some(match operation_id {
        "enqueue_job" => json!({
            "kind": "send_email",
            "queue": "default",
            "payload": { "to": "ada@example.com", "template": "welcome" },
            "priority": 10,
            "delay_seconds": 30,
            "max_attempts": 5,
            "retry": { "strategy": "exponential", "base_seconds": 5, "factor": 2, "max_seconds": 3600, "jitter": 0.5 },
            "timeout_seconds": 60,
            "soft_timeout_seconds": 50,
            "unique": { "key": "welcome-ada", "scope": "kind", "on_conflict": "return" },
            "tags": ["signup"],
            "metadata": { "tenant": "acme" },
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "on_end": { "url": "https://hooks.example.com/jobs", "secret": SECRET },
        }),
        "enqueue_jobs" => json!({
            "jobs": [{ "kind": "resize", "payload": { "image": 1 } }, { "kind": "resize", "payload": { "image": 2 } }],
            "atomic": true,
        }),
        "cancel_jobs" => json!({ "filter": { "queue": ["default"], "status": ["queued"] }, "dry_run": true }),
        "retry_jobs" => json!({
            "filter": { "kind": ["send_email"], "created_after": "2026-01-31T09:00:00Z" },
            "limit": 100,
            "dry_run": true,
        }),
        "promote_jobs" => json!({ "ids": ["0198c1a2-3b4c-7d5e-8f60-718293a4b5c6"], "dry_run": true }),
        "delete_jobs" => delete_jobs(),
        "edit_job" => edit_job(),
        "configure_queue" => {
            json!({ "completed_retention_seconds": 86_400, "failed_retention_seconds": null, "max_queued": 100_000 })
        }
        "configure_kind" => json!({ "timeout_seconds": 120, "create": true }),
        "pause_kind" | "resume_kind" => json!({ "create": true }),
        "pause_queue" | "resume_queue" => json!({ "create": false }),
        "purge_queue" => json!({ "dry_run": true }),
        "acquire_leases" => {
            json!({ "worker": "thumbnails-1", "queues": ["default"], "limit": 10, "lease_seconds": 30, "wait": 1 })
        }
        "heartbeat_leases" => json!({
            "leases": [{ "lease": LEASE, "progress": { "done": 0.5 }, "log": "half done\n" }],
            "lease_seconds": 30,
            "worker": { "name": "thumbnails-1", "language": "python", "slots": 4, "answers": [{ "id": 7, "result": { "slots": 4 } }] },
        }),
        "retry_dead_letter" => json!({ "payload": { "to": "ada@example.org", "template": "welcome" } }),
        "purge_dead_letters" => {
            json!({ "filter": { "queue": ["default"], "failed_before": "2026-01-31T09:00:00Z" }, "limit": 100, "dry_run": true })
        }
        "start_redrive" => json!({
            "filter": { "kind": ["send_email"], "error_type": ["http_503"], "failed_after": "2026-01-31T09:00:00Z" },
            "rate": 5,
            "stop_share": 0.5,
            "stop_window": 20,
            "dry_run": true,
        }),
        "command_worker" => json!({ "command": "resize", "slots": 20 }),
        "command_workers" => {
            json!({ "filter": { "queue": "default", "name": "web-*" }, "command": "pause", "dry_run": true })
        }
        "settle_leases" => {
            json!({ "items": [{ "lease": LEASE, "outcome": "completed", "result": { "sent": true } }] })
        }
        other => return of_rules(other),
    })
}

/// The example body of an operation on schedules and routes.
fn of_rules(operation_id: &str) -> Option<Value> {
    Some(match operation_id {
        "put_schedule" | "preview_unsaved_schedule" => json!({
            "cron": "0 2 * * *",
            "time_zone": "Europe/Berlin",
            "jitter_seconds": 60,
            "overlap": "skip",
            "expires_after_seconds": 3600,
            "owner": "reports",
            "description": "The report of the day before",
            "job": { "kind": "report.build", "queue": "default", "payload": { "days": 1 }, "timeout_seconds": 600 },
        }),
        "patch_schedule" => {
            json!({ "cron": "30 3 * * *", "jitter_seconds": null, "job": { "payload": { "days": 7 } } })
        }
        "put_route" => json!({
            "position": 10,
            "kind": "mail.*",
            "queue": "mail",
            "priority": 5,
            "timeout_seconds": 60,
            "retry": { "strategy": "fixed", "delay_seconds": 30 },
            "expires_after_seconds": 86_400,
            "tags": ["mail"],
            "on_end": { "url": "https://hooks.example.com/mail", "secret": SECRET },
            "owner": "shop",
        }),
        "create_api_key" => json!({
            "name": "shop-2026",
            "scopes": ["read", "write"],
            "queues": ["mail", "shop-*"],
            "hide": ["/card/number"],
            "rate": { "requests": 600, "per_seconds": 60 },
            "expires_at": "2100-01-31T09:00:00Z",
            "owner": "shop",
        }),
        "patch_api_key" => json!({ "queues": ["shop-*"], "rate": null, "expires_at": null }),
        "rotate_api_key" => json!({ "overlap_seconds": 3600 }),
        "patch_route" => {
            json!({ "queue": "bulk", "priority": null, "retry": { "strategy": "fixed", "delay_seconds": 60 } })
        }
        "test_route" => json!({ "kind": "mail.send", "priority": 9, "payload": { "to": "ada@example.com" } }),
        _ => return None,
    })
}

fn delete_jobs() -> Value {
    json!({
        "filter": {
            "status": ["failed"],
            "error_type": ["timeout"],
            "finished_before": "2026-01-31T09:00:00Z",
            "metadata": ["team=billing"],
        },
        "dry_run": true,
    })
}

fn edit_job() -> Value {
    json!({
        "queue": "default",
        "priority": 50,
        "delay_seconds": 600,
        "payload": { "template": "welcome-2" },
        "tags": ["signup", "second-try"],
        "timeout_seconds": 120,
    })
}
