//! lease: returns the right jobs in the right order, each to only one worker.

use std::collections::{BTreeSet, HashSet};

use jobqueue_core::{JobDraft, JobId, Outcome, QueueName, Status};
use jobqueue_store::{LeaseRequest, Leased, Settled};
use jobqueue_testkit::eventually;

use crate::bench::{Bench, DAY, MINUTE, delayed, draft, failed, json, request, start};

fn at(queue: &str, priority: i64) -> JobDraft {
    JobDraft { queue: Some(queue.into()), priority: Some(priority), ..draft() }
}

fn ids(leased: &[Leased]) -> Vec<JobId> {
    leased.iter().map(|leased| leased.job.id).collect()
}

#[tokio::test]
async fn jobs_are_ordered_by_queue_then_priority_then_age() {
    let bench = Bench::new().await;
    let mut expected = Vec::new();
    for (queue, priority) in [("b", 0), ("a", -5), ("b", 9), ("a", 100), ("a", -5), ("b", 9), ("c", 100)] {
        expected.push((queue, priority, bench.add(at(queue, priority)).await));
    }
    expected.retain(|(queue, ..)| *queue != "c");
    expected
        .sort_by_key(|(queue, priority, id)| (std::cmp::Reverse(*queue), std::cmp::Reverse(*priority), *id));
    let wanted = request(Some(bench.worker), &["b", "none", "a", "b"], 100);
    let leased = bench.store.lease(&wanted).await.unwrap();
    assert_eq!(ids(&leased), expected.iter().map(|(.., id)| *id).collect::<Vec<_>>());
    let in_both: BTreeSet<i64> = leased.iter().map(|leased| leased.lease.epoch()).collect();
    assert_eq!(in_both.len(), 4, "a grant holds jobs of one queue and priority");
}

#[tokio::test]
async fn old_jobs_are_leased_with_their_bodies() {
    let mut bench = Bench::new().await;
    let payload = |text: &str| JobDraft { payload: Some(json(text)), ..draft() };
    for text in ["[0]", "[1]", "[2]", "[3]"] {
        bench.add(payload(text)).await;
    }
    bench.execute("SELECT jobqueue.add_partitions((now() AT TIME ZONE 'UTC')::date, 10)").await;
    let opened = "SELECT sum(idx_scan)::bigint FROM pg_stat_user_tables
                  WHERE relname BETWEEN to_char((now() AT TIME ZONE 'UTC')::date + 5, '\"body_\"YYYYMMDD') AND 'body_9'";
    bench.pass(3 * DAY);

    let mut payloads = Vec::new();
    for way in 0..3 {
        let young = [bench.add(at("default", 1)).await, bench.add(at("default", 1)).await];
        assert_eq!(bench.lease_one().await.job.id, young[0], "now the process knows what is today");
        let before = bench.counted(opened).await;
        assert_eq!(bench.lease_one().await.job.id, young[1]);
        assert_eq!(bench.counted(opened).await, before, "other days are not opened");
        let leased = match way {
            0 => bench.lease(1).await,
            1 => bench.store.settle_and_lease(vec![], &bench.request(1)).await.unwrap().1,
            _ => bench
                .store
                .lease_shares(&bench.request(1), &[Some(bench.worker); 2])
                .await
                .unwrap()
                .into_iter()
                .flatten()
                .collect(),
        };
        payloads.extend(leased.into_iter().map(|leased| leased.job.payload.as_str().to_owned()));
    }
    assert_eq!(payloads, ["[0]", "[1]", "[2]", "[3]"]);
}

#[tokio::test]
async fn a_job_that_cannot_be_read_is_released_and_does_not_affect_the_others() {
    let mut bench = Bench::new().await;
    let old = bench.add(draft()).await;
    let day = format!("SELECT tableoid::regclass::text FROM jobqueue.body WHERE id = '{old}'");
    let day: String = sqlx::query_scalar(&day).fetch_one(&bench.pool).await.unwrap();
    bench.pass(3 * DAY);
    let young = [bench.add(at("default", 1)).await, bench.add(at("default", 1)).await];
    let first = bench.lease_one().await;
    assert_eq!(first.job.id, young[0], "now the process knows what is today");
    let holder = bench.db.hold(&format!("LOCK TABLE {day}")).await;
    let wanted = bench.request(2);
    let leasing = bench.store.lease(&wanted);
    let waits = "wait_event_type = 'Lock' AND query LIKE '-- store.bodies%'";
    let (leased, ()) = tokio::join!(leasing, async {
        eventually(MINUTE, "the second statement waits", async || match bench.db.sessions(waits).await {
            0 => Err("not yet"),
            _ => Ok(()),
        })
        .await;
        let cancel = format!("CASE WHEN {waits} THEN pg_cancel_backend(pid) ELSE false END");
        assert_eq!(bench.db.sessions(&cancel).await, 1);
    });
    assert_eq!(ids(&leased.unwrap()), [young[1]]);
    holder.rollback().await.unwrap();
    bench.pass(MINUTE);
    bench.store.promote_due(10).await.unwrap();
    let again = bench.lease_one().await;
    assert_eq!((again.job.id, again.job.attempt), (old, 1), "it lost no attempt");
}

#[tokio::test]
async fn more_jobs_than_fit_into_a_grant_become_several_grants_in_order() {
    let bench = Bench::new().await;
    let added = bench.add_many(150).await;
    let leased = bench.lease(140).await;
    assert_eq!(ids(&leased), added[..140]);
    let epochs: Vec<i64> = leased.iter().map(|leased| leased.lease.epoch()).collect();
    for (epoch, size) in [(epochs[0], 64), (epochs[64], 64), (epochs[139], 12)] {
        assert_eq!(epochs.iter().filter(|e| **e == epoch).count(), size);
    }
    assert_eq!(bench.count("SELECT count(*) FROM jobs WHERE status = 'running'").await, 140);
    assert_eq!(bench.count("SELECT sum(leased) FROM jobqueue.tally").await, 140);
    // every bit of a grant can be settled
    let ends = leased.into_iter().map(|leased| crate::bench::end(leased, Outcome::Completed(None))).collect();
    let settled = bench.store.settle(ends).await.unwrap();
    assert!(settled.iter().all(|s| *s == Settled::Applied(Status::Completed)));
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.lease").await, 0);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.lease_jobs").await, 0);
}

/// A grant holds up to 64 jobs, one bit each; every size has its own pattern.
#[tokio::test]
async fn every_size_of_a_grant_can_be_leased_and_settled() {
    let bench = Bench::new().await;
    for size in [1, 2, 31, 32, 33, 62, 63, 64, 65, 127, 128, 129] {
        bench.add_many(size).await;
        let leased = bench.lease(200).await;
        assert_eq!(leased.len(), size);
        let ends =
            leased.into_iter().map(|leased| crate::bench::end(leased, Outcome::Completed(None))).collect();
        let settled = bench.store.settle(ends).await.unwrap();
        assert!(settled.iter().all(|s| *s == Settled::Applied(Status::Completed)), "{size}");
        assert_eq!(bench.count("SELECT count(*) FROM jobqueue.lease").await, 0, "{size}");
    }
}

/// Workers with equal requests can share a call, but not a lease.
#[tokio::test]
async fn shares_are_filled_in_order_and_have_separate_leases() {
    let bench = Bench::new().await;
    for (limit, shares, jobs, sizes) in [
        (2, 4, 5, vec![2, 2, 1]),
        (1, 3, 3, vec![1, 1, 1]),
        (1, 2, 0, vec![]),
        (70, 3, 200, vec![70, 70, 60]),
        (600, 2, 1001, vec![600, 400]),
    ] {
        let mut added = Vec::new();
        for (queue, size) in [("a", jobs / 2), ("b", jobs - jobs / 2)] {
            for chunk in (0..size).collect::<Vec<_>>().chunks(500) {
                let drafts = chunk.iter().map(|_| at(queue, 0)).collect();
                added.extend(bench.submit(drafts).await.into_iter().map(crate::bench::created));
            }
        }
        let wanted = request(None, &["a", "b"], limit);
        let leased = bench.store.lease_shares(&wanted, &vec![None; shares]).await.unwrap();
        assert_eq!(leased.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        let all: Vec<JobId> = leased.iter().flat_map(|share| ids(share)).collect();
        assert_eq!(all, added[..all.len()]);
        let rights = |share: &Vec<Leased>| {
            share.iter().map(|leased| (leased.lease.epoch(), leased.lease.token())).collect::<HashSet<_>>()
        };
        let each: usize = leased.iter().map(|share| rights(share).len()).sum();
        assert_eq!(
            leased.iter().flat_map(rights).collect::<HashSet<_>>().len(),
            each,
            "the tokens are different"
        );
        // settling the jobs of one share does not change the others
        for share in leased {
            let ends =
                share.into_iter().map(|one| crate::bench::end(one, Outcome::Completed(None))).collect();
            let settled = bench.store.settle(ends).await.unwrap();
            assert!(settled.iter().all(|s| *s == Settled::Applied(Status::Completed)));
        }
        let rest = bench.store.lease(&request(None, &["a", "b"], 1000)).await.unwrap();
        assert_eq!(rest.len(), jobs - all.len());
    }
}

#[tokio::test]
async fn only_the_requested_kinds_are_leased() {
    let bench = Bench::new().await;
    let kind = |kind: &str| JobDraft { kind: kind.into(), ..draft() };
    let (a, _, c) = (bench.add(kind("a")).await, bench.add(kind("b")).await, bench.add(kind("c")).await);
    let request_of = |kinds: &[&str]| LeaseRequest {
        kinds: kinds.iter().map(|k| k.parse().unwrap()).collect(),
        ..bench.request(10)
    };
    assert_eq!(bench.store.lease(&request_of(&["unknown"])).await.unwrap().len(), 0);
    assert_eq!(ids(&bench.store.lease(&request_of(&["c", "a", "unknown"])).await.unwrap()), [a, c]);
}

#[tokio::test]
async fn a_paused_queue_returns_no_jobs_until_it_is_resumed() {
    let bench = Bench::new().await;
    let id = bench.add(draft()).await;
    bench.store.queues().pause(&QueueName::default()).await.unwrap();
    assert_eq!(bench.lease(10).await.len(), 0);
    assert_eq!(bench.status(id).await, Status::Queued);
    bench.store.queues().resume(&QueueName::default()).await.unwrap();
    assert_eq!(ids(&bench.lease(10).await), [id]);
}

#[tokio::test]
async fn a_lease_call_without_jobs_writes_nothing() {
    let bench = Bench::new().await;
    bench.add(delayed(60.0)).await;
    let before = bench.count("SELECT coalesce(last_value, 0) FROM jobqueue.lease_epoch").await;
    for queues in [&[][..], &["default"], &["never", "heard"]] {
        assert_eq!(bench.store.lease(&request(Some(bench.worker), queues, 10)).await.unwrap().len(), 0);
    }
    assert_eq!(bench.lease(0).await.len(), 0);
    assert_eq!(bench.count("SELECT last_value FROM jobqueue.lease_epoch").await, before);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.queue").await, 1, "a question makes no queue");
}

#[tokio::test]
async fn an_expired_job_is_cancelled_by_the_lease_call_without_an_attempt() {
    let mut bench = Bench::new().await;
    let expiring = JobDraft { expires_at: Some("2100-01-01T00:00:00Z".into()), ..draft() };
    let late = bench.add(expiring.clone()).await;
    let fine = bench.add(draft()).await;
    bench.pass(MINUTE * 60 * 24 * 366 * 80);
    assert_eq!(ids(&bench.lease(10).await), [fine]);
    let record = bench.record(late).await;
    assert_eq!((record.status, record.error.unwrap().kind.as_str()), (Status::Cancelled, "expired"));
    assert_eq!((record.job.attempt, record.started_at), (0, None), "its handler was never called");
    assert_eq!(bench.store.attempts(late).await.unwrap(), []);
}

#[tokio::test]
async fn the_wait_of_a_first_attempt_counts_from_its_start() {
    let mut bench = Bench::new().await;
    bench.add(draft()).await;
    bench.add(delayed(60.0)).await;
    bench.pass(3 * MINUTE);
    assert_eq!(bench.store.promote_due(10).await.unwrap().jobs, 1);
    let mut leased = bench.lease(10).await;
    let waits: Vec<u64> = leased.iter().map(|leased| leased.waited.unwrap().as_secs() / 60).collect();
    assert_eq!(waits, [3, 2]);
    bench.end(leased.remove(0), failed()).await;
    bench.pass(MINUTE);
    bench.store.promote_due(10).await.unwrap();
    assert_eq!(bench.lease_one().await.waited, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_workers_never_share_a_job() {
    let bench = Bench::new().await;
    let added: HashSet<JobId> = bench.add_many(1000).await.into_iter().collect();
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let (store, request) = (bench.store.clone(), bench.request(17));
            start(async move {
                let mut mine = Vec::new();
                loop {
                    let leased = store.lease(&request).await.unwrap();
                    if leased.is_empty() {
                        return mine;
                    }
                    mine.extend(ids(&leased));
                }
            })
        })
        .collect();
    let (mut leased, mut busy) = (Vec::new(), 0);
    for worker in workers {
        let mine = worker.await.unwrap();
        busy += usize::from(!mine.is_empty());
        leased.extend(mine);
    }
    assert!(busy > 1, "they worked at the same time");
    assert_eq!(leased.len(), 1000, "no job twice");
    assert_eq!(leased.into_iter().collect::<HashSet<_>>(), added);
}

#[tokio::test]
async fn a_corrupt_row_becomes_a_dead_letter_and_does_not_block_others() {
    let bench = Bench::new().await;
    let (bad, gone, odd) = (bench.add(draft()).await, bench.add(draft()).await, bench.add(draft()).await);
    bench.execute(&format!("UPDATE jobqueue.body SET max_attempts = -1 WHERE id = '{bad}'")).await;
    bench.execute(&format!("UPDATE jobqueue.body SET retry = '{{}}' WHERE id = '{odd}'")).await;
    bench.execute(&format!("DELETE FROM jobqueue.body WHERE id = '{gone}'")).await;
    let early = bench.add(draft()).await;
    bench.execute(&format!("UPDATE jobqueue.ready SET attempt = -5 WHERE job_id = '{early}'")).await;
    assert_eq!(ids(&bench.lease(10).await), [odd], "an unreadable policy is replaced by the default one");
    assert_eq!(
        bench
            .count("SELECT count(*) FROM jobqueue.outcome WHERE status = 6 AND detail->>'type' = 'corrupt'")
            .await,
        3
    );
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.lease").await, 1, "and nothing of them is left");
}
