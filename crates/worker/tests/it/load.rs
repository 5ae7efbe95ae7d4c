//! Tests with many jobs: each runs once, few round trips are needed, and a worker leases only what it can start.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobqueue_core::{JobId, Status};
use jobqueue_store::Notifier;
use jobqueue_testkit::eventually;
use jobqueue_worker::JobContext;
use prometheus::Registry;
use tokio::sync::watch;

use crate::bench::{AtWork, Bench, SOON, draft, enqueue, fast, opened};

/// The number of samples of a histogram.
fn samples(registry: &Registry, histogram: &str) -> u64 {
    let family = registry.gather().into_iter().find(|family| family.name() == histogram).unwrap();
    family.get_metric()[0].get_histogram().get_sample_count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_jobs_runs_once_with_shared_round_trips() {
    const JOBS: usize = 2000;
    let bench = Bench::new().await;
    let runs: Arc<Mutex<HashMap<JobId, u32>>> = Arc::default();
    let ids = enqueue(&bench.store, (0..JOBS).map(|_| draft("count", "null")).collect()).await;
    let counting = |runs: Arc<Mutex<HashMap<JobId, u32>>>| {
        move |context: JobContext, (): ()| {
            *runs.lock().unwrap().entry(context.id()).or_default() += 1;
            async { Ok(()) }
        }
    };
    let one = bench.worker().batch_size(100).handle("count", counting(runs.clone())).build().unwrap();
    let registry = one.registry().clone();
    let workers = [
        AtWork::run(one),
        AtWork::start(bench.worker().batch_size(100).handle("count", counting(runs.clone()))),
    ];
    for id in &ids {
        bench.reaches(*id, Status::Completed).await;
    }
    for worker in workers {
        worker.drain().await;
    }
    let runs = runs.lock().unwrap();
    assert_eq!(runs.len(), JOBS);
    assert!(runs.values().all(|count| *count == 1));
    let (calls, jobs) =
        (samples(&registry, "worker_lease_seconds"), samples(&registry, "job_duration_seconds"));
    // polls of the idle worker during the check of the jobs also count
    assert!(jobs == 0 || calls < jobs / 2 + 500, "{calls} calls for {jobs} jobs");
}

#[tokio::test]
async fn slow_jobs_are_not_leased_until_a_slot_is_free() {
    let bench = Bench::new().await;
    let (release, gate) = watch::channel(false);
    let hold = move || {
        let gate = gate.clone();
        move |_: JobContext, (): ()| opened(gate.clone())
    };
    let ids = enqueue(&bench.store, (0..7).map(|_| draft("gate", "null")).collect()).await;
    let running = async |many: usize| {
        eventually(SOON, &format!("{many} run"), async || {
            let records = bench.store.jobs_by_id(&ids).await.unwrap();
            let count = records.iter().filter(|record| record.status == Status::Running).count();
            if count == many { Ok(()) } else { Err(count) }
        })
        .await;
    };
    let first = AtWork::start(bench.worker().slots(2).batch_size(10).handle("gate", hold()));
    running(2).await;
    // enough time for a worker to lease more, if it did
    tokio::time::sleep(Duration::from_millis(200)).await;
    running(2).await;
    let second = AtWork::start(bench.worker().slots(3).batch_size(10).handle("gate", hold()));
    running(5).await;
    release.send(true).unwrap();
    for id in &ids {
        bench.reaches(*id, Status::Completed).await;
    }
    first.drain().await;
    second.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_for_a_row_does_not_delay_the_others() {
    let bench = Bench::new().await;
    let ids = enqueue(&bench.store, (0..1000).map(|_| draft("gate", "null")).collect()).await;
    let (release, gate) = watch::channel(false);
    let worker = bench.worker().slots(100).batch_size(100);
    let worker = AtWork::start(worker.handle("gate", move |_, (): ()| opened(gate.clone())));
    let at_least = async |least: i64, sql: &str| {
        eventually(SOON, sql, async || match bench.db.number(sql).await {
            count if count >= least => Ok(()),
            fewer => Err(fewer),
        })
        .await;
    };
    at_least(2, "SELECT count(*) FROM jobqueue.lease").await;
    let holder = bench.db.hold("SELECT FROM jobqueue.lease ORDER BY epoch LIMIT 1 FOR UPDATE").await;
    release.send(true).unwrap();
    at_least(500, "SELECT count(*) FROM jobs WHERE status = 'completed'").await;
    let stuck = bench.db.sessions("wait_event_type = 'Lock'").await;
    assert_eq!(stuck, 1, "only the first call still waits");
    holder.rollback().await.unwrap();
    for id in &ids {
        bench.reaches(*id, Status::Completed).await;
        assert_eq!(bench.job(*id).await.attempt, 1);
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_notification_starts_a_job_before_the_next_poll() {
    let bench = Bench::new().await;
    let never = Duration::from_hours(1);
    let worker = fast(bench.db.url()).poll_interval(never).handle("woken", async |_, (): ()| Ok(()));
    let worker = AtWork::start(worker);
    let (notifier, sending) = Notifier::new(&bench.store);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(sending);
    let id = bench.enqueue("woken", "null").await;
    // only the first poll could find a job without a notification, so there are two jobs
    let again = bench.enqueue("woken", "null").await;
    eventually(SOON, "both have run", async || {
        notifier.wake(&"default".parse().unwrap());
        let both = [bench.status(id).await, bench.status(again).await];
        if both == [Status::Completed; 2] { Ok(()) } else { Err(both) }
    })
    .await;
    let third = bench.enqueue("woken", "null").await;
    notifier.wake(&"default".parse().unwrap());
    bench.reaches(third, Status::Completed).await;
    worker.drain().await;
}

#[tokio::test]
async fn polls_adapt_to_jobs_without_notifications() {
    let bench = Bench::new().await;
    let worker = bench.worker().slots(500).batch_size(500).poll_interval(Duration::from_secs(1));
    let worker = AtWork::start(worker.handle("quiet", async |_, (): ()| Ok(())));
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(bench.enqueue("quiet", "null").await);
        // the worker has to adapt to the pause between submissions
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for id in &ids {
        bench.reaches(*id, Status::Completed).await;
    }
    let leases = bench.db.number("SELECT count(DISTINCT epoch) FROM jobqueue.outcome").await;
    // with one poll per second it would take five seconds
    assert!(leases >= 20, "{leases} leases");
    worker.drain().await;
}

#[tokio::test]
async fn every_queue_is_served_when_orders_are_random_by_weight() {
    let bench = Bench::new().await;
    let mut drafts = Vec::new();
    for queue in ["heavy", "light"] {
        drafts.extend(
            (0..200).map(|_| jobqueue_core::JobDraft { queue: Some(queue.into()), ..draft("note", "null") }),
        );
    }
    enqueue(&bench.store, drafts).await;
    let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
    let worker = bench.worker().queues(["heavy=9", "light=1"]).slots(1).batch_size(1);
    let worker = worker.handle("note", move |context: JobContext, (): ()| {
        sender.send(context.queue().to_string()).unwrap();
        async { Ok(()) }
    });
    let worker = AtWork::start(worker);
    let mut seen = Vec::new();
    for _ in 0..200 {
        seen.push(tokio::time::timeout(SOON, order.recv()).await.unwrap().unwrap());
    }
    let light = seen.iter().filter(|queue| *queue == "light").count();
    // 20 of 200 are expected; below 1 or above 60 is more than seven standard deviations, or the weights have no effect
    assert!((1..60).contains(&light), "{light} of 200 came from the light queue");
    worker.drain().await;
}

#[tokio::test]
async fn an_idle_worker_polls_once_and_waits() {
    let bench = Bench::new().await;
    let worker =
        bench.worker().poll_interval(Duration::from_hours(1)).handle("noop", async |_, (): ()| Ok(()));
    let worker = worker.build().unwrap();
    let registry = worker.registry().clone();
    let calls = || samples(&registry, "worker_lease_seconds");
    let worker = AtWork::run(worker);
    eventually(SOON, "the first look", async || if calls() > 0 { Ok(()) } else { Err(()) }).await;
    // time must pass, because the test checks what does not happen: many heartbeats and one notification for the new
    // listener, but no poll
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(calls() <= 3, "{} calls", calls());
    worker.drain().await;
}

#[tokio::test]
async fn many_notifications_cause_few_polls_and_the_last_one_counts() {
    let bench = Bench::new().await;
    let worker =
        bench.worker().poll_interval(Duration::from_hours(1)).handle("noop", async |_, (): ()| Ok(()));
    let worker = worker.build().unwrap();
    let (registry, waker) = (worker.registry().clone(), worker.waker());
    let calls = || samples(&registry, "worker_lease_seconds");
    let worker = AtWork::run(worker);
    eventually(SOON, "the first look", async || if calls() > 0 { Ok(()) } else { Err(()) }).await;
    let (began, before) = (std::time::Instant::now(), calls());
    for _ in 0..300 {
        waker.wake();
        // spreads the notifications over many of the intervals in which one poll is allowed
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // at most one poll per 5 ms of the real duration, and the one for the new listener
    let most = began.elapsed().as_millis() / 5 + 2;
    let polls = calls() - before;
    assert!((1..=most).contains(&u128::from(polls)), "{polls} polls, at most {most}");
    let id = bench.enqueue("noop", "null").await;
    // the job arrives in the pause after the last poll, or it is polled for at once
    waker.wake();
    bench.reaches(id, Status::Completed).await;
    worker.drain().await;
}
