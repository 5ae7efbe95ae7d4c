//! Metrics, stats and probes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use jobqueue_core::{Failure, Outcome};
use serde_json::json;

use crate::bench::Api;

#[tokio::test]
async fn metrics_agree_with_the_database() {
    let api = Api::start().await;
    let names = [
        "job_created_total",
        "job_completed_total",
        "job_failed_total",
        "job_queue_depth",
        "worker_lease_acquired_total",
    ];
    let empty = api.get("/metrics").await.text;
    for name in names {
        assert!(empty.contains(&format!("{name}{{queue=\"default\"}} 0\n")), "{name} in\n{empty}");
    }
    api.ended(Outcome::Completed(None)).await;
    api.ended(Outcome::Discarded(Failure::new("x", "y"))).await;
    api.enqueue_in("q").await;
    assert!(api.store.take_census(200).await.unwrap());
    let other = new_metrics(&api).await;
    for line in [
        "job_attempts_total{queue=\"q\"} 2",
        "job_queue_recommended_workers{queue=\"q\"} 1",
        "job_created_total{queue=\"q\"} 3",
        "job_completed_total{queue=\"q\"} 1",
        "job_failed_total{queue=\"q\"} 1",
        "job_queue_depth{queue=\"q\"} 1",
        "job_queue_jobs{queue=\"q\",status=\"queued\"} 1",
        "worker_lease_acquired_total{queue=\"q\"} 2",
        "job_queue_paused{queue=\"q\"} 0",
    ] {
        assert!(other.lines().any(|found| found == line), "{line} in\n{other}");
    }
    assert!(other.contains("job_queue_oldest_age_seconds{queue=\"q\"} "), "{other}");
    promtool(&other);
    promtool(&prometheus::TextEncoder::new().encode_to_string(&api.registry.gather()).unwrap());
}

/// Depth and age still count the waiting jobs of a paused queue; the pause has its own metric.
#[tokio::test]
async fn a_pause_has_its_own_metric() {
    let api = Api::start().await;
    api.enqueue_in("q").await;
    api.enqueue_in("other").await;
    api.act("/v1/queues/q/pause").await.expect(200);
    assert!(api.store.take_census(200).await.unwrap());
    let expected = [
        "job_queue_paused{queue=\"q\"} 1",
        "job_queue_paused{queue=\"other\"} 0",
        "job_queue_depth{queue=\"q\"} 1",
        "job_queue_recommended_workers{queue=\"q\"} 0",
    ];
    let look = async || {
        let text = api.get("/metrics").await.text;
        let missing: Vec<_> = expected.iter().filter(|line| !text.lines().any(|l| l == **line)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} in\n{text}")) }
    };
    jobqueue_testkit::eventually(crate::client::HANG, "the pause has its metric", look).await;
    api.act("/v1/queues/q/resume").await.expect(200);
    let look = async || {
        let text = api.get("/metrics").await.text;
        if text.contains("job_queue_paused{queue=\"q\"} 0\n") { Ok(()) } else { Err(text) }
    };
    jobqueue_testkit::eventually(crate::client::HANG, "and its end", look).await;
}

/// Waits until the result of the first scrape is no longer cached, and scrapes again.
async fn new_metrics(api: &Api) -> String {
    let look = async || {
        let text = api.get("/metrics").await.text;
        if text.contains("{queue=\"q\"}") { Ok(text) } else { Err(text) }
    };
    jobqueue_testkit::eventually(crate::client::HANG, "the census is read again", look).await
}

/// Checks the metrics with promtool, if it is installed.
fn promtool(metrics: &str) {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("promtool is not installed: the metrics are not checked by it");
        return;
    };
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let verdict = child.wait_with_output().unwrap();
    assert!(verdict.status.success(), "{}\n{metrics}", String::from_utf8_lossy(&verdict.stderr));
}

#[tokio::test]
async fn stats_have_the_numbers_for_an_autoscaler() {
    let api = Api::start().await;
    let idle = api.get("/v1/stats").await.expect(200);
    assert_eq!(
        idle["total"],
        json!({ "scheduled": 0, "queued": 0, "running": 0, "oldest_age_seconds": 0.0 })
    );
    api.enqueue_in("q").await;
    assert!(api.store.take_census(200).await.unwrap());
    let look = async || {
        let stats = api.get("/v1/stats").await.expect(200);
        if stats["total"]["queued"] == 1 { Ok(stats) } else { Err(stats) }
    };
    let stats = jobqueue_testkit::eventually(crate::client::HANG, "the census is read again", look).await;
    assert_eq!((&stats["queues"][0]["queue"], &stats["queues"][0]["created"]), (&json!("q"), &json!(1)));
}

#[tokio::test]
async fn statistics_of_a_range_have_points_totals_and_quantiles() {
    let api = Api::start().await;
    api.enqueue_in("q").await;
    api.enqueue_in("other").await;
    assert!(api.store.take_census(200).await.unwrap());
    let all = api.get("/v1/stats?step=3600").await.expect(200);
    assert_eq!(all["total"]["created"], 2);
    let keys = ["created", "completed", "failed", "retried", "cancelled", "snoozed"];
    let points = all["points"].as_array().unwrap();
    for key in keys {
        let sum: u64 = points.iter().map(|point| point[key].as_u64().unwrap()).sum();
        assert_eq!(all["total"][key], sum, "{key}");
    }
    let none = json!({ "count": 0, "p50_seconds": null, "p95_seconds": null, "p99_seconds": null });
    assert_eq!((&all["total"]["wait"], &all["total"]["run"]), (&none, &none));
    assert!(points.iter().all(|point| point["at"].as_str().unwrap().ends_with(":00:00Z")));
    let hours = points.len();
    assert!(hours == 2 && all["step_seconds"] == 3600 && all["counted_until"].is_string(), "{all}");
    assert_eq!(
        (&all["queue"], &all["kind"], &all["has_others"]),
        (&json!(null), &json!(null), &json!(false))
    );

    let mine = api.get("/v1/stats?queue=q&step=3600").await.expect(200);
    assert_eq!((&mine["queue"], &mine["total"]["created"]), (&json!("q"), &json!(1)));
    assert_eq!(api.get("/v1/stats?kind=unknown").await.expect(200)["total"]["created"], 0);
}

#[tokio::test]
async fn probes_respond_at_every_path() {
    let api = Api::start().await;
    for path in ["/health", "/health/live", "/health/startup", "/ready", "/health/ready", "/health/detailed"]
    {
        for slash in ["", "/"] {
            assert_eq!(
                api.raw("GET", &format!("{path}{slash}"), &[], b"").await.status,
                200,
                "{path}{slash}"
            );
        }
    }
    let detailed = api.get("/health/detailed/").await.expect(200);
    assert_eq!((&detailed["status"], &detailed["checks"][0]["name"]), (&json!("ready"), &json!("database")));
}
