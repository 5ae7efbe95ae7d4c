//! The low-water mark on a real Postgres: dead index entries that a snapshot keeps cost a busy worker almost nothing,
//! and jobs that return behind the mark are found.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::{JobDraft, Outcome, Status};
use jobqueue_store::{Leased, Settled};
use jobqueue_testkit::eventually;

use crate::bench::{Bench, boom, end};

/// Enough jobs for a process to count as busy.
const MANY: usize = 15_000;
/// Maximum number of jobs per call.
const BATCH: usize = 1000;

/// Number of lease calls that are measured.
const LEASE_CALLS: usize = 30;

/// Enqueues and completes this many jobs.
async fn churn(bench: &Bench, jobs: usize) {
    for _ in 0..jobs / BATCH {
        bench.add_many(BATCH).await;
        complete(bench, bench.lease(BATCH).await).await;
    }
}

async fn complete(bench: &Bench, leased: Vec<Leased>) {
    let ends: Vec<_> = leased.into_iter().map(|one| end(one, Outcome::Completed(None))).collect();
    let settled = bench.store.settle(ends).await.unwrap();
    assert!(settled.iter().all(|settled| *settled == Settled::Applied(Status::Completed)));
}

/// The number of index entries that scans of `ready` have read so far, dead or alive, as Postgres counts them.
async fn entries_read(bench: &Bench) -> i64 {
    bench.counted("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'ready_pkey'").await
}

#[tokio::test]
async fn dead_entries_are_not_scanned_while_a_snapshot_is_held() {
    let bench = Bench::new().await;
    let mut pin = bench.db.pool().begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    sqlx::query("SELECT count(*) FROM jobs").execute(&mut *pin).await.unwrap();
    // the number of scans from the front depends on time, so the measurement is repeated if the machine was slow
    let mut met = Vec::new();
    for round in 1..=10 {
        churn(&bench, MANY).await;
        met.push(entries_read_by_leases(&bench).await);
        // without the mark, every scan reads the entries of all jobs so far
        let half = i64::try_from(round * MANY * LEASE_CALLS / 2).unwrap();
        if met.last().is_some_and(|met| (1..half).contains(met)) {
            return pin.rollback().await.unwrap();
        }
    }
    panic!("{LEASE_CALLS} lease calls after each {MANY} jobs read {met:?} entries");
}

/// The number of entries that the measured lease calls read, after the mark has passed the dead entries.
async fn entries_read_by_leases(bench: &Bench) -> i64 {
    let mark = bench.add(crate::bench::draft()).await.created_at().unwrap();
    eventually(Duration::from_secs(20), "the jobs to come are clearly younger", async || {
        let made = bench.add(crate::bench::draft()).await.created_at().unwrap();
        if (made - mark).num_milliseconds() > 300 { Ok(()) } else { Err(made) }
    })
    .await;
    complete(bench, bench.lease(BATCH).await).await;

    bench.add_many(LEASE_CALLS).await;
    let before = entries_read(bench).await;
    for _ in 0..LEASE_CALLS {
        complete(bench, bench.lease(1).await).await;
    }
    entries_read(bench).await - before
}

#[tokio::test]
async fn a_census_with_many_dead_entries_at_the_front_skips_them() {
    let mut bench = Bench::new().await;
    let mut pin = bench.db.pool().begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    sqlx::query("SELECT count(*) FROM jobs").execute(&mut *pin).await.unwrap();
    let old = bench.add(crate::bench::draft()).await;
    let held = bench.lease_one().await;
    churn(&bench, MANY).await;
    bench.pass(Duration::from_mins(1));
    // without statistics, the planner assumes that the index has one page
    sqlx::raw_sql("ANALYZE jobqueue.ready").execute(bench.db.pool()).await.unwrap();
    let waiting = bench.add_many(3).await[0];
    let other = bench.add(JobDraft { queue: Some("other".into()), ..crate::bench::draft() }).await;

    let before = entries_read(&bench).await;
    // a scan from the front, which takes long because this lock makes it wait
    let holder = bench.db.hold("LOCK TABLE jobqueue.attempt").await;
    let (counted, ()) = tokio::join!(bench.store.take_census(200), async {
        is_late(&bench, "store.census.front").await;
        holder.rollback().await.unwrap();
    });
    assert!(counted.unwrap());
    let walked = entries_read(&bench).await;
    assert!(walked - before > 10_000, "it looked from the front");
    assert_eq!(oldest(&bench).await, [waiting.created_at(), other.created_at()]);
    assert!(bench.store.take_census(200).await.unwrap());
    let met = entries_read(&bench).await - walked;
    assert!(met < 100, "{met}");
    assert_eq!(oldest(&bench).await, [waiting.created_at(), other.created_at()]);

    assert_eq!(bench.end(held, Outcome::Released).await, Settled::Applied(Status::Queued));
    assert!(bench.store.take_census(200).await.unwrap());
    let all = [old.created_at(), other.created_at()];
    assert_eq!(oldest(&bench).await, all, "it was put back behind all others");

    let holder = bench.db.hold("LOCK TABLE jobqueue.attempt").await;
    let (counted, leased) = tokio::join!(bench.store.take_census(200), async {
        is_late(&bench, "store.census.front").await;
        let leased = bench.lease_one().await;
        holder.rollback().await.unwrap();
        leased
    });
    assert!(counted.unwrap());
    assert_eq!((leased.job.id, oldest(&bench).await), (old, all.into()), "as it was when it was counted");

    let failed = Outcome::Failed { failure: boom(), retry_after: Some(Duration::ZERO) };
    assert_eq!(bench.end(leased, failed).await, Settled::Applied(Status::Scheduled));
    bench.pass(Duration::from_mins(1));
    bench.store.promote_due(10).await.unwrap();
    assert!(bench.store.take_census(200).await.unwrap());
    let without = [waiting.created_at(), other.created_at()];
    assert_eq!(oldest(&bench).await, without, "a job that has just returned does not hide the others");
    pin.rollback().await.unwrap();
}

/// The time since which the oldest job of each queue has waited.
async fn oldest(bench: &Bench) -> Vec<Option<DateTime<Utc>>> {
    bench.store.census().await.unwrap().queues.iter().map(|queue| queue.oldest_at).collect()
}

/// Waits until a statement has waited for a lock for long, because the duration of the scan is what matters.
async fn is_late(bench: &Bench, statement: &str) {
    let waiting = format!(
        "wait_event_type = 'Lock' AND query LIKE '-- {statement}%' AND clock_timestamp() - query_start > interval '300 ms'"
    );
    eventually(Duration::from_secs(20), "the look takes long", async || {
        match bench.db.sessions(&waiting).await {
            0 => Err("not yet"),
            _ => Ok(()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_that_returned_behind_the_mark_is_found_while_the_queue_is_full() {
    let bench = Bench::new().await;
    let old = bench.add(crate::bench::draft()).await;
    let held = bench.lease_one().await;
    assert_eq!(held.job.id, old);
    is_found(&bench, held).await;
}

#[tokio::test]
async fn a_job_that_returned_is_found_in_steps_if_a_scan_from_the_front_takes_long() {
    let bench = Bench::new().await;
    bench.add_many(2).await;
    let held = bench.lease_one().await;
    // this scan waits, so all later ones go in steps
    let holder = bench.db.hold("LOCK TABLE jobqueue.ready").await;
    let (slow, ()) = tokio::join!(bench.lease_one(), async {
        is_late(&bench, "store.lease").await;
        holder.rollback().await.unwrap();
    });
    complete(&bench, vec![slow]).await;
    is_found(&bench, held).await;
    // also in an empty queue, by one or a few calls
    let held = bench.lease(BATCH).await.pop().unwrap();
    let old = held.job.id;
    while !bench.lease(BATCH).await.is_empty() {}
    assert_eq!(bench.end(held, Outcome::Released).await, Settled::Applied(Status::Queued));
    let found =
        eventually(Duration::from_secs(20), "it is found", async || match bench.lease(1).await.pop() {
            Some(one) => Ok(one.job.id),
            None => Err("nothing yet"),
        })
        .await;
    assert_eq!(found, old);
}

/// Fails unless a released job is found among thousands of new ones.
async fn is_found(bench: &Bench, held: Leased) {
    let old = held.job.id;
    churn(bench, MANY).await;
    assert_eq!(bench.end(held, Outcome::Released).await, Settled::Applied(Status::Queued));
    for _ in 0..500 {
        bench.add_many(100).await;
        let leased = bench.lease(50).await;
        assert_eq!(leased.len(), 50);
        if leased.iter().any(|one| one.job.id == old) {
            return;
        }
    }
    panic!("25,000 younger jobs were leased before it");
}
