//! The low-water mark on a real Postgres: dead entries that a held snapshot keeps cost a busy worker next to nothing, and
//! what was put back behind the mark is found.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::{JobDraft, Outcome, Status};
use jobqueue_store::{Leased, Settled};
use jobqueue_testkit::eventually;

use crate::bench::{Bench, boom, end};

/// Enough for a process to count as busy.
const MANY: usize = 15_000;
/// Most jobs of one call.
const BATCH: usize = 1000;

/// Looks that are counted.
const LOOKS: usize = 30;

/// Enqueues and completes so many jobs.
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

/// Entries that looks for work have met so far, dead or alive, as Postgres counts them.
async fn entries_met(bench: &Bench) -> i64 {
    bench.counted("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'ready_pkey'").await
}

#[tokio::test]
async fn dead_entries_are_not_walked_while_a_snapshot_is_held() {
    let bench = Bench::new().await;
    let mut pin = bench.db.pool().begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    sqlx::query("SELECT count(*) FROM jobs").execute(&mut *pin).await.unwrap();
    // Looks from the front are bounded in time: on a machine that stood still there are more of them, so it may try again.
    let mut met = Vec::new();
    for round in 1..=10 {
        churn(&bench, MANY).await;
        met.push(met_by_looks(&bench).await);
        // without the mark every look meets every job that ever was
        let half = i64::try_from(round * MANY * LOOKS / 2).unwrap();
        if met.last().is_some_and(|met| (1..half).contains(met)) {
            return pin.rollback().await.unwrap();
        }
    }
    panic!("{LOOKS} looks after each {MANY} jobs met {met:?} entries");
}

/// What so many looks of one job each meet, once the mark has left the dead behind.
async fn met_by_looks(bench: &Bench) -> i64 {
    let mark = bench.add(crate::bench::draft()).await.created_at().unwrap();
    eventually(Duration::from_secs(20), "the jobs to come are clearly younger", async || {
        let made = bench.add(crate::bench::draft()).await.created_at().unwrap();
        if (made - mark).num_milliseconds() > 300 { Ok(()) } else { Err(made) }
    })
    .await;
    complete(bench, bench.lease(BATCH).await).await;

    bench.add_many(LOOKS).await;
    let before = entries_met(bench).await;
    for _ in 0..LOOKS {
        complete(bench, bench.lease(1).await).await;
    }
    entries_met(bench).await - before
}

#[tokio::test]
async fn a_census_that_met_many_dead_at_the_front_counts_its_way_past_them() {
    let mut bench = Bench::new().await;
    let mut pin = bench.db.pool().begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    sqlx::query("SELECT count(*) FROM jobs").execute(&mut *pin).await.unwrap();
    let old = bench.add(crate::bench::draft()).await;
    let held = bench.lease_one().await;
    churn(&bench, MANY).await;
    bench.pass(Duration::from_mins(1));
    // to a planner that saw nothing here the whole index looks like one page
    sqlx::raw_sql("ANALYZE jobqueue.ready").execute(bench.db.pool()).await.unwrap();
    let waiting = bench.add_many(3).await[0];
    let other = bench.add(JobDraft { queue: Some("other".into()), ..crate::bench::draft() }).await;

    let before = entries_met(&bench).await;
    // a look from the front, which takes long because this one waits
    let holder = bench.db.hold("LOCK TABLE jobqueue.attempt").await;
    let (counted, ()) = tokio::join!(bench.store.take_census(), async {
        is_late(&bench, "store.census.front").await;
        holder.rollback().await.unwrap();
    });
    assert!(counted.unwrap());
    let walked = entries_met(&bench).await;
    assert!(walked - before > 10_000, "it looked from the front");
    assert_eq!(oldest(&bench).await, [waiting.created_at(), other.created_at()]);
    assert!(bench.store.take_census().await.unwrap());
    let met = entries_met(&bench).await - walked;
    assert!(met < 100, "{met}");
    assert_eq!(oldest(&bench).await, [waiting.created_at(), other.created_at()]);

    assert_eq!(bench.end(held, Outcome::Released).await, Settled::Applied(Status::Queued));
    assert!(bench.store.take_census().await.unwrap());
    let all = [old.created_at(), other.created_at()];
    assert_eq!(oldest(&bench).await, all, "it was put back behind all others");

    let holder = bench.db.hold("LOCK TABLE jobqueue.attempt").await;
    let (counted, leased) = tokio::join!(bench.store.take_census(), async {
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
    assert!(bench.store.take_census().await.unwrap());
    let without = [waiting.created_at(), other.created_at()];
    assert_eq!(oldest(&bench).await, without, "one that has just been put back hides nobody");
    pin.rollback().await.unwrap();
}

/// Since when the oldest job of each queue waits.
async fn oldest(bench: &Bench) -> Vec<Option<DateTime<Utc>>> {
    bench.store.census().await.unwrap().queues.iter().map(|queue| queue.oldest_at).collect()
}

/// Waits until a statement has waited for a lock for long. It is the length of the look that counts.
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
async fn a_job_that_was_put_back_behind_the_mark_is_found_while_the_queue_is_full() {
    let bench = Bench::new().await;
    let old = bench.add(crate::bench::draft()).await;
    let held = bench.lease_one().await;
    assert_eq!(held.job.id, old);
    is_found(&bench, held).await;
}

#[tokio::test]
async fn a_job_that_was_put_back_is_found_step_by_step_where_a_look_from_the_front_takes_long() {
    let bench = Bench::new().await;
    bench.add_many(2).await;
    let held = bench.lease_one().await;
    // this one waits, so all later ones go in steps
    let holder = bench.db.hold("LOCK TABLE jobqueue.ready").await;
    let (slow, ()) = tokio::join!(bench.lease_one(), async {
        is_late(&bench, "store.lease").await;
        holder.rollback().await.unwrap();
    });
    complete(&bench, vec![slow]).await;
    is_found(&bench, held).await;
    // and in an empty queue, by one call or a few
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

/// Fails unless a job that is given back is found among thousands that come meanwhile.
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
