//! Many schedules at once, and many reapers.

use futures_util::future::join_all;
use jobqueue_core::schedule::Fate;
use jobqueue_store::{Pooler, Store};

use super::minutely;
use crate::bench::{Bench, production, start};

/// Stores `count` schedules that were due a second ago.
async fn due(bench: &Bench, count: usize, overlap: &str) {
    let sql = format!(
        r"INSERT INTO jobqueue.schedule (name, spec, next_at, fires_at)
           SELECT 's' || n, json_build_object('interval_seconds', 3600, 'anchor', jobqueue.json_time(now() - interval '1 s'),
                            'overlap', '{overlap}', 'job', json_build_object('kind', 'noop', 'queue', 'q' || n % 7)),
                  now() - interval '1 s', now() - interval '1 s' FROM generate_series(1, {count}) n"
    );
    bench.execute(&sql).await;
}

#[tokio::test]
async fn ten_thousand_schedules_that_are_due_at_once_fire_once_each_in_few_statements() {
    let bench = Bench::new().await;
    due(&bench, 10_000, "allow").await;
    let store = production(&bench.db, Pooler::None, 4);
    let fire_all = async || {
        let (mut jobs, mut passes) = (0, 0);
        loop {
            let pass = store.fire_schedules(500).await.unwrap();
            (jobs, passes) = (jobs + pass.jobs, passes + 1);
            if !pass.more {
                return (jobs, passes);
            }
        }
    };
    // the last one finds nothing more
    assert_eq!(fire_all().await, (10_000, 21));
    let first =
        bench.count("SELECT count(*) FROM jobqueue.tick WHERE fate = 'fired' AND job_id IS NOT NULL").await;
    assert_eq!(
        (first, bench.count("SELECT count(DISTINCT job_id) FROM jobqueue.tick").await),
        (10_000, 10_000)
    );
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.ready").await, 10_000);
    let again = "UPDATE jobqueue.schedule SET next_at = next_at - interval '1 h', fires_at = now(); TRUNCATE jobqueue.tick";
    bench.execute(again).await;
    assert_eq!(fire_all().await, (10_000, 21));
    let transactions = bench.count("SELECT count(DISTINCT xmin::text) FROM jobqueue.tick").await;
    assert_eq!(transactions, 20, "a pass over 500 schedules is one transaction");
}

#[tokio::test]
async fn several_reapers_fire_each_tick_once() {
    for overlap in ["allow", "cancel_previous"] {
        let bench = Bench::new().await;
        due(&bench, 600, overlap).await;
        let reapers: Vec<_> =
            (0..4).map(|_| Store::from_pool(bench.db.pool_with_clock(&bench.clock))).collect();
        let passes = reapers.into_iter().map(|store| {
            start(async move {
                let mut jobs = 0;
                // a pass may find only what others have locked: repeat it after them
                for _ in 0..40 {
                    jobs += store.fire_schedules(100).await.unwrap().jobs;
                }
                jobs
            })
        });
        let jobs: Vec<u64> = join_all(passes).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(jobs.iter().sum::<u64>(), 600, "{jobs:?}");
        assert_eq!(bench.count("SELECT count(*) FROM jobqueue.tick").await, 600);
        assert_eq!(bench.count("SELECT count(*) FROM jobqueue.ready").await, 600);
        assert_eq!(bench.count("SELECT count(*) FROM jobqueue.schedule WHERE runs = 1").await, 600);
    }
}

#[tokio::test]
async fn an_idle_pass_writes_nothing() {
    let mut bench = Bench::new().await;
    bench.put("s", &minutely()).await;
    bench.fire_next("s").await;
    assert_eq!(bench.fates("s").await, [Fate::Fired]);
    let before =
        bench.counted("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables").await;
    for _ in 0..20 {
        assert_eq!(bench.fire().await.jobs, 0);
    }
    let after =
        bench.counted("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables").await;
    assert_eq!(before, after, "an idle pass writes nothing");
}
