//! Filters that no index answers: they find exactly the jobs that match, over pages, and look at a bounded number of jobs.

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{Failure, JobDraft, JobId, Outcome, Status};
use jobqueue_store::{JobFilter, Settled};

use crate::bench::{Bench, MINUTE, draft, json};

async fn found(bench: &Bench, filter: &JobFilter) -> Vec<JobId> {
    let found = bench.store.find(filter, None, 100).await.unwrap();
    assert_eq!(found.next, None);
    let listed = bench.store.list(filter, None, 100).await.unwrap();
    assert_eq!(listed.jobs.iter().map(|record| record.job.id).collect::<Vec<_>>(), found.ids);
    found.ids
}

fn described(metadata: &str) -> JobDraft {
    JobDraft { metadata: Some(json(metadata)), ..draft() }
}

#[tokio::test]
async fn metadata_is_compared_at_a_path_as_it_is_written() {
    let bench = Bench::new().await;
    let a = bench.add(described(r#"{"team":"billing","n":1.50,"ok":true,"none":null}"#)).await;
    let b = bench
        .add(described(r#"{"team":"ops","owner":{"team":"billing"},"list":["x","y"],"a.b":{"c/d":"z"}}"#))
        .await;
    let plain = bench.add(draft()).await;
    for (terms, ids) in [
        (vec!["team=billing"], vec![a]),
        (vec!["owner.team=billing"], vec![b]),
        (vec!["/owner/team=billing"], vec![b]),
        (vec!["/a.b/c~1d=z"], vec![b]),
        (vec!["list.1=y"], vec![b]),
        (vec!["n=1.50"], vec![a]),
        (vec!["n=1.5"], vec![]),
        (vec!["ok=true", "team=billing"], vec![a]),
        (vec!["ok=true", "team=ops"], vec![]),
        (vec!["none=null"], vec![]),
        (vec!["missing="], vec![]),
    ] {
        let metadata = terms.iter().map(|term| term.parse().unwrap()).collect();
        assert_eq!(found(&bench, &JobFilter { metadata, ..JobFilter::default() }).await, ids, "{terms:?}");
    }
    assert_eq!(found(&bench, &JobFilter::default()).await, [plain, b, a]);
}

#[tokio::test]
async fn payloads_are_compared_like_metadata_and_retries_are_found() {
    let bench = Bench::new().await;
    let of = |payload: &str| JobDraft { payload: Some(json(payload)), ..draft() };
    let a = bench.add(of(r#"{"user":{"id":18446744073709551616},"a":"x"}"#)).await;
    let b = bench.add(of(r#"[{"user":2}]"#)).await;
    bench.add(of("\"a\"")).await;
    for (terms, ids) in [
        (vec!["user.id=18446744073709551616"], vec![a]),
        (vec!["/user/id=18446744073709551616", "a=x"], vec![a]),
        (vec!["a=x", "a=y"], vec![]),
        (vec!["0.user=2"], vec![b]),
        (vec!["user=2"], vec![]),
    ] {
        let payload = terms.iter().map(|term| term.parse().unwrap()).collect();
        assert_eq!(found(&bench, &JobFilter { payload, ..JobFilter::default() }).await, ids, "{terms:?}");
    }
    let retrying = JobFilter { retrying: true, ..JobFilter::default() };
    assert_eq!(found(&bench, &retrying).await, []);
    bench.add(JobDraft { delay_seconds: Some(60.0), ..draft() }).await;
    let leased = bench.lease_one().await;
    let failed = leased.job.id;
    let outcome = Outcome::Failed { failure: Failure::new("boom", ""), retry_after: None };
    assert_eq!(bench.end(leased, outcome).await, Settled::Applied(Status::Scheduled));
    assert_eq!(found(&bench, &retrying).await, [failed]);
    let statuses = vec![Status::Queued];
    assert_eq!(found(&bench, &JobFilter { statuses, ..retrying }).await, []);
}

#[tokio::test]
async fn ends_are_found_by_time_and_error() {
    let mut bench = Bench::new().await;
    let waiting = bench.add(JobDraft { queue: Some("other".into()), ..draft() }).await;
    let done = bench.done(draft()).await;
    let dead = bench.dead(draft()).await;
    let first = bench.record(dead).await.finished_at.unwrap();
    bench.pass(10 * MINUTE);
    let cancelled = bench.add(draft()).await;
    bench.store.jobs().cancel(&[cancelled], &Failure::new("tired", "")).await.unwrap();
    let late = bench.record(cancelled).await.finished_at.unwrap();
    for (filter, ids) in [
        (JobFilter { finished_after: Some(first), ..JobFilter::default() }, vec![cancelled, dead]),
        (JobFilter { finished_before: Some(late), ..JobFilter::default() }, vec![dead, done]),
        (JobFilter { finished_after: Some(late), ..JobFilter::default() }, vec![cancelled]),
        (JobFilter { error_types: vec!["boom".into()], ..JobFilter::default() }, vec![dead]),
        (
            JobFilter { error_types: vec!["boom".into(), "tired".into()], ..JobFilter::default() },
            vec![cancelled, dead],
        ),
        (
            JobFilter {
                error_types: vec!["boom".into(), "tired".into()],
                statuses: vec![Status::Cancelled, Status::Queued],
                ..JobFilter::default()
            },
            vec![cancelled],
        ),
        (
            JobFilter {
                error_types: vec!["boom".into()],
                statuses: vec![Status::Completed],
                ..JobFilter::default()
            },
            vec![],
        ),
        (
            JobFilter { finished_before: Some(late), statuses: vec![Status::Queued], ..JobFilter::default() },
            vec![],
        ),
    ] {
        assert_eq!(found(&bench, &filter).await, ids, "{filter:?}");
    }
    assert_eq!(bench.status(waiting).await, Status::Queued);
}

#[tokio::test]
async fn unique_keys_are_found_also_when_they_are_free_again() {
    let bench = Bench::new().await;
    let keyed = |key: &str| JobDraft {
        unique: Some(UniqueDraft { key: key.into(), ..UniqueDraft::default() }),
        ..draft()
    };
    let first = bench.done(keyed("k")).await;
    let second = bench.add(keyed("k")).await;
    bench.add(keyed("other")).await;
    let filter = JobFilter { unique_keys: vec!["k".into()], ..JobFilter::default() };
    assert_eq!(found(&bench, &filter).await, [second, first]);
    let statuses = vec![Status::Queued];
    assert_eq!(found(&bench, &JobFilter { statuses, ..filter }).await, [second]);
}

/// One call looks at a bounded number of jobs, and the next one continues. Together they find all.
#[tokio::test]
async fn a_search_stops_after_a_bounded_number_of_jobs_and_continues() {
    let bench = Bench::new().await;
    let oldest = bench.add(described(r#"{"n":"x"}"#)).await;
    bench.execute("SELECT jobqueue.enqueue('noop') FROM generate_series(1, 45000)").await;
    let newest = bench.add(described(r#"{"n":"x"}"#)).await;
    let filter = JobFilter { metadata: vec!["n=x".parse().unwrap()], ..JobFilter::default() };
    let (mut ids, mut after, mut calls) = (Vec::new(), None, 0);
    loop {
        let found = bench.store.find(&filter, after, 10).await.unwrap();
        ids.extend(found.ids);
        calls += 1;
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(ids, [newest, oldest]);
    assert!(calls >= 3, "{calls} calls for 45,002 jobs at 20,000 a call");
    let one = bench.store.find(&filter, None, 1).await.unwrap();
    assert_eq!(one.ids, [newest]);
}
