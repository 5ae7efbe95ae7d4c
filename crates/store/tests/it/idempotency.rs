//! Idempotency keys: the same request gets the same answer, another request with the key is rejected, and a request
//! without effect stores no key.

use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, OnConflict};
use jobqueue_store::{Accepted, Answer, Idempotency, KeyState, Submission};

use crate::bench::{Bench, created, draft, served, start, submission};

fn with_key(key: &str, body: &str, drafts: Vec<JobDraft>) -> Submission {
    Submission { idempotency: Some(Idempotency::new("test", key, body)), ..submission(drafts) }
}

async fn one(bench: &Bench, submission: Submission) -> Answer {
    bench.store.enqueue(&[submission]).await.unwrap().pop().unwrap()
}

#[tokio::test]
async fn the_same_request_is_answered_again_and_another_is_refused() {
    let bench = Bench::new().await;
    let first = one(&bench, with_key("a", "body", vec![draft(), draft()])).await;
    let Answer::Served { jobs, replayed: false } = first else { panic!("{first:?}") };
    let again = one(&bench, with_key("a", "body", vec![draft(), draft()])).await;
    assert_eq!(again, Answer::Served { jobs, replayed: true });
    assert_eq!(one(&bench, with_key("a", "other", vec![draft()])).await, Answer::KeyReused);
    let elsewhere = Submission {
        idempotency: Some(Idempotency::new("other", "a", "other")),
        ..submission(vec![draft()])
    };
    created(served(one(&bench, elsewhere).await)[0]);
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 3);
}

#[tokio::test]
async fn one_key_twice_in_a_call_is_one_request() {
    let bench = Bench::new().await;
    let requests = [
        with_key("a", "body", vec![draft()]),
        submission(vec![draft()]),
        with_key("a", "body", vec![draft()]),
        with_key("a", "else", vec![draft()]),
    ];
    let answers = bench.store.enqueue(&requests).await.unwrap();
    let Answer::Served { jobs, replayed: false } = &answers[0] else { panic!("{answers:?}") };
    assert_eq!(answers[2], Answer::Served { jobs: jobs.clone(), replayed: true });
    assert_eq!(answers[3], Answer::KeyReused);
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_concurrent_requests_create_one_job() {
    let bench = Bench::new().await;
    let calls: Vec<_> = (0..32)
        .map(|i| {
            let store = bench.store.clone();
            let keys = if i % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
            let requests = keys.map(|key| with_key(key, "body", vec![draft()]));
            start(async move { store.enqueue(&requests).await.unwrap() })
        })
        .collect();
    let (mut fresh, mut ids) = (0, std::collections::BTreeSet::new());
    for call in calls {
        for answer in call.await.unwrap() {
            let Answer::Served { jobs, replayed } = answer else { panic!("{answer:?}") };
            fresh += usize::from(!replayed);
            ids.insert(created(jobs[0]));
        }
    }
    assert_eq!((fresh, ids.len()), (2, 2));
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 2);
}

#[tokio::test]
async fn a_request_without_effect_stores_no_key() {
    let bench = Bench::new().await;
    let unique = UniqueDraft { key: "k".into(), on_conflict: OnConflict::Reject, ..UniqueDraft::default() };
    let reject = JobDraft { unique: Some(unique), ..draft() };
    let holder = bench.add(reject.clone()).await;
    let refused = one(&bench, with_key("a", "body", vec![reject])).await;
    assert_eq!(refused, Answer::Served { jobs: vec![Accepted::Rejected(holder)], replayed: false });
    created(served(one(&bench, with_key("a", "mended", vec![draft()])).await)[0]);
}

#[tokio::test]
async fn an_answer_with_an_existing_job_is_stored_too() {
    let bench = Bench::new().await;
    let unique = UniqueDraft { key: "k".into(), ..UniqueDraft::default() };
    let keyed = JobDraft { unique: Some(unique), ..draft() };
    let holder = bench.done(keyed.clone()).await;
    let holder_now = bench.add(keyed.clone()).await;
    assert_ne!(holder, holder_now);
    let first = one(&bench, with_key("a", "body", vec![keyed.clone()])).await;
    assert_eq!(first, Answer::Served { jobs: vec![Accepted::Existing(holder_now)], replayed: false });
    let leased = bench.lease_one().await;
    bench.end(leased, jobqueue_core::Outcome::Completed(None)).await;
    let again = one(&bench, with_key("a", "body", vec![keyed])).await;
    assert_eq!(again, Answer::Served { jobs: vec![Accepted::Existing(holder_now)], replayed: true });
}

#[tokio::test]
async fn a_claimed_key_is_answered_freed_or_void() {
    let mut bench = Bench::new().await;
    let request = |body| Idempotency::new("test", "a", body);
    let store = bench.store.clone();
    let claim = async |body| store.claim_key(request(body)).await.unwrap();
    let KeyState::Ours(first) = claim("body").await else { panic!("it is new") };
    assert_eq!((claim("body").await, claim("other").await), (KeyState::UnderWay, KeyState::Reused));

    store.free_key(first).await.unwrap();
    let KeyState::Ours(second) = claim("other").await else { panic!("it was freed") };
    bench.pass(Duration::from_secs(119));
    assert_eq!(claim("other").await, KeyState::UnderWay);
    bench.pass(Duration::from_secs(2));
    assert_eq!(claim("body").await, KeyState::Reused, "a void claim still tells requests apart");
    let KeyState::Ours(third) = claim("other").await else { panic!("the claim is void") };

    store.keep_answer(second, r#"{"from":"the dead"}"#, None).await.unwrap();
    store.free_key(second).await.unwrap();
    assert_eq!(claim("other").await, KeyState::UnderWay, "whose claim is void changes nothing");
    store.keep_answer(third, r#"{"a":1}"#, None).await.unwrap();
    bench.pass(Duration::from_hours(1));
    assert_eq!(claim("other").await, KeyState::Answered(r#"{"a":1}"#.to_owned()));
}

#[tokio::test]
async fn an_answer_can_have_a_limited_life() {
    let mut bench = Bench::new().await;
    let store = bench.store.clone();
    let claim = async || store.claim_key(Idempotency::new("test", "a", "body")).await.unwrap();
    let KeyState::Ours(first) = claim().await else { panic!("it is new") };
    store.keep_answer(first, "1", Some(Duration::from_mins(30))).await.unwrap();
    bench.pass(Duration::from_mins(28));
    assert_eq!(claim().await, KeyState::Answered("1".to_owned()));
    bench.pass(Duration::from_mins(3));
    assert!(matches!(claim().await, KeyState::Ours(_)));
    assert_eq!(claim().await, KeyState::UnderWay);
}
