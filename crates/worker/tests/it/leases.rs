//! What happens when a lease is lost, or may be.

use std::time::Duration;

use jobqueue_core::{Ended, JobDraft, JobId, Status, WorkerId};
use jobqueue_store::{LeaseRequest, WorkerEntry};
use jobqueue_testkit::{Fault, FaultProxy, eventually};
use jobqueue_worker::{JobContext, StopReason};
use tokio::sync::mpsc;

use crate::bench::{AtWork, Bench, SOON, draft, fast, opened, untrusted};

/// So long that a silent worker is never the reason.
const HOUR: Duration = Duration::from_hours(1);

async fn worker_of(bench: &Bench, id: JobId) -> WorkerId {
    bench.reaches(id, Status::Running).await.worker_id.unwrap()
}

/// What the reaper does with a worker that was silent for too long; here, for no time at all.
async fn take_for_dead(bench: &Bench, id: JobId) -> Vec<JobId> {
    let worker = WorkerEntry {
        id: worker_of(bench, id).await,
        name: String::new(),
        queues: vec![],
        slots: 1,
        version: String::new(),
        stale_after: Duration::ZERO,
    };
    bench.store.register_worker(&worker).await.unwrap();
    bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs
}

#[tokio::test]
async fn a_job_that_was_taken_away_is_stopped_and_its_late_result_changes_nothing() {
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
    assert_eq!(take_for_dead(&bench, id).await, [id]);
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
fn a_handler_that_blocks_the_runtime_cannot_starve_the_heartbeat() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (tests, workers) = (runtime(), runtime());
    let bench = tests.block_on(Bench::new());
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(Some(blocked));
    // the only thread of this worker's runtime will block
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
async fn a_worker_that_nobody_hears_goes_on_until_the_database_says_that_the_lease_is_gone() {
    let bench = Bench::new().await;
    let proxy = FaultProxy::before(bench.db.url()).await;
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let (telling, mut running) = mpsc::unbounded_channel();
    let worker = fast(&proxy.through(bench.db.url())).stale_after(Duration::from_secs(1)).handle(
        "long",
        move |context: JobContext, (): ()| {
            let (sender, telling) = (sender.clone(), telling.clone());
            async move {
                if context.attempt() == 1 {
                    telling.send(()).unwrap();
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
    // leased is not enough: the answer that says so must not be cut off
    running.recv().await.unwrap();
    proxy.set(Fault::Cut);
    untrusted(&readiness, &worker).await;
    assert_eq!(take_for_dead(&bench, id).await, [id]);
    assert!(reasons.try_recv().is_err(), "nobody has told the worker");
    proxy.set(Fault::Pass);
    assert_eq!(tokio::time::timeout(SOON, reasons.recv()).await.unwrap(), Some(StopReason::LeaseLost));
    let record = bench.reaches(id, Status::Completed).await;
    assert_eq!(record.job.attempt, 2);
    assert_eq!(bench.attempts(id).await[0].ended, Ended::Lost);
    worker.drain().await;
}

#[tokio::test]
async fn jobs_that_were_leased_in_a_lost_answer_are_let_go() {
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
    // committed, but the worker never hears of it
    assert_eq!(bench.store.lease(&request).await.unwrap().len(), 1);
    // new leases are under another name as soon as the worker noticed
    eventually(SOON, "a new identity", async || {
        let id = bench.enqueue("known", "null").await;
        let worker_id = worker_of(&bench, id).await;
        if worker_id == holder { Err(worker_id) } else { Ok(()) }
    })
    .await;
    assert!(
        bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs.is_empty(),
        "the known job still runs"
    );
    release.send(true).unwrap();
    bench.reaches(known, Status::Completed).await;
    eventually(SOON, "the orphan can be reclaimed", async || {
        let reclaimed = bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs;
        if reclaimed == [orphan] { Ok(()) } else { Err(reclaimed) }
    })
    .await;
    worker.drain().await;
}
