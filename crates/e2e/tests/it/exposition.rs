//! Metrics and SQL for operators: Prometheus accepts every `/metrics` page, the documented metrics exist and agree with
//! the database, and the documented SQL works.

use std::io::Write as _;
use std::process::{Command, Stdio};

use jobqueue_testkit::{TestDb, eventually};
use serde_json::json;

use crate::client::Client;
use crate::cluster::{Cluster, LIMIT, all_final};
use crate::ledger::{FLAKY, QUICK, job};

const DONE: usize = 40;
const WAITING: usize = 7;

#[tokio::test]
async fn metrics_and_sql_agree() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, other, reaper, worker) =
        tokio::join!(cluster.api(), cluster.api(), cluster.reaper(), cluster.worker("busy", 4));
    let mut jobs: Vec<_> = (0..DONE - 1).map(|n| job(QUICK, &format!("done-{n}"))).collect();
    let mut failing = job(FLAKY, "failing");
    failing["max_attempts"] = json!(1);
    jobs.push(failing);
    api.client.submit_all(&jobs).await;
    all_final(db.pool()).await;
    let waiting: Vec<_> = (0..WAITING)
        .map(|n| json!({ "kind": QUICK, "payload": format!("w-{n}"), "queue": "unserved" }))
        .collect();
    api.client.submit_all(&waiting).await;

    let queued: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE status='queued'")
        .fetch_one(db.pool())
        .await
        .unwrap();
    assert_eq!(queued, i64::try_from(WAITING).unwrap());

    let failure = [
        r#"job_created_total{queue="default"} 40"#,
        r#"job_completed_total{queue="default"} 39"#,
        r#"job_failed_total{queue="default"} 1"#,
        r#"worker_lease_acquired_total{queue="default"} 40"#,
        r#"job_queue_depth{queue="unserved"} 7"#,
        r#"job_queue_depth{queue="default"} 0"#,
    ];
    for replica in [&api.client, &other.client] {
        // the reaper counts the depths, in this test every half second
        eventually(LIMIT, "the metrics of the cluster, the same from every replica", async || {
            let page = replica.get("/metrics").await.text;
            let missing: Vec<_> = failure.iter().filter(|line| !page.lines().any(|l| l == **line)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} in\n{page}")) }
        })
        .await;
    }
    let pages: [(&str, &Client); 4] = [
        ("api", &api.client),
        ("api, admin port", &api.node.admin),
        ("worker", &worker.admin),
        ("reaper", &reaper.admin),
    ];
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("SKIPPED: promtool is not installed (Debian: apt-get install prometheus)");
        return;
    }
    for (name, client) in pages {
        accepted_by_promtool(name, &client.get("/metrics").await.text);
    }
}

fn accepted_by_promtool(name: &str, page: &str) {
    assert!(
        page.lines().filter(|line| !line.starts_with('#')).count() >= 5,
        "{name} has no metrics:\n{page}"
    );
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let verdict = promtool.wait_with_output().unwrap();
    let output =
        String::from_utf8_lossy(&verdict.stdout).into_owned() + &String::from_utf8_lossy(&verdict.stderr);
    assert!(verdict.status.success() && output.trim().is_empty(), "promtool on {name}: {output}\n{page}");
}
