//! enqueue: jobs are stored unchanged, once, and atomically.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, Json, Limits, OnConflict, RetryPolicy, Status};
use jobqueue_store::{Accepted, Answer, Pooler, Store, StoreError, Submission};
use jobqueue_testkit::TestDb;

use crate::bench::{Bench, DAY, created, delayed, draft, json, parse, production, served, submission};

#[tokio::test]
async fn every_field_comes_back_exactly() {
    let bench = Bench::new().await;
    let payload =
        r#"{ "z":1 , "a" : [18446744073709551616, 0.10, 1E5, -0, "é\u00e9😀\ud83d\ude00"], "": null}"#;
    let tags =
        ["plain", "quo\"te", "back\\slash", "{curly}", "com,ma", "NULL", "😀 é", " padded ", "'", "\\\""];
    let full = JobDraft {
        queue: Some("q.1:x_y-z".into()),
        kind: "mail:send".into(),
        payload: Some(json(payload)),
        priority: Some(-100),
        run_at: Some("2027-01-31T09:00:00.123456+02:00".into()),
        expires_at: Some("9999-12-31T23:59:59Z".into()),
        max_attempts: Some(1000),
        retry: Some(RetryPolicy::List { delays_seconds: vec![0.5, 60.0] }),
        timeout_seconds: Some(1.5),
        soft_timeout_seconds: Some(0.001),
        tags: Some(tags.map(str::to_owned).to_vec()),
        metadata: Some(json(r#"{"b":2,"a":1.0}"#)),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        ..JobDraft::default()
    };
    let sent = parse(full.clone());
    let id = bench.add(full).await;
    let record = bench.record(id).await;
    let job = &record.job;
    assert_eq!(record.status, Status::Scheduled);
    assert_eq!(record.run_at, Some("2027-01-31T07:00:00.123456Z".parse::<DateTime<Utc>>().unwrap()));
    assert_eq!(Some(record.created_at), id.created_at());
    assert_eq!((&job.queue, &job.kind, job.payload.as_str()), (&sent.queue, &sent.kind, payload));
    assert_eq!((job.priority, job.attempt, job.max_attempts), (-100, 0, 1000));
    assert_eq!((&job.retry, job.timeout, job.soft_timeout), (&sent.retry, sent.timeout, sent.soft_timeout));
    assert_eq!((job.expires_at, &job.tags, &job.metadata), (sent.expires_at, &sent.tags, &sent.metadata));
    assert_eq!(job.traceparent, sent.traceparent);
    // a worker gets the same values
    bench.store.jobs().promote(&[id]).await.unwrap();
    let request = crate::bench::request(Some(bench.worker), &["q.1:x_y-z"], 1);
    let leased = bench.store.lease(&request).await.unwrap().pop().unwrap();
    let mut expected = record.job;
    expected.attempt = 1;
    assert_eq!(leased.job, expected);
}

#[tokio::test]
async fn a_plain_job_has_only_the_fields_that_were_sent() {
    let bench = Bench::new().await;
    let record = {
        let id = bench.add(draft()).await;
        bench.record(id).await
    };
    let job = record.job;
    assert_eq!(
        (job.payload.as_str(), job.queue.as_str(), job.priority, job.max_attempts),
        ("{}", "default", 0, 10)
    );
    assert_eq!((job.retry, job.timeout, job.expires_at, job.unique_key), (None, None, None, None));
    assert_eq!((job.tags.len(), job.metadata, job.traceparent), (0, None, None));
    assert_eq!(
        (record.status, record.run_at, record.started_at, record.finished_at),
        (Status::Queued, None, None, None)
    );
    assert_eq!(
        (record.worker_id, record.result, record.error, record.cancel_requested),
        (None, None, None, false)
    );
}

#[tokio::test]
async fn answers_come_in_the_order_of_requests_and_jobs() {
    let bench = Bench::new().await;
    let sizes = [3, 0, 1, 5];
    let submissions: Vec<_> = sizes
        .iter()
        .map(|n| submission((0..*n).map(|i| delayed(f64::from(i % 2) * 60.0)).collect()))
        .collect();
    let answers: Vec<Vec<Accepted>> =
        bench.store.enqueue(&submissions).await.unwrap().into_iter().map(served).collect();
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [3, 0, 1, 5]);
    let ids: Vec<_> = answers.iter().flatten().copied().map(created).collect();
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
    for (submission, answers) in submissions.iter().zip(&answers) {
        for (job, answer) in submission.jobs.iter().zip(answers) {
            let Accepted::Created { id, status } = answer else { panic!("{answer:?}") };
            assert_eq!(bench.record(*id).await.status, *status);
            let waits = job.start == jobqueue_core::Start::After(Duration::from_mins(1));
            assert_eq!(*status, if waits { Status::Scheduled } else { Status::Queued });
        }
    }
}

#[tokio::test]
async fn a_past_start_is_now_and_a_delay_counts_by_the_databases_clock() {
    let mut bench = Bench::new().await;
    bench.pass(3 * DAY);
    let past = JobDraft { run_at: Some("2020-01-01T00:00:00Z".into()), ..draft() };
    let past = bench.add(past).await;
    assert_eq!(bench.status(past).await, Status::Queued);
    let later = bench.add(delayed(90.0)).await;
    let record = bench.record(later).await;
    let wait = record.run_at.unwrap() - record.created_at;
    assert!((89_000..=91_000).contains(&wait.num_milliseconds()), "{wait}");
    let ahead = bench
        .count("SELECT (extract(epoch FROM (SELECT max(created_at) FROM jobs) - now()) / 3600)::bigint")
        .await;
    assert_eq!(ahead, 72, "ids tell the database's time");
}

#[tokio::test]
async fn jobs_of_a_batch_are_stored_like_single_jobs() {
    let bench = Bench::new().await;
    let usual = |i: i64| JobDraft {
        kind: format!("k{}", i % 3),
        payload: Some(json(&format!("{{\n\t\"n\": {i}, \"\\\\ \\u0001\": \"é😀\"}}"))),
        priority: Some(i % 4),
        max_attempts: Some(1000),
        retry: (i % 5 == 1).then(|| RetryPolicy::List { delays_seconds: vec![0.5, 60.0] }),
        timeout_seconds: (i % 5 == 2).then_some(1.5),
        soft_timeout_seconds: (i % 5 == 3).then_some(0.25),
        metadata: (i % 5 == 4).then(|| json(r#"{"b":2,"a":1.0}"#)),
        traceparent: (i % 2 == 0).then(|| "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        ..draft()
    };
    // between them, fields that only the general statement can store
    let of_all_kinds = |i: i64| match i % 10 {
        6 => JobDraft { delay_seconds: Some(60.0), ..usual(i) },
        7 => JobDraft { expires_at: Some("9999-12-31T23:59:59Z".into()), ..usual(i) },
        8 => JobDraft { tags: Some(vec!["a,b".into()]), ..usual(i) },
        _ => usual(i),
    };
    let drafts: Vec<JobDraft> = (0..400).map(of_all_kinds).collect();
    let together: Vec<_> = bench.submit(drafts.clone()).await.into_iter().map(created).collect();
    assert!(together.is_sorted());
    for (draft, together) in drafts.into_iter().zip(together).step_by(3) {
        let alone = bench.add(draft).await;
        let (together, alone) = (bench.record(together).await, bench.record(alone).await);
        assert_eq!((together.status, together.run_at.is_some()), (alone.status, alone.run_at.is_some()));
        assert_eq!(jobqueue_core::Job { id: alone.job.id, ..together.job }, alone.job);
    }
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.expiry").await, 40 + 13);
    assert_eq!(bench.count("SELECT sum(created) FROM jobqueue.tally").await, 400 + 134);
}

#[tokio::test]
async fn a_batch_is_stored_completely_or_not_at_all() {
    let bench = Bench::new().await;
    for pooler in [Pooler::None, Pooler::Transaction] {
        // one connection, so that the next call runs in the state that a failure leaves
        let store = production(&bench.db, pooler, 1);
        for (table, wrong) in
            [("body", "max_attempts = 77"), ("ready", "lane > 1"), ("tally", "created = 300")]
        {
            bench
                .execute(&format!("ALTER TABLE jobqueue.{table} ADD CONSTRAINT no CHECK (NOT {wrong})"))
                .await;
            let mut drafts = vec![draft(); 300];
            drafts[120] = JobDraft { max_attempts: Some(77), priority: Some(5), ..draft() };
            let refused = store.enqueue(&[submission(drafts.clone())]).await;
            assert!(refused.is_err(), "{table}: {refused:?}");
            assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 0, "{table}");
            bench.execute(&format!("ALTER TABLE jobqueue.{table} DROP CONSTRAINT no")).await;
            store.ping().await.unwrap();
            let answers = store.enqueue(&[submission(drafts)]).await.unwrap();
            assert_eq!(answers.into_iter().flat_map(served).count(), 300, "{table}");
            assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 300, "{table}");
            bench.execute("TRUNCATE jobqueue.body, jobqueue.ready, jobqueue.tally").await;
        }
    }
}

#[tokio::test]
async fn a_backend_that_ends_during_a_copy_stores_nothing() {
    let bench = Bench::new().await;
    let store = production(&bench.db, Pooler::None, 1);
    store.enqueue(&[submission(vec![draft()])]).await.unwrap();
    let holder = bench.db.hold("LOCK TABLE jobqueue.ready").await;
    let call = crate::bench::start({
        let store = store.clone();
        async move { store.enqueue(&[submission(vec![draft(); 300])]).await }
    });
    let waits = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE query LIKE '-- store.enqueue.places%' AND wait_event_type = 'Lock'";
    jobqueue_testkit::eventually(
        Duration::from_secs(20),
        "the COPY waits, and its backend is ended",
        async || match bench.count(waits).await {
            0 => Err("it does not wait yet"),
            _ => Ok(()),
        },
    )
    .await;
    assert!(call.await.unwrap().is_err());
    drop(holder);
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 1);
    store.enqueue(&[submission(vec![draft(); 300])]).await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 301);
}

#[tokio::test]
async fn a_thousand_jobs_with_many_names_are_stored_in_one_call() {
    let bench = Bench::new().await;
    let drafts = (0..1000).map(|i| JobDraft {
        queue: Some(format!("q{}", i % 7)),
        kind: format!("k{}", i % 5),
        priority: Some(i % 3),
        ..draft()
    });
    assert_eq!(bench.submit(drafts.collect()).await.len(), 1000);
    assert_eq!(bench.count("SELECT count(*) FROM jobs WHERE status = 'queued'").await, 1000);
    assert_eq!(bench.count("SELECT sum(created) FROM jobqueue.tally").await, 1000);
    let odd =
        bench.count("SELECT count(*) FROM jobs WHERE queue = 'q3' AND kind = 'k1' AND priority = 2").await;
    assert_eq!(odd, 9, "101, 206, … 941");
}

#[tokio::test]
async fn many_writers_with_new_names_do_not_block_each_other() {
    let db = TestDb::new().await;
    // fewer connections than writers: a call that held one connection while it waited for a second would deadlock
    let store = production(&db, Pooler::None, 2);
    let writers = (0..32).map(|i| {
        let store: Store = store.clone();
        let draft = JobDraft { queue: Some(format!("new{}", i % 4)), kind: format!("new{i}"), ..draft() };
        async move { store.enqueue(&[submission(vec![draft])]).await }
    });
    let answers = futures_util::future::join_all(writers).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(store.queues().list(None, 20_000).await.unwrap().iter().map(|q| q.queued).sum::<u64>(), 32);
}

#[tokio::test]
async fn payloads_of_the_largest_size_fit() {
    let bench = Bench::new().await;
    let limit = Limits::default().payload_bytes;
    let text = format!("\"{}\"", "é".repeat((limit - 2) / 2));
    let id = bench.add(JobDraft { payload: Some(json(&text)), ..draft() }).await;
    assert_eq!(bench.record(id).await.job.payload.as_str(), text);
}

#[tokio::test]
async fn only_jobs_that_expire_have_an_expiry_row() {
    let bench = Bench::new().await;
    let expires_at = Some("2100-01-01T00:00:00Z".into());
    bench.add(JobDraft { expires_at, ..draft() }).await;
    bench.add(draft()).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.expiry").await, 1);
    assert_eq!(bench.store.expire_due(10).await.unwrap(), 0);
}

#[tokio::test]
async fn a_rejected_request_fails_alone_and_no_other_is_stored_twice() {
    let bench = Bench::new().await;
    bench.execute("ALTER TABLE jobqueue.body ADD CHECK (payload::text <> '\"bad\"')").await;
    let job = |payload: &str| JobDraft { payload: Some(Json::parse(payload.into()).unwrap()), ..draft() };
    let keyed = |draft: JobDraft| {
        let unique =
            UniqueDraft { key: "k".into(), on_conflict: OnConflict::Replace, ..UniqueDraft::default() };
        JobDraft { unique: Some(unique), ..draft }
    };
    let plain: Vec<Submission> =
        (0..9).map(|n| submission(vec![job(if n == 4 { "\"bad\"" } else { "1" })])).collect();
    let answers: Vec<Result<Answer, Arc<StoreError>>> = bench.store.enqueue_each(&plain).await;
    let failed: Vec<usize> = (0..answers.len()).filter(|at| answers[*at].is_err()).collect();
    assert_eq!(failed, [4]);
    assert!(matches!(**answers[4].as_ref().unwrap_err(), StoreError::Refused(_)), "{answers:?}");
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 8);

    // they share a key, so that each goes into a transaction of its own, and the second one is rejected
    let shared = ["2", "\"bad\"", "3"].map(|payload| submission(vec![keyed(job(payload)), job("4")]));
    let answers: Vec<Result<Answer, Arc<StoreError>>> = bench.store.enqueue_each(&shared).await;
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 8 + 2 + 2);
    assert_eq!(bench.count("SELECT count(*) FROM jobs WHERE status = 'cancelled'").await, 1, "replaced");
}
