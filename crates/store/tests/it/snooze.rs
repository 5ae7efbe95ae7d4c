//! Snoozes: they are counted when they are applied, limited, shown, and deleted with their job.

use std::time::Duration;

use jobqueue_core::limits::DEFAULT_MAX_SNOOZES;
use jobqueue_core::{JobDraft, JobId, Outcome, Status};
use jobqueue_store::Settled;

use crate::bench::{Bench, draft, end, failed, twin};

const LATER: Outcome = Outcome::Snoozed(Duration::from_secs(1));

/// Advances the clock until the job is due, and leases it.
async fn again(bench: &mut Bench) -> jobqueue_store::Leased {
    bench.pass(Duration::from_secs(2));
    bench.store.promote_due(10).await.unwrap();
    bench.lease_one().await
}

async fn snoozes(bench: &Bench, id: JobId) -> (u32, u32) {
    let record = bench.record(id).await;
    (record.snoozes, record.max_snoozes)
}

#[tokio::test]
async fn a_snooze_beyond_the_limit_fails_the_job_and_a_retry_starts_at_zero() {
    let mut bench = Bench::new().await;
    let id = bench.add(JobDraft { max_snoozes: Some(2), ..draft() }).await;
    assert_eq!(snoozes(&bench, id).await, (0, 2));
    let mut leased = bench.lease_one().await;
    for count in 1..=2 {
        assert_eq!(bench.end(leased, LATER).await, Settled::Applied(Status::Scheduled));
        assert_eq!(snoozes(&bench, id).await, (count, 2));
        leased = again(&mut bench).await;
    }
    assert_eq!(bench.end(leased, LATER).await, Settled::Applied(Status::Failed));
    let record = bench.record(id).await;
    assert_eq!((record.snoozes, record.error.unwrap().kind.as_str()), (2, "too_many_snoozes"));
    assert_eq!(bench.count("SELECT sum(snoozed) FROM jobqueue.tally").await, 2);
    bench.store.jobs().retry(&[id]).await.unwrap();
    assert_eq!(snoozes(&bench, id).await, (0, 2));
    let leased = bench.lease_one().await;
    assert_eq!(bench.end(leased, LATER).await, Settled::Applied(Status::Scheduled));
}

#[tokio::test]
async fn snoozing_ends_at_expires_at() {
    let mut bench = Bench::new().await;
    let expires_at = bench.store.time().await.unwrap().unwrap() + chrono::TimeDelta::seconds(5);
    let id = bench.add(JobDraft { expires_at: Some(expires_at.to_rfc3339()), ..draft() }).await;
    let mut leased = bench.lease_one().await;
    for _ in 0..2 {
        assert_eq!(bench.end(leased, LATER).await, Settled::Applied(Status::Scheduled));
        leased = again(&mut bench).await;
    }
    assert_eq!(bench.end(leased, LATER).await, Settled::Applied(Status::Scheduled));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.store.expire_due(10).await.unwrap(), 1);
    let record = bench.record(id).await;
    assert_eq!((record.status, record.snoozes), (Status::Cancelled, 3));
}

#[tokio::test]
async fn the_view_shows_snoozes_in_every_status() {
    let mut bench = Bench::new().await;
    for outcome in [Outcome::Completed(None), failed(), Outcome::Cancelled] {
        bench.add(JobDraft { max_attempts: Some(1), ..draft() }).await;
        let leased = bench.lease_one().await;
        bench.end(leased, LATER).await;
        let leased = again(&mut bench).await;
        bench.end(leased, outcome).await;
    }
    bench.add(draft()).await;
    let leased = bench.lease_one().await;
    bench.end(leased, LATER).await;
    let leased = again(&mut bench).await;
    bench.add(draft()).await;
    let scheduled = bench.add(crate::bench::delayed(600.0)).await;
    let shown = "SELECT string_agg(status || ' ' || snoozes, ', ' ORDER BY status) FROM jobqueue.jobs";
    let shown: String = sqlx::query_scalar(shown).fetch_one(&bench.pool).await.unwrap();
    assert_eq!(shown, "cancelled 1, completed 1, failed 1, queued 0, running 1, scheduled 0");
    bench.end(leased, LATER).await;
    bench.store.jobs().cancel(&[scheduled], &crate::bench::boom()).await.unwrap();
    let waiting = "SELECT snoozes::bigint FROM jobqueue.jobs WHERE status = 'scheduled'";
    assert_eq!(bench.count(waiting).await, 2);
}

#[tokio::test]
async fn only_snoozes_with_a_valid_lease_count() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    for outcome in [failed(), Outcome::Released, Outcome::LeaseLost] {
        let leased = bench.lease_one().await;
        bench.end(leased, outcome).await;
        bench.pass(Duration::from_hours(1));
        bench.store.promote_due(10).await.unwrap();
    }
    assert_eq!(snoozes(&bench, id).await, (0, DEFAULT_MAX_SNOOZES));
    let leased = bench.lease_one().await;
    let late = twin(&leased);
    assert_eq!(bench.end(leased, LATER).await, Settled::Applied(Status::Scheduled));
    assert_eq!(bench.end(late, LATER).await, Settled::Stale);
    assert_eq!(snoozes(&bench, id).await.0, 1);
    // sent twice in one call, it counts once
    let leased = again(&mut bench).await;
    let ends = vec![end(twin(&leased), LATER), end(leased, LATER)];
    bench.store.settle(ends).await.unwrap();
    assert_eq!(snoozes(&bench, id).await.0, 2);
}

#[tokio::test]
async fn many_jobs_keep_their_limits_and_counts_are_deleted_with_the_jobs() {
    let bench = Bench::new().await;
    let drafts = (0..300).map(|n| JobDraft { max_snoozes: (n % 2 == 0).then_some(n), ..draft() });
    bench.submit(drafts.collect()).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.snooze").await, 150);
    assert_eq!(
        bench.count("SELECT count(*) FROM jobqueue.snooze s JOIN jobqueue.body b ON b.id = s.job_id").await,
        150
    );
    assert_eq!(bench.store.queues().purge(&"default".parse().unwrap(), None, 300).await.unwrap(), 300);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.snooze").await, 0);
}
