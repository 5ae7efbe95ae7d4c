//! settle: each outcome has its effect once, and only with a valid lease.

use std::time::Duration;

use jobqueue_core::{JobDraft, Json, Lease, Outcome, RetryPolicy, Status};
use jobqueue_store::{AttemptEnd, Cancelled, Leased, Settled};
use jobqueue_testkit::eventually;
use uuid::Uuid;

use crate::bench::{Bench, MINUTE, boom, copy, draft, end, failed, json, start, twin};

#[tokio::test]
async fn each_outcome_leads_to_its_status() {
    let bench = Bench::new().await;
    let cases: [(Outcome, Status, u16, &str); 7] = [
        (
            Outcome::Completed(Some(json(r#"{"b":1, "a":18446744073709551616}"#))),
            Status::Completed,
            1,
            "completed",
        ),
        (failed(), Status::Scheduled, 1, "retried"),
        (Outcome::Discarded(boom()), Status::Failed, 1, "failed"),
        (Outcome::Snoozed(Duration::from_secs(7)), Status::Scheduled, 0, "snoozed"),
        (Outcome::Cancelled, Status::Cancelled, 1, "cancelled"),
        (Outcome::Released, Status::Queued, 0, "released"),
        (Outcome::LeaseLost, Status::Queued, 1, "lost"),
    ];
    for (outcome, status, attempt, ended) in cases {
        let id = bench.add(JobDraft { priority: Some(50), ..draft() }).await;
        let leased = bench.lease_one().await;
        assert_eq!(bench.end(leased, outcome.clone()).await, Settled::Applied(status), "{ended}");
        let record = bench.record(id).await;
        assert_eq!((record.status, record.job.attempt), (status, attempt), "{ended}");
        assert_eq!(record.finished_at.is_some(), status.is_final());
        assert_eq!(record.started_at.is_some(), status.is_final());
        let attempts = bench.store.attempts(id).await.unwrap();
        assert_eq!(attempts.len(), 1);
        assert_eq!((attempts[0].ended.as_str(), attempts[0].attempt), (ended, 1));
        let has_error = matches!(
            outcome,
            Outcome::Failed { .. } | Outcome::Discarded(_) | Outcome::Cancelled | Outcome::LeaseLost
        );
        assert_eq!(attempts[0].error.is_some(), has_error, "{ended}");
        if let Outcome::Completed(result) = outcome {
            assert_eq!(record.result, result);
        }
        bench.store.jobs().cancel(&[id], &boom()).await.unwrap();
    }
    let sums = bench
        .count("SELECT sum(completed * 1000 + failed * 100 + retried * 10 + lost) FROM jobqueue.tally")
        .await;
    assert_eq!(sums, 1111);
}

#[tokio::test]
async fn the_job_fails_with_the_last_attempt() {
    let mut bench = Bench::new().await;
    let retry = Some(RetryPolicy::Fixed { delay_seconds: 60.0 });
    let id = bench.add(JobDraft { max_attempts: Some(3), retry, ..draft() }).await;
    for (attempt, status) in [(1, Status::Scheduled), (2, Status::Scheduled), (3, Status::Failed)] {
        let leased = bench.lease_one().await;
        assert_eq!(leased.job.attempt, attempt);
        assert_eq!(bench.end(leased, failed()).await, Settled::Applied(status));
        assert_eq!(bench.store.promote_due(10).await.unwrap().jobs, 0, "not before its time");
        bench.pass(MINUTE + Duration::from_secs(1));
        bench.store.promote_due(10).await.unwrap();
    }
    let record = bench.record(id).await;
    assert_eq!((record.status, record.error), (Status::Failed, Some(boom())));
    assert_eq!(bench.store.attempts(id).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_lease_is_used_up_by_its_settle() {
    let bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    let late = twin(&leased);
    let same = twin(&leased);
    let both =
        bench.store.settle(vec![end(leased, Outcome::Completed(None)), end(same, failed())]).await.unwrap();
    assert_eq!(
        both,
        [Settled::Applied(Status::Completed), Settled::Stale],
        "the first of two in one call wins"
    );
    assert_eq!(bench.end(late, failed()).await, Settled::Stale);
    assert_eq!(bench.status(id).await, Status::Completed);
    assert_eq!(bench.store.attempts(id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_late_settle_changes_nothing_after_its_job_ran_elsewhere() {
    let bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let first = bench.lease_one().await;
    let late = twin(&first);
    bench.end(first, Outcome::Released).await;
    let second = bench.lease_one().await;
    assert!(second.lease.epoch() > late.lease.epoch());
    assert_eq!(second.job.attempt, late.job.attempt, "a release costs no attempt, so the number is no fence");
    assert_eq!(bench.end(twin(&late), Outcome::Completed(Some(json("\"late\"")))).await, Settled::Stale);
    assert_eq!(bench.status(id).await, Status::Running);
    assert_eq!(
        bench.end(second, Outcome::Completed(Some(json("\"winner\"")))).await,
        Settled::Applied(Status::Completed)
    );
    assert_eq!(bench.end(late, failed()).await, Settled::Stale);
    assert_eq!(bench.record(id).await.result.as_ref().map(Json::as_str), Some("\"winner\""));
}

#[tokio::test]
async fn a_forged_lease_is_stale_in_every_part() {
    let bench = Bench::new().await;
    let ids = bench.add_many(3).await;
    let stranger = bench.add(JobDraft { queue: Some("else".into()), ..draft() }).await;
    let leased = bench.lease(3).await;
    let good = &leased[1].lease;
    let forge = |epoch, token, job, ordinal| Lease::grant(epoch, token, job, ordinal, 1).unwrap();
    let forged = [
        forge(good.epoch(), Uuid::new_v4(), ids[1], 1),
        forge(good.epoch() + 1, good.token(), ids[1], 1),
        forge(-1, good.token(), ids[1], 1),
        forge(good.epoch(), good.token(), ids[0], 1),
        forge(good.epoch(), good.token(), stranger, 1),
        forge(good.epoch(), good.token(), ids[1], 2),
        forge(good.epoch(), good.token(), ids[1], 3),
        forge(good.epoch(), good.token(), ids[1], 63),
    ];
    assert!(bench.store.leased_jobs(&forged).await.unwrap().iter().all(Option::is_none));
    for lease in forged {
        let settlement = jobqueue_core::settle(&leased[1].job, failed(), 0.5);
        let end = AttemptEnd { lease, settlement, ran: None };
        assert_eq!(bench.store.settle(vec![end]).await.unwrap(), [Settled::Stale]);
    }
    assert_eq!(bench.count("SELECT count(*) FROM jobs WHERE status = 'running'").await, 3);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.outcome").await, 0);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.attempt").await, 0);
}

#[tokio::test]
async fn the_number_of_the_attempt_is_not_taken_from_the_lease() {
    let bench = Bench::new().await;
    let id = bench.add(JobDraft { max_attempts: Some(1), ..draft() }).await;
    let leased = bench.lease_one().await;
    let good = &leased.lease;
    let young = Lease::grant(good.epoch(), good.token(), good.job_id(), good.ordinal(), 0).unwrap();
    let job = bench.store.leased_jobs(&[copy(&young)]).await.unwrap().pop().unwrap().unwrap().job;
    assert_eq!(job.attempt, 1);
    let settlement = jobqueue_core::settle(&job, failed(), 0.5);
    bench.store.settle(vec![AttemptEnd { lease: young, settlement, ran: None }]).await.unwrap();
    let record = bench.record(id).await;
    assert_eq!((record.status, record.job.attempt), (Status::Failed, 1));
}

#[tokio::test]
async fn jobs_of_one_grant_end_one_by_one() {
    let bench = Bench::new().await;
    let ids = bench.add_many(5).await;
    let mut leased = bench.lease(5).await;
    for (left, at) in [(4, 2), (3, 0), (2, 2), (1, 1), (0, 0)] {
        let one = leased.remove(at);
        assert_eq!(
            bench.end(twin(&one), Outcome::Completed(None)).await,
            Settled::Applied(Status::Completed)
        );
        assert_eq!(bench.end(one, failed()).await, Settled::Stale);
        assert_eq!(bench.count("SELECT count(*) FROM jobs WHERE status = 'running'").await, left);
    }
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.lease").await, 0);
    assert_eq!(
        bench.store.jobs_by_id(&ids).await.unwrap().iter().filter(|r| r.status == Status::Completed).count(),
        5
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_one_grant_can_end_concurrently() {
    let bench = Bench::new().await;
    bench.add_many(60).await;
    // two copies of each lease settle concurrently
    let ends: Vec<_> = bench.lease(60).await.into_iter().flat_map(|one| [twin(&one), one]).collect();
    let calls: Vec<_> = ends
        .into_iter()
        .enumerate()
        .map(|(at, leased)| {
            let store = bench.store.clone();
            let outcome = if at % 3 == 0 { Outcome::Completed(None) } else { failed() };
            start(async move { store.settle(vec![end(leased, outcome)]).await.unwrap()[0] })
        })
        .collect();
    let mut applied = 0;
    for call in calls {
        applied += usize::from(call.await.unwrap() != Settled::Stale);
    }
    assert_eq!(applied, 60);
    let places = "SELECT (SELECT count(*) FROM jobqueue.outcome) + (SELECT count(*) FROM jobqueue.scheduled)";
    assert_eq!(bench.count(places).await, 60);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.lease").await, 0);
}

#[tokio::test]
async fn a_cancel_request_overrides_a_retry() {
    let bench = Bench::new().await;
    for (outcome, status) in [
        (failed(), Status::Cancelled),
        (Outcome::Snoozed(MINUTE), Status::Cancelled),
        (Outcome::Released, Status::Cancelled),
        (Outcome::LeaseLost, Status::Cancelled),
        (Outcome::Completed(None), Status::Completed),
        (Outcome::Discarded(boom()), Status::Failed),
    ] {
        let id = bench.add(draft()).await;
        let leased = bench.lease_one().await;
        assert_eq!(bench.store.jobs().cancel(&[id], &boom()).await.unwrap(), [Cancelled::Asked]);
        assert!(bench.record(id).await.cancel_requested);
        assert_eq!(bench.end(leased, outcome).await, Settled::Applied(status));
        assert_eq!(bench.status(id).await, status);
    }
}

#[tokio::test]
async fn the_start_is_computed_from_the_run_time_and_is_not_before_the_lease() {
    let mut bench = Bench::new().await;
    for (ran, expected) in
        [(Some(MINUTE), 60), (None, 600), (Some(MINUTE * 60), 600), (Some(Duration::MAX), 600)]
    {
        let id = bench.add(draft()).await;
        let leased = bench.lease_one().await;
        bench.pass(10 * MINUTE);
        let end = AttemptEnd { ran, ..end(leased, Outcome::Completed(None)) };
        bench.store.settle(vec![end]).await.unwrap();
        let record = bench.record(id).await;
        let took = (record.finished_at.unwrap() - record.started_at.unwrap()).num_seconds();
        assert!((expected - 2..=expected + 2).contains(&took), "{took}");
    }
}

#[tokio::test]
async fn an_empty_settle_does_nothing() {
    let bench = Bench::new().await;
    assert_eq!(bench.store.settle(vec![]).await.unwrap(), []);
    bench.add(draft()).await;
    let (settled, leased) = bench.store.settle_and_lease(vec![], &bench.request(3)).await.unwrap();
    assert_eq!((settled.len(), leased.len()), (0, 1));
}

#[tokio::test]
async fn a_forged_lease_among_valid_ones_changes_nothing() {
    let bench = Bench::new().await;
    bench.add_many(5).await;
    let mut leased = bench.lease(5).await;
    let epoch = leased[0].lease.epoch();
    assert!(leased.iter().all(|one| one.lease.epoch() == epoch), "one lease holds them all");
    let last = leased.pop().unwrap();
    let forge = |of: &Lease, token: Uuid, job_id| {
        Lease::grant(of.epoch(), token, job_id, of.ordinal(), of.attempt()).unwrap()
    };
    let wrong_token = forge(&leased[1].lease, Uuid::nil(), leased[1].job.id);
    let wrong_job = forge(&leased[2].lease, leased[2].lease.token(), leased[3].job.id);
    let third = leased.remove(2);
    let mut ends: Vec<AttemptEnd> =
        leased.into_iter().map(|one| end(one, Outcome::Completed(None))).collect();
    ends[1].lease = wrong_token;
    assert_eq!(
        bench.store.settle(ends).await.unwrap(),
        [Settled::Applied(Status::Completed), Settled::Stale, Settled::Applied(Status::Completed)]
    );
    let forged = Leased { lease: wrong_job, ..twin(&third) };
    assert_eq!(bench.end(forged, Outcome::Completed(None)).await, Settled::Stale);
    assert_eq!(bench.end(third, failed()).await, Settled::Applied(Status::Scheduled));
    assert_eq!(bench.end(last, Outcome::Released).await, Settled::Applied(Status::Queued));
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.lease").await, 1, "the second job is still held");
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.outcome").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn settles_of_both_kinds_lock_leases_in_the_same_order() {
    let bench = Bench::new().await;
    bench.add_many(2).await;
    let (low, high) = (bench.lease_one().await, bench.lease_one().await);
    let (first, second) = (low.lease.epoch(), high.lease.epoch());
    assert!(first < second);
    let holder = bench.db.hold(&format!("SELECT FROM jobqueue.lease WHERE epoch = {first} FOR UPDATE")).await;
    let ends = vec![end(high, Outcome::Completed(None)), end(low, Outcome::Discarded(boom()))];
    let store = bench.store.clone();
    let settling = start(async move { store.settle(ends).await.unwrap() });
    eventually(MINUTE, "the settle waits", async || {
        match bench.db.sessions("wait_event_type = 'Lock'").await {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    // another transaction that locks in order, such as a heartbeat, now needs the second lease, which must not be
    // locked
    let other = format!("SELECT FROM jobqueue.lease WHERE epoch = {second} FOR UPDATE NOWAIT");
    bench.db.hold(&other).await.rollback().await.unwrap();
    holder.rollback().await.unwrap();
    let settled = settling.await.unwrap();
    assert_eq!(settled, [Settled::Applied(Status::Completed), Settled::Applied(Status::Failed)]);
}
