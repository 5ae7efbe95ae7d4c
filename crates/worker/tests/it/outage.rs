//! The database becomes unreachable and reachable again; no process is restarted.

use std::time::Duration;

use jobqueue_core::{JobDraft, Status};
use jobqueue_runtime::admin::ReadinessStatus as Readiness;
use jobqueue_store::Store;
use jobqueue_testkit::{TestServer, eventually};
use jobqueue_worker::{HandlerError, JobContext};
use tokio::sync::watch;

use crate::bench::{AtWork, SOON, draft, enqueue, fast, leases_may_be_lost, options, reaches};

#[tokio::test]
async fn results_are_kept_until_the_database_is_reachable_and_readiness_reports_it() {
    let server = TestServer::durable().await;
    let store = Store::connect_lazy(&options(server.url())).unwrap();
    let (release, held) = watch::channel(false);
    let worker = fast(server.url()).stale_after(Duration::from_mins(1)).handle("held", move |_, (): ()| {
        let mut held = held.clone();
        async move {
            held.wait_for(|go| *go).await?;
            Ok("kept")
        }
    });
    let worker = worker.build().unwrap();
    let readiness = worker.readiness();
    let worker = AtWork::run(worker);
    let ids = enqueue(&store, (0..3).map(|_| draft("held", "null")).collect()).await;
    worker.runs(3).await;
    assert_eq!(readiness.report(&worker.shutdown).await.status, Readiness::Ready);
    server.stop_immediate().await;
    release.send(true).unwrap();
    eventually(SOON, "not ready", async || {
        let report = readiness.report(&worker.shutdown).await;
        let loop_fails = report.checks.iter().any(|check| check.name == "lease_loop" && !check.ok);
        if loop_fails { Ok(()) } else { Err(report) }
    })
    .await;
    server.start().await;
    for id in &ids {
        let record = reaches(&store, *id, Status::Completed).await;
        assert_eq!((record.job.attempt, record.result.unwrap().as_str()), (1, "\"kept\""));
    }
    eventually(SOON, "ready again", async || {
        let report = readiness.report(&worker.shutdown).await;
        if report.status == Readiness::Ready { Ok(()) } else { Err(report) }
    })
    .await;
    let after = enqueue(&store, vec![draft("held", "null")]).await[0];
    reaches(&store, after, Status::Completed).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_failover_longer_than_the_stale_time_costs_running_jobs_no_attempt() {
    let server = TestServer::durable().await;
    let store = Store::connect_lazy(&options(server.url())).unwrap();
    let (release, held) = watch::channel(false);
    let worker = fast(server.url()).stale_after(Duration::from_secs(1)).handle(
        "long",
        move |context: JobContext, (): ()| {
            let mut held = held.clone();
            async move {
                tokio::select! {
                    reason = context.must_stop() => Err(HandlerError::discard("stopped", format!("{reason:?}"))),
                    _ = held.wait_for(|go| *go) => Ok("done"),
                }
            }
        },
    );
    let worker = worker.build().unwrap();
    let readiness = worker.readiness();
    let worker = AtWork::run(worker);
    let last_chance = JobDraft { max_attempts: Some(1), ..draft("long", "null") };
    let id = enqueue(&store, vec![last_chance]).await[0];
    worker.runs(1).await;
    server.stop_immediate().await;
    leases_may_be_lost(&readiness, &worker).await;
    server.start().await;
    eventually(SOON, "ready again", async || {
        let report = readiness.report(&worker.shutdown).await;
        if report.status == Readiness::Ready { Ok(()) } else { Err(report) }
    })
    .await;
    release.send(true).unwrap();
    let record = reaches(&store, id, Status::Completed).await;
    assert_eq!((record.job.attempt, record.result.unwrap().as_str()), (1, "\"done\""));
    worker.drain().await;
}
