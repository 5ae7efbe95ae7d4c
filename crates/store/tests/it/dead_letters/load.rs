//! Many dead letters: 20,000, or the number in the variable, as for the figures of the page:
//!
//! `JOBQUEUE_TEST_DEAD_LETTERS=1000000 cargo test -p jobqueue-store --test it -- --nocapture many_dead_letters`

use std::time::{Duration, Instant};

use jobqueue_store::{DeadLetterFilter, GroupFilter, GroupOrder, Store};

use crate::bench::Bench;

fn number() -> u64 {
    std::env::var("JOBQUEUE_TEST_DEAD_LETTERS").map_or(20_000, |text| text.parse().unwrap())
}

/// The large group has nine of ten dead letters. One in 500 is the first of another group.
fn fill(number: u64) -> String {
    let different = number / 50;
    format!(
        r#"SELECT jobqueue.lane_id('default', 0::smallint), jobqueue.kind_id('noop');
         CREATE TEMP TABLE fill AS SELECT n, jobqueue.new_id() AS id, now() - n * interval '1 s' AS at FROM generate_series(1, {number}) n;
         INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload, tags) SELECT id, 1, 1, 10, '{{"to": "ada@example.com"}}', '{{a}}' FROM fill;
         INSERT INTO jobqueue.outcome (job_id, status, attempt, finished_at, detail)
           SELECT id, 6, 1, at, json_build_object('type', 'http_503', 'message',
                  CASE WHEN n % 10 = 0 THEN 'upstream ' || translate((n % {different})::text, '0123456789', 'abcdefghij') ELSE 'user ' || n END || ' failed')
           FROM fill;
         INSERT INTO jobqueue.tally (queue_id, created, failed) VALUES (1, {number}, {number})"#
    )
}

async fn timed<T>(what: &str, call: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let result = call.await;
    println!("{what:60} {:8.1} ms", began.elapsed().as_secs_f64() * 1000.0);
    result
}

async fn reads(store: &Store, of: &str) {
    let letters = store.dead_letters();
    let any = GroupFilter::default;
    let (groups, _) = timed(
        &format!("{of}: 50 groups, the largest first"),
        letters.groups(&any(), GroupOrder::Count, None, 50),
    )
    .await
    .unwrap();
    let every = any();
    let latest = letters.groups(&every, GroupOrder::LastFailedAt, None, 50);
    timed(&format!("{of}: 50 groups, the newest failure first"), latest).await.unwrap();
    let queue = GroupFilter { queue: Some("default".parse().unwrap()), ..any() };
    timed(&format!("{of}: 50 groups of a queue"), letters.groups(&queue, GroupOrder::Count, None, 50))
        .await
        .unwrap();
    let large = groups[0].fingerprint;
    assert_eq!(groups[0].count, number() / 10 * 9, "{groups:?}");
    timed(&format!("{of}: one group with examples"), letters.group(large)).await.unwrap().unwrap();
    let filter = DeadLetterFilter { group: Some(large), ..DeadLetterFilter::default() };
    timed(&format!("{of}: 50 dead letters of a group"), letters.list(&filter, None, 50)).await.unwrap();
    timed(&format!("{of}: 50 dead letters"), letters.list(&DeadLetterFilter::default(), None, 50))
        .await
        .unwrap();
    let count =
        timed(&format!("{of}: count of a group, for a redrive"), letters.count(&filter)).await.unwrap();
    assert_eq!(count, Some(groups[0].count));
    let rare = DeadLetterFilter { text: Some("upstream baa ".to_owned()), ..DeadLetterFilter::default() };
    let rare = timed(&format!("{of}: 50 dead letters by text"), letters.list(&rare, None, 50)).await;
    println!("  {:?}", rare.map(|(letters, more)| (letters.len(), more)).map_err(|error| error.to_string()));
}

#[tokio::test]
async fn many_dead_letters_are_grouped_and_counted() {
    let bench = Bench::new().await;
    timed("the failed jobs are inserted", bench.execute(&fill(number()))).await;
    timed("they become dead letters (a pass of the reaper)", async {
        while bench.store.upkeep().compare_dead_letters().await.unwrap().1 {}
    })
    .await;
    timed("they are counted", async { while bench.store.upkeep().count_dead_letters().await.unwrap() {} })
        .await;
    for of in ["without statistics", "again"] {
        reads(&bench.store, of).await;
    }
    bench.execute("ANALYZE").await;
    reads(&bench.store, "with statistics").await;
    let mut clock = Duration::ZERO;
    for of in ["a purge of 1,000", "a purge of 1,000 more"] {
        let ids = bench.store.dead_letters().find(&DeadLetterFilter::default(), 1000).await.unwrap();
        let began = Instant::now();
        timed(of, bench.store.dead_letters().purge(&ids)).await.unwrap();
        clock += began.elapsed();
    }
    println!("mean of a purge of 1,000: {:.1} ms", clock.as_secs_f64() * 500.0);
}
