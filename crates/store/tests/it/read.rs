//! The readers: a job, its attempts and events, lists of jobs, the census, and queues.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jobqueue_core::{JobDraft, JobId, Outcome, QueueName, Status};
use jobqueue_store::{AttemptEnd, JobFilter, Leased, QueueSettings, Store};
use uuid::Uuid;

use crate::bench::{Bench, DAY, MINUTE, boom, copy, delayed, draft, end, failed, request};

/// Creates two jobs in each status, with different queues, kinds and tags.
async fn jobs_in_every_status(bench: &Bench) -> Vec<(JobId, Status, JobDraft)> {
    let mut jobs_in_every_status = Vec::new();
    for (queue, kind, tags) in
        [("a", "x", vec!["red".to_owned()]), ("b", "y", vec!["red".to_owned(), "blue".to_owned()])]
    {
        let draft = |priority| JobDraft {
            queue: Some(queue.into()),
            kind: kind.into(),
            tags: Some(tags.clone()),
            priority: Some(priority),
            ..JobDraft::default()
        };
        for (outcome, status) in [
            (Outcome::Completed(None), Status::Completed),
            (Outcome::Discarded(boom()), Status::Failed),
            (Outcome::Cancelled, Status::Cancelled),
        ] {
            let id = bench.add(draft(100)).await;
            let leased =
                bench.store.lease(&request(Some(bench.worker), &[queue], 1)).await.unwrap().pop().unwrap();
            bench.end(leased, outcome).await;
            jobs_in_every_status.push((id, status, draft(100)));
        }
        jobs_in_every_status.push((bench.add(draft(9)).await, Status::Running, draft(9)));
        assert_eq!(bench.store.lease(&request(Some(bench.worker), &[queue], 1)).await.unwrap().len(), 1);
        jobs_in_every_status.push((bench.add(draft(0)).await, Status::Queued, draft(0)));
        let later = JobDraft { delay_seconds: Some(60.0), ..draft(0) };
        jobs_in_every_status.push((bench.add(later).await, Status::Scheduled, draft(0)));
    }
    jobs_in_every_status
}

async fn found(store: &Store, filter: &JobFilter) -> HashSet<JobId> {
    store.find(filter, None, 100).await.unwrap().ids.into_iter().collect()
}

#[tokio::test]
async fn each_filter_finds_the_matching_jobs() {
    let bench = Bench::new().await;
    let jobs_in_every_status = jobs_in_every_status(&bench).await;
    let all = JobFilter::default();
    let of = |keep: &dyn Fn(&(JobId, Status, JobDraft)) -> bool| {
        jobs_in_every_status.iter().filter(|one| keep(one)).map(|one| one.0).collect::<HashSet<_>>()
    };
    assert_eq!(found(&bench.store, &all).await, of(&|_| true));
    for status in Status::ALL {
        let filter = JobFilter { statuses: vec![status], ..all.clone() };
        assert_eq!(found(&bench.store, &filter).await, of(&|one| one.1 == status), "{status}");
        let page = bench.store.list(&filter, None, 100).await.unwrap();
        assert!(page.jobs.iter().all(|record| record.status == status), "{status}");
        let both = JobFilter {
            queues: vec!["b".parse().unwrap()],
            tags: vec!["blue".into(), "red".into()],
            ..filter
        };
        assert_eq!(
            found(&bench.store, &both).await,
            of(&|one| one.1 == status && one.2.kind == "y"),
            "{status}"
        );
    }
    let some = JobFilter { statuses: vec![Status::Failed, Status::Queued, Status::Running], ..all.clone() };
    assert_eq!(found(&bench.store, &some).await, of(&|one| some.statuses.contains(&one.1)));
    let queues = JobFilter { queues: vec!["a".parse().unwrap(), "none".parse().unwrap()], ..all.clone() };
    assert_eq!(found(&bench.store, &queues).await, of(&|one| one.2.kind == "x"));
    let kinds = JobFilter { kinds: vec!["y".parse().unwrap()], ..all.clone() };
    assert_eq!(found(&bench.store, &kinds).await, of(&|one| one.2.kind == "y"));
    let tags = JobFilter { tags: vec!["blue".into()], ..all.clone() };
    assert_eq!(found(&bench.store, &tags).await, of(&|one| one.2.kind == "y"));
    for filter in [
        JobFilter { tags: vec!["green".into()], ..all.clone() },
        JobFilter { kinds: vec!["none".parse().unwrap()], ..all.clone() },
    ] {
        assert_eq!(found(&bench.store, &filter).await, HashSet::new());
    }
}

#[tokio::test]
async fn timestamps_filter_by_submission() {
    let mut bench = Bench::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(bench.add(draft()).await);
        bench.pass(DAY);
    }
    let middle = ids[1].created_at();
    let after = JobFilter { created_after: middle, ..JobFilter::default() };
    assert_eq!(bench.store.find(&after, None, 9).await.unwrap().ids, [ids[2], ids[1]]);
    let before = JobFilter { created_before: middle, statuses: vec![Status::Queued], ..JobFilter::default() };
    assert_eq!(bench.store.find(&before, None, 9).await.unwrap().ids, ids[..1]);
}

#[tokio::test]
async fn paging_has_no_gaps_and_no_repetitions() {
    let bench = Bench::new().await;
    for _ in 0..3 {
        jobs_in_every_status(&bench).await;
        bench.lease(1000).await;
    }
    for statuses in [vec![], vec![Status::Queued, Status::Failed, Status::Running, Status::Scheduled]] {
        let filter = JobFilter { statuses, ..JobFilter::default() };
        let whole = bench.store.find(&filter, None, 1000).await.unwrap().ids;
        assert!(whole.len() > 20 && whole.is_sorted_by(|a, b| a > b), "newest first");
        for size in [1, 4, 7, 1000] {
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let page = bench.store.list(&filter, after, size).await.unwrap();
                paged.extend(page.jobs.into_iter().map(|record| record.job.id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(paged, whole, "{size}");
        }
    }
}

#[tokio::test]
async fn many_jobs_are_read_in_the_given_order_without_unknown_ones() {
    let bench = Bench::new().await;
    let ids = bench.add_many(3).await;
    let ids_in_order = [ids[2], JobId::from_ticks(1 << 50, 0), ids[0]];
    let read: Vec<JobId> = bench
        .store
        .jobs_by_id(&ids_in_order)
        .await
        .unwrap()
        .into_iter()
        .map(|record| record.job.id)
        .collect();
    assert_eq!(read, [ids[2], ids[0]]);
    assert_eq!(bench.store.job(JobId::from_ticks(1 << 50, 0)).await.unwrap(), None);
    assert_eq!(bench.store.events(JobId::from_ticks(1 << 50, 0)).await.unwrap(), None);
}

#[tokio::test]
async fn a_running_job_has_its_worker() {
    let bench = Bench::new().await;
    let ids = bench.add_many(2).await;
    let leased = bench.lease(2).await;
    let record = bench.record(ids[1]).await;
    assert_eq!(
        (record.status, record.worker_id, record.job.attempt),
        (Status::Running, Some(bench.worker), 1)
    );
    let lasts = record.lease_expires_at.unwrap() - record.started_at.unwrap();
    assert_eq!(lasts.to_std().unwrap(), 5 * MINUTE);
    let twice = [copy(&leased[1].lease), copy(&leased[0].lease)];
    let jobs = bench.store.leased_jobs(&twice).await.unwrap().into_iter();
    let jobs: Vec<_> = jobs.map(|held| held.map(|held| held.job)).collect();
    assert_eq!(jobs, [Some(leased[1].job.clone()), Some(leased[0].job.clone())]);
}

#[tokio::test]
async fn events_contain_every_transition() {
    let mut bench = Bench::new().await;
    let id = bench.add(delayed(60.0)).await;
    for (at, outcome) in [failed(), Outcome::Released, Outcome::Discarded(boom())].into_iter().enumerate() {
        bench.pass(2 * MINUTE);
        bench.store.promote_due(10).await.unwrap();
        let leased = bench.lease_one().await;
        assert_eq!(leased.job.attempt, [1, 2, 2][at]);
        bench.end(leased, outcome).await;
    }
    bench.store.jobs().retry(&[id]).await.unwrap();
    bench.store.jobs().cancel(&[id], &boom()).await.unwrap();
    let events = bench.store.events(id).await.unwrap().unwrap();
    let names: Vec<(&str, Option<u16>)> =
        events.iter().map(|event| (event.event.as_str(), event.attempt)).collect();
    let expected = [
        ("created", None),
        ("started", Some(1)),
        ("retried", Some(1)),
        ("started", Some(2)),
        ("released", Some(2)),
        ("started", Some(2)),
        ("failed", Some(2)),
        ("cancelled", None),
    ];
    assert_eq!(names, expected);
    assert!(events.is_sorted_by_key(|event| event.at));
    assert_eq!(events[2].error, Some(boom()));
    let done = bench.done(draft()).await;
    let events = bench.store.events(done).await.unwrap().unwrap();
    let names: Vec<&str> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["created", "started", "completed"]);
}

#[tokio::test]
async fn only_final_or_unknown_jobs_are_not_live() {
    let bench = Bench::new().await;
    let (done, dead) = (bench.done(draft()).await, bench.dead(draft()).await);
    let running = bench.add(draft()).await;
    bench.lease_one().await;
    let waiting = [bench.add(draft()).await, bench.add(delayed(60.0)).await];
    let unknown = JobId::from_uuid(Uuid::from_u128(7));
    let ids = [waiting[0], done, running, unknown, waiting[1], dead];
    let mut ended = bench.store.not_live(&ids).await.unwrap();
    let mut expected = [done, unknown, dead];
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected);
}

#[tokio::test]
async fn the_census_counts_and_the_tallies_are_summed() {
    let bench = Bench::new().await;
    let jobs_in_every_status = jobs_in_every_status(&bench).await;
    bench.store.queues().purge(&"b".parse().unwrap(), None, 1).await.unwrap();
    let before = bench.store.census().await.unwrap();
    assert_eq!((before.queues.len(), before.workers, before.queues[0].taken_at), (2, 1, None));
    for folded in [false, true] {
        if folded {
            assert!(bench.store.take_census(200).await.unwrap());
            assert_eq!(bench.count("SELECT count(*) FROM jobqueue.tally").await, 0);
        }
        let census = bench.store.census().await.unwrap();
        for (queue, pruned) in census.queues.iter().zip([0, 1]) {
            assert_eq!(
                (queue.created, queue.completed, queue.failed, queue.cancelled),
                (6, 1, 1, 1),
                "{queue:?}"
            );
            assert_eq!(
                (queue.leased, queue.retried, queue.lost, queue.pruned),
                (4, 0, 0, pruned),
                "{queue:?}"
            );
            if folded {
                assert_eq!((queue.scheduled, queue.queued + pruned, queue.running), (1, 1, 1), "{queue:?}");
                assert_eq!(queue.taken_at, Some(queue.taken_at.unwrap().min(queue.now)));
                assert_eq!(queue.oldest_at.is_some(), queue.queued > 0);
            }
        }
    }
    let oldest = jobs_in_every_status.iter().find(|one| one.1 == Status::Queued).unwrap().0.created_at();
    assert_eq!(bench.store.census().await.unwrap().queues[0].oldest_at, oldest);
    bench.add(JobDraft { queue: Some("a".into()), ..draft() }).await;
    bench.store.take_census(200).await.unwrap();
    assert_eq!(bench.store.census().await.unwrap().queues[0].created, 7);
}

/// The arrival rate and the run time are moving averages: one minute counts 1 − 1/e.
#[tokio::test]
async fn the_census_has_averages_per_second() {
    let bench = Bench::new().await;
    bench.add_many(1000).await;
    let since = Instant::now();
    bench.store.take_census(200).await.unwrap();
    let usual = async || bench.store.census().await.unwrap().queues[0].clone();
    let begin = usual().await;
    assert_eq!((begin.arrivals_per_second, begin.mean_run), (0.0, None), "since when is not known");
    assert_eq!(begin.slots, Some(4.0));

    bench.add_many(120).await;
    let ran = |one| AttemptEnd { ran: Some(Duration::from_secs(3)), ..end(one, Outcome::Completed(None)) };
    let leased = bench.lease(60).await;
    let remote = bench.lease(2).await;
    bench.clock.advance(Duration::from_secs(10));
    bench.store.settle(leased.into_iter().map(ran).collect()).await.unwrap();
    bench.clock.advance(Duration::from_secs(50));
    let started = bench.lease(3).await;
    bench.clock.advance(Duration::from_secs(6));
    // without a measured run time, the time from the lease counts; lost attempts and those that were not started do not
    // count
    let mut ends: Vec<AttemptEnd> =
        remote.into_iter().map(|one| end(one, Outcome::Completed(None))).collect();
    let [retried, lost, released] = <[Leased; 3]>::try_from(started).unwrap();
    ends.extend([end(retried, failed()), end(lost, Outcome::LeaseLost), end(released, Outcome::Released)]);
    bench.store.settle(ends).await.unwrap();
    bench.store.take_census(200).await.unwrap();
    let now = usual().await;
    // the real time also passes
    let passed = 66.0..=66.0 + since.elapsed().as_secs_f64();
    // 120 new jobs, and two that were requeued; the retried job is scheduled
    let arrivals = |seconds: &f64| (1.0 - (-seconds / 60.0).exp()) * 122.0 / seconds;
    let within = |found: f64, bounds: [f64; 2]| {
        assert!(bounds[0] - 0.01 < found && found < bounds[1] + 0.01, "{found} within {bounds:?}");
    };
    within(now.arrivals_per_second, [arrivals(passed.end()), arrivals(passed.start())]);
    assert_eq!(now.attempts, 63);
    let run = |seconds: &f64| 60.0 * 3.0 + 2.0 * seconds + seconds - 60.0;
    within(now.run.as_secs_f64(), [run(passed.start()), run(passed.end())]);
    let mean = now.mean_run.unwrap().as_secs_f64();
    let close = |found: f64, expected: f64| within(found, [expected, expected]);
    close(mean, now.run.as_secs_f64() / 63.0);
    assert_eq!((now.slots, now.paused), (None, false), "the worker is silent");

    // days later, and with numbers whose product Postgres would reject
    for smallest in [false, true] {
        if smallest {
            bench
                .execute("UPDATE jobqueue.census SET arrivals = 5e-324, attempts = 5e-324, run_ms = 5e-324")
                .await;
        }
        for span in [10 * MINUTE, 2 * DAY, MINUTE] {
            bench.clock.advance(span);
            bench.store.take_census(200).await.unwrap();
        }
        close(usual().await.arrivals_per_second, 0.0);
        let still = usual().await.mean_run.unwrap().as_secs_f64();
        close(still, if smallest { 0.001 } else { mean });
    }
}

#[tokio::test]
async fn of_two_concurrent_censuses_one_counts() {
    let bench = Bench::new().await;
    let mut other = bench.pool.begin().await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(x'6a710002'::bigint)").execute(&mut *other).await.unwrap();
    assert!(!bench.store.take_census(200).await.unwrap());
    other.rollback().await.unwrap();
    assert!(bench.store.take_census(200).await.unwrap());
}

#[tokio::test]
async fn queues_are_paused_configured_and_purged() {
    let bench = Bench::new().await;
    let jobs_in_every_status = jobs_in_every_status(&bench).await;
    let (a, new): (QueueName, QueueName) = ("a".parse().unwrap(), "new".parse().unwrap());
    bench.store.queues().pause(&a).await.unwrap();
    let since = bench.store.queues().get(&a).await.unwrap().unwrap().paused_at;
    bench.store.queues().pause(&a).await.unwrap();
    assert_eq!(bench.store.queues().get(&a).await.unwrap().unwrap().paused_at, since);
    let set = |completed, failed| QueueSettings {
        completed_retention: completed,
        failed_retention: failed,
        max_queued: None,
    };
    assert!(!bench.store.queues().configure(&new, set(None, None)).await.unwrap());
    assert!(!bench.store.queues().pause(&new).await.unwrap());
    bench.store.queues().create(&new).await.unwrap();
    bench.store.queues().configure(&new, set(Some(Some(DAY)), Some(Some(2 * DAY)))).await.unwrap();
    bench.store.queues().configure(&new, set(None, Some(None))).await.unwrap();
    let queues = bench.store.queues().list(None, 20_000).await.unwrap();
    assert_eq!(queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["a", "b", "new"]);
    assert_eq!((queues[0].scheduled, queues[0].queued, queues[0].running), (1, 1, 1));
    assert_eq!((queues[2].completed_retention, queues[2].failed_retention), (Some(DAY), None));
    assert_eq!(bench.store.queues().get(&"none".parse().unwrap()).await.unwrap(), None);
    assert_eq!(bench.store.queues().purge(&a, None, 1).await.unwrap(), 1);
    assert_eq!(bench.store.queues().purge(&a, None, 100).await.unwrap(), 1);
    assert_eq!(bench.store.queues().purge(&a, None, 100).await.unwrap(), 0);
    for (id, status, draft) in jobs_in_every_status {
        let waits = matches!(status, Status::Queued | Status::Scheduled);
        let gone = draft.queue.as_deref() == Some("a") && waits;
        assert_eq!(bench.store.job(id).await.unwrap().is_none(), gone, "{status}");
    }
    let lost =
        "SELECT (SELECT sum(created - pruned) FROM jobqueue.tally) - (SELECT count(*) FROM jobqueue.body)";
    assert_eq!(bench.count(lost).await, 0);
}
