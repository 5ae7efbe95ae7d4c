//! Tests with 10,000 queues and 10,000 kinds.

use std::collections::HashSet;
use std::time::Duration;

use jobqueue_core::{KindName, QueueName};
use jobqueue_store::{Census, Pooler};
use jobqueue_testkit::many_queues;

use crate::bench::{Bench, production, request};

/// How many queues the metrics name in these tests.
const NAMED: u32 = 20;

fn named(census: &Census) -> HashSet<&str> {
    census.queues.iter().filter(|queue| queue.named).map(|queue| queue.queue.as_str()).collect()
}

#[tokio::test]
async fn ten_thousand_queues_are_counted_and_listed() {
    let bench = Bench::new().await;
    bench.execute(&many_queues(10_000)).await;
    for pooler in [Pooler::None, Pooler::Transaction] {
        let store = production(&bench.db, pooler, 4);
        assert!(store.take_census(NAMED).await.unwrap());
        let census = store.census().await.unwrap();
        let sum = |of: fn(&jobqueue_store::QueueCensus) -> u64| census.queues.iter().map(of).sum::<u64>();
        assert_eq!((census.queues.len(), named(&census).len()), (10_000, 20));
        assert_eq!((sum(|q| q.created), sum(|q| q.queued), sum(|q| q.scheduled)), (30_000, 20_000, 10_000));
        assert!(census.queues.iter().all(|queue| queue.oldest_at.is_some() && queue.taken_at.is_some()));
        let others = census.others.as_ref().unwrap();
        assert_eq!((others.queue.as_str(), others.queued, others.created), ("_other", 19_960, 29_940));
        let (mut seen, mut after) = (HashSet::new(), None::<QueueName>);
        loop {
            let page = store.queues().list(after.as_ref(), 999).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            for queue in page {
                assert_eq!((queue.queued, queue.scheduled, queue.running), (2, 1, 0));
                assert!(seen.insert(queue.name));
            }
        }
        assert_eq!(seen.len(), 10_000);
    }
}

/// A new name must not make a process read all the others.
#[tokio::test]
async fn a_worker_reads_only_the_names_of_its_jobs() {
    let bench = Bench::new().await;
    bench.execute(&many_queues(2_000)).await;
    let store = production(&bench.db, Pooler::None, 4);
    let kinds =
        "SELECT sum(seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables WHERE relname = 'kind'";
    let before = bench.counted(kinds).await;
    for n in 1..=10 {
        let leased = store.lease(&request(None, &[&format!("queue-{n}")], 10)).await.unwrap();
        let kind: KindName = format!("kind-{n}").parse().unwrap();
        assert!(leased.len() == 2 && leased.iter().all(|one| one.job.kind == kind));
    }
    store.close().await;
    bench.end_sessions().await;
    assert_eq!(bench.counted(kinds).await - before, 10);
}

/// The set of named queues is stored and changes only when another queue is much more active, and no counter decreases.
#[tokio::test]
async fn the_most_active_queues_are_named_and_the_totals_of_the_others_never_decrease() {
    let bench = Bench::new().await;
    bench.execute(&many_queues(10)).await;
    assert!(bench.store.take_census(3).await.unwrap());
    let census = bench.store.census().await.unwrap();
    assert_eq!(named(&census), HashSet::from(["queue-1", "queue-2", "queue-3"]));
    let work = |queue: u32, jobs: u32| {
        format!(
            "INSERT INTO jobqueue.ready SELECT jobqueue.new_id(), {queue}, 1, 0 FROM generate_series(1, {jobs});
             INSERT INTO jobqueue.tally (queue_id, created) VALUES ({queue}, {jobs})"
        )
    };
    let mut last = census.others.unwrap().created;
    assert_eq!(last, 21);
    for (queue, jobs, expected) in [
        (9, 1, ["queue-1", "queue-2", "queue-3"]),
        (9, 50, ["queue-1", "queue-2", "queue-9"]),
        (2, 500, ["queue-1", "queue-2", "queue-9"]),
        (8, 600, ["queue-2", "queue-8", "queue-9"]),
    ] {
        bench.execute(&work(queue, jobs)).await;
        assert!(bench.store.take_census(3).await.unwrap());
        let (census, other) = (
            bench.store.census().await.unwrap(),
            production(&bench.db, Pooler::None, 4).census().await.unwrap(),
        );
        assert_eq!(named(&census), HashSet::from(expected), "after {jobs} for {queue}");
        assert_eq!(named(&census), named(&other), "every reader names the same");
        let others = census.others.unwrap().created;
        assert!(others >= last, "{others} after {last}");
        last = others;
    }
    // the first job of queue 9 was counted before the queue was named; later ones are counted under its name
    assert_eq!(last, 22);
}

/// For an unused queue the census writes nothing.
#[tokio::test]
async fn idle_queues_are_not_written_again() {
    let bench = Bench::new().await;
    bench.execute(&many_queues(100)).await;
    bench.execute("DELETE FROM jobqueue.ready WHERE lane > 50").await;
    for _ in 0..2 {
        assert!(bench.store.take_census(NAMED).await.unwrap());
    }
    let written = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'census'";
    let before = bench.counted(written).await;
    bench.clock.advance(Duration::from_secs(5));
    assert!(bench.store.take_census(NAMED).await.unwrap());
    assert_eq!(bench.counted(written).await, before);
    let census = bench.store.census().await.unwrap();
    assert!(census.queues.iter().all(|queue| queue.taken_at.is_some_and(|at| at <= queue.now)));
    let age = census.queues[0].now - census.queues[0].taken_at.unwrap();
    assert!(age < chrono::TimeDelta::seconds(5), "all depths are of the last census: {age}");
}
