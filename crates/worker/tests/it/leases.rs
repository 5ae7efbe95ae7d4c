//! Tests of leases that are lost or may be lost.

use std::time::Duration;

use jobqueue_core::{Ended, JobDraft, JobId, Status, WorkerId};
use jobqueue_store::{LeaseRequest, WorkerEntry};
use jobqueue_testkit::{Fault, FaultProxy, eventually};
use jobqueue_worker::{JobContext, StopReason};
use tokio::sync::mpsc;

use crate::bench::{AtWork, Bench, SOON, draft, fast, leases_may_be_lost, opened};

/// So long that no lease is lost because of missing heartbeats.
const HOUR: Duration = Duration::from_hours(1);

async fn worker_of(bench: &Bench, id: JobId) -> WorkerId {
    bench.reaches(id, Status::Running).await.worker_id.unwrap()
}

/// Reclaims the job of a worker, as the reaper does after missing heartbeats, but at once.
async fn reclaim_as_dead(bench: &Bench, id: JobId) -> Vec<JobId> {
    let worker = WorkerEntry {
        id: worker_of(bench, id).await,
        name: String::new(),
        queues: vec![],
        kinds: vec![],
        slots: 1,
        version: String::new(),
        host: "host".to_owned(),
        paused: false,
        stale_after: Duration::ZERO,
    };
    bench.store.register_worker(&worker).await.unwrap();
    bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs
}

#[tokio::test]
async fn a_reclaimed_job_is_stopped_and_its_late_result_changes_nothing() {
    let bench = Bench::new().await;
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let worker = bench.worker().handle("taken", move |context: JobContext, (): ()| {
        let sender = sender.clone();
        async move {
            if context.attempt() == 1 {
                sender.send(context.must_stop().await).unwrap();
            }
            Ok(context.attempt())
        }
    });
    let worker = worker.build().unwrap();
    let registry = worker.registry().clone();
    let worker = AtWork::run(worker);
    let id = bench.enqueue("taken", "null").await;
    worker.runs(1).await;
    assert_eq!(reclaim_as_dead(&bench, id).await, [id]);
    assert_eq!(tokio::time::timeout(SOON, reasons.recv()).await.unwrap(), Some(StopReason::LeaseLost));
    let record = bench.reaches(id, Status::Completed).await;
    assert_eq!(
        (record.job.attempt, record.result.unwrap().as_str()),
        (2, "2"),
        "the second attempt's result stands"
    );
    worker.drain().await;
    let stale =
        registry.gather().into_iter().find(|family| family.name() == "worker_settle_stale_total").unwrap();
    assert_eq!(
        stale.get_metric()[0].get_counter().get_value().to_string(),
        "1",
        "the first attempt's end was refused"
    );
}

#[test]
fn a_handler_that_blocks_the_runtime_does_not_block_the_heartbeat() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (tests, workers) = (runtime(), runtime());
    let bench = tests.block_on(Bench::new());
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(Some(blocked));
    // the only thread of this worker's runtime blocks
    let worker = bench.worker().stale_after(Duration::from_millis(800)).handle("blocks", move |_, (): ()| {
        let blocked = blocked.lock().unwrap().take().unwrap();
        async move { Ok(blocked.recv()?) }
    });
    let inside = workers.enter();
    let worker = worker.build().unwrap();
    drop(inside);
    let shutdown = jobqueue_worker::Shutdown::new();
    let working = workers.spawn(worker.run(shutdown.clone()));
    tests.block_on(async {
        let id = bench.enqueue("blocks", "null").await;
        bench.reaches(id, Status::Running).await;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let reclaimed = bench.store.reclaim(Duration::ZERO, 10).await.unwrap();
            assert!(reclaimed.jobs.is_empty(), "the worker was taken for dead");
        }
        release.send(()).unwrap();
        assert_eq!(bench.reaches(id, Status::Completed).await.job.attempt, 1);
        shutdown.begin();
        working.await.unwrap().unwrap();
    });
}

#[tokio::test]
async fn a_disconnected_worker_continues_until_the_database_reports_a_lost_lease() {
    let bench = Bench::new().await;
    let proxy = FaultProxy::before(bench.db.url()).await;
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let (started, mut running) = mpsc::unbounded_channel();
    let worker = fast(&proxy.through(bench.db.url())).stale_after(Duration::from_secs(1)).handle(
        "long",
        move |context: JobContext, (): ()| {
            let (sender, started) = (sender.clone(), started.clone());
            async move {
                if context.attempt() == 1 {
                    started.send(()).unwrap();
                    sender.send(context.must_stop().await).unwrap();
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        },
    );
    let worker = worker.build().unwrap();
    let readiness = worker.readiness();
    let worker = AtWork::run(worker);
    let id = bench.enqueue("long", "null").await;
    // the job must occupy a slot, so that the response of the lease call is not lost
    running.recv().await.unwrap();
    proxy.set(Fault::Cut);
    leases_may_be_lost(&readiness, &worker).await;
    assert_eq!(reclaim_as_dead(&bench, id).await, [id]);
    assert!(reasons.try_recv().is_err(), "the worker does not know yet");
    proxy.set(Fault::Pass);
    assert_eq!(tokio::time::timeout(SOON, reasons.recv()).await.unwrap(), Some(StopReason::LeaseLost));
    let record = bench.reaches(id, Status::Completed).await;
    assert_eq!(record.job.attempt, 2);
    assert_eq!(bench.attempts(id).await[0].ended, Ended::Lost);
    worker.drain().await;
}

#[tokio::test]
async fn leases_of_a_lost_response_expire() {
    let bench = Bench::new().await;
    let (release, held) = tokio::sync::watch::channel(false);
    let worker = bench.worker().stale_after(HOUR).handle("known", move |_, (): ()| opened(held.clone()));
    let worker = AtWork::start(worker);
    let known = bench.enqueue("known", "null").await;
    let holder = worker_of(&bench, known).await;
    let orphan = bench.submit(JobDraft { queue: Some("other".into()), ..draft("unknown", "null") }).await;
    let request = LeaseRequest {
        worker_id: Some(holder),
        queues: vec!["other".parse().unwrap()],
        kinds: vec![],
        limit: 1,
        duration: HOUR,
    };
    // committed, but the response does not reach the worker
    assert_eq!(bench.store.lease(&request).await.unwrap().len(), 1);
    eventually(SOON, "the orphan can be reclaimed", async || {
        let reclaimed = bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs;
        if reclaimed == [orphan] { Ok(()) } else { Err(reclaimed) }
    })
    .await;
    assert_eq!(bench.attempts(orphan).await[0].ended, Ended::Lost);
    let next = bench.enqueue("known", "null").await;
    assert_eq!(worker_of(&bench, next).await, holder, "the worker continues under its id");
    release.send(true).unwrap();
    for id in [known, next] {
        assert_eq!(bench.reaches(id, Status::Completed).await.job.attempt, 1, "it was not disturbed");
    }
    worker.drain().await;
}

/// Heartbeats that are answered faster than a lease call must not take its leases for lost ones.
#[tokio::test]
async fn a_lease_whose_reply_is_on_its_way_is_not_given_back() {
    let bench = Bench::new().await;
    let proxy = FaultProxy::before(bench.db.url()).await;
    let worker =
        fast(&proxy.through(bench.db.url())).stale_after(HOUR).handle("quick", async |_, (): ()| Ok(()));
    let worker = AtWork::start(worker);
    let first = bench.enqueue("quick", "null").await;
    bench.reaches(first, Status::Completed).await;
    // from here on, replies are late, so most heartbeats are carried out between the commit of a lease and its reply
    proxy.set(Fault::Delay(Duration::from_millis(100)));
    let beats = async || {
        bench.db.number("SELECT (extract(epoch FROM beat_at) * 1e6)::bigint FROM jobqueue.worker").await
    };
    for _ in 0..8 {
        // the call has its epoch, and cannot commit
        let lock = bench.db.hold("LOCK TABLE jobqueue.lease_jobs IN SHARE MODE").await;
        let id = bench.enqueue("quick", "null").await;
        eventually(SOON, "the lease call waits", async || {
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'jobqueue.lease_jobs'::regclass";
            if bench.db.number(waiting).await > 0 { Ok(()) } else { Err(()) }
        })
        .await;
        for _ in 0..2 {
            let before = beats().await;
            eventually(SOON, "a heartbeat", async || if beats().await > before { Ok(()) } else { Err(()) })
                .await;
        }
        lock.commit().await.unwrap();
        eventually(SOON, "the job is completed", async || {
            assert_eq!(bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs, []);
            match bench.status(id).await {
                Status::Completed => Ok(()),
                status => Err(status),
            }
        })
        .await;
        assert_eq!(bench.job(id).await.attempt, 1);
    }
    worker.drain().await;
}
