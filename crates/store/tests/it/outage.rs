//! reclaim during outages of the database, with the clock of the test. The times are minutes, because the real time of
//! the test also counts.

use std::time::Duration;

use jobqueue_core::{JobId, WorkerId};
use jobqueue_store::{HeldLeases, LeaseRequest, Reclaimed, WorkerEntry, WorkerState};
use uuid::Uuid;

use crate::bench::{Bench, DAY, MINUTE, draft, entry, request};

/// The stale time of all workers, and the hold-off.
const STALE_AFTER: Duration = Duration::from_mins(30);

async fn reap(bench: &Bench) -> Reclaimed {
    bench.store.reclaim(STALE_AFTER, 100).await.unwrap()
}

/// Registers a worker.
async fn worker(bench: &Bench, number: u128) -> WorkerId {
    let id = WorkerId::from_uuid(Uuid::from_u128(number));
    bench.store.register_worker(&WorkerEntry { stale_after: STALE_AFTER, ..entry(id) }).await.unwrap();
    id
}

async fn lease(bench: &Bench, worker: Option<WorkerId>, duration: Duration) -> JobId {
    let id = bench.add(draft()).await;
    let leased = bench.store.lease(&LeaseRequest { duration, ..request(worker, &["default"], 1) }).await;
    assert_eq!(leased.unwrap().len(), 1);
    id
}

/// A bench whose default worker (with a shorter stale time) is stopped, and whose reaper has run.
async fn quiet_bench() -> Bench {
    let bench = Bench::new().await;
    bench.store.unregister_worker(bench.worker).await.unwrap();
    assert_eq!(reap(&bench).await, Reclaimed::default(), "the first look is no news");
    bench
}

/// Advances the clock by this many minutes and runs the reaper each minute; returns when something is reclaimed.
async fn reap_for(bench: &mut Bench, minutes: u32) -> Option<(u32, Vec<JobId>)> {
    for minute in 1..=minutes {
        bench.pass(MINUTE);
        let reclaimed = reap(bench).await;
        assert_eq!(reclaimed.outage, None);
        if !reclaimed.jobs.is_empty() {
            return Some((minute, reclaimed.jobs));
        }
    }
    None
}

#[tokio::test]
async fn after_an_outage_every_worker_has_the_whole_stale_time_again() {
    let mut bench = quiet_bench().await;
    let dead = worker(&bench, 11).await;
    let orphan = lease(&bench, Some(dead), DAY).await;
    let remote = lease(&bench, None, 31 * MINUTE).await;
    assert_eq!(reap_for(&mut bench, 20).await, None);
    bench.pass(60 * MINUTE);
    let outage = reap(&bench).await.outage.expect("the database was not reached for an hour");
    assert_eq!(
        (outage.ended_at - outage.began_at).num_minutes(),
        55,
        "the look before answers for 5 minutes"
    );
    assert_eq!(reap_for(&mut bench, 4).await, None);
    // the lease had 6 minutes left when the outage began
    assert_eq!(reap_for(&mut bench, 4).await.expect("it runs out").1, [remote]);
    assert_eq!(reap_for(&mut bench, 20).await, None);
    assert_eq!(reap_for(&mut bench, 5).await.expect("it is dead").1, [orphan]);
}

#[tokio::test]
async fn repeated_outages_do_not_hold_off_forever() {
    let mut bench = quiet_bench().await;
    let dead = worker(&bench, 11).await;
    let orphan = lease(&bench, Some(dead), DAY).await;
    for cycle in 0..10 {
        bench.pass(20 * MINUTE);
        let Reclaimed { mut jobs, outage, .. } = reap(&bench).await;
        assert!(outage.is_some());
        if jobs.is_empty() {
            jobs = reap_for(&mut bench, 10).await.map(|(_, jobs)| jobs).unwrap_or_default();
        }
        if !jobs.is_empty() {
            assert_eq!(jobs, [orphan]);
            // each cycle has 10 minutes, and 5 minutes that one run of the reaper covers
            assert!((2..=3).contains(&cycle), "reclaimed in cycle {cycle}");
            return;
        }
    }
    panic!("never reclaimed");
}

#[tokio::test]
async fn the_heartbeats_of_another_worker_prove_that_the_database_was_up() {
    for proof in [true, false] {
        let mut bench = quiet_bench().await;
        let (dead, alive) = (worker(&bench, 11).await, worker(&bench, 12).await);
        let orphan = lease(&bench, Some(dead), DAY).await;
        let beats = async |bench: &mut Bench, times| {
            for _ in 0..times {
                bench.pass(9 * MINUTE);
                bench
                    .store
                    .heartbeat(alive, DAY, &WorkerState::default(), &HeldLeases::default())
                    .await
                    .unwrap();
            }
        };
        beats(&mut bench, 2).await;
        if !proof {
            // the other worker was also disconnected, and its heartbeat arrives just before the reaper runs
            bench.pass(13 * MINUTE);
        }
        beats(&mut bench, 2).await;
        let reclaimed = reap(&bench).await;
        assert_eq!(reclaimed.outage.is_some(), !proof);
        assert_eq!(reclaimed.jobs, if proof { vec![orphan] } else { vec![] }, "proof: {proof}");
    }
}

#[tokio::test]
async fn two_reapers_record_an_outage_once() {
    let mut bench = quiet_bench().await;
    bench.pass(60 * MINUTE);
    let runs = tokio::join!(reap(&bench), reap(&bench), reap(&bench));
    let logged = [runs.0, runs.1, runs.2].iter().filter(|looked| looked.outage.is_some()).count();
    assert_eq!(logged, 1);
    // the first run of all also records one
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.outage").await, 2);
}

#[tokio::test]
async fn a_run_of_the_reaper_leaves_no_dead_row() {
    let mut bench = quiet_bench().await;
    for _ in 0..300 {
        bench.pass(MINUTE);
        reap(&bench).await;
    }
    let pages = bench.count("SELECT pg_relation_size('jobqueue.watch') / 8192").await;
    assert!(pages <= 3, "{pages} pages for one row");
    let hot = "SELECT n_tup_hot_upd * 100 / greatest(n_tup_upd, 1) FROM pg_stat_user_tables WHERE relname = 'watch'";
    assert!(bench.counted(hot).await >= 80);
}
