//! Compares the store with the table of `core::status`: for every status and every verb, the store makes the same
//! transition or rejects it.

use std::time::Duration;

use jobqueue_core::status::Move;
use jobqueue_core::{JobDraft, JobId, Lease, Outcome, Status, Verb};
use jobqueue_store::{Cancelled, Retention, Retried, Settled};

use crate::bench::{Bench, DAY, MINUTE, boom, delayed, draft, failed, twin};

/// A job in a status, with its current or last lease.
struct Subject {
    bench: Bench,
    id: JobId,
    lease: Option<jobqueue_store::Leased>,
}

/// `expires_at` is in the future; the cases of expiry advance the clock beyond it.
async fn subject(status: Status) -> Subject {
    let bench = Bench::new().await;
    let draft = JobDraft { expires_at: Some("2100-01-01T00:00:00Z".into()), ..draft() };
    let mut lease = None;
    let id = match status {
        Status::Blocked => unreachable!("nothing blocks yet"),
        Status::Scheduled => bench.add(JobDraft { delay_seconds: delayed(1e6).delay_seconds, ..draft }).await,
        Status::Queued | Status::Running => bench.add(draft).await,
        Status::Completed => bench.done(draft).await,
        Status::Failed => bench.dead(draft).await,
        Status::Cancelled => {
            let id = bench.add(draft).await;
            bench.store.jobs().cancel(&[id], &boom()).await.unwrap();
            id
        }
    };
    if status == Status::Running {
        lease = Some(bench.lease_one().await);
    }
    assert_eq!(bench.status(id).await, status);
    Subject { bench, id, lease }
}

impl Subject {
    /// Applies a verb; returns whether the store reports a transition.
    async fn apply(&mut self, verb: Verb) -> Result<bool, String> {
        let store = &self.bench.store;
        let ids = [self.id];
        Ok(match verb {
            Verb::Promote => store.jobs().promote(&ids).await.unwrap() == ids,
            Verb::Lease => !self.bench.lease(10).await.is_empty(),
            Verb::Complete => self.end(Outcome::Completed(None)).await,
            Verb::Postpone => self.end(failed()).await,
            Verb::Fail => self.end(Outcome::Discarded(boom())).await,
            Verb::Requeue => self.end(Outcome::LeaseLost).await,
            Verb::Cancel => match store.jobs().cancel(&ids, &boom()).await.unwrap()[0] {
                Cancelled::Now | Cancelled::Asked => true,
                Cancelled::Already(_) => false,
                Cancelled::Unknown => return Err("unknown".to_owned()),
            },
            Verb::Expire => {
                let before = self.bench.status(self.id).await;
                self.bench.pass(DAY * 366 * 90);
                self.bench.store.expire_due(10).await.unwrap();
                self.bench.status(self.id).await != before
            }
            Verb::Retry => match store.jobs().retry(&ids).await.unwrap()[0] {
                Retried::Now => true,
                Retried::Refused(_) => false,
                other => return Err(format!("{other:?}")),
            },
            Verb::Prune => {
                self.bench.pass(40 * DAY);
                let retention = Retention { completed: DAY, failed: DAY };
                self.bench.store.upkeep().prune(retention).await.unwrap().jobs > 0
            }
        })
    }

    async fn end(&self, outcome: Outcome) -> bool {
        let leased = match &self.lease {
            Some(leased) => twin(leased),
            None => self.forged(),
        };
        self.bench.end(leased, outcome).await != Settled::Stale
    }

    /// A forged lease, for jobs that do not run.
    fn forged(&self) -> jobqueue_store::Leased {
        let lease = Lease::grant(1, uuid::Uuid::nil(), self.id, 0, 1).unwrap();
        let job = jobqueue_core::Job {
            id: self.id,
            queue: jobqueue_core::QueueName::default(),
            kind: "noop".parse().unwrap(),
            payload: jobqueue_core::Json::default(),
            priority: 0,
            attempt: 1,
            max_attempts: 10,
            retry: None,
            timeout: None,
            soft_timeout: None,
            expires_at: None,
            unique_key: None,
            tags: vec![],
            metadata: None,
            traceparent: None,
            has_webhook: false,
        };
        jobqueue_store::Leased { job, lease, waited: None }
    }

    async fn status(&self) -> Option<Status> {
        self.bench.store.job(self.id).await.unwrap().map(|record| record.status)
    }
}

#[tokio::test]
async fn every_verb_in_every_status_agrees_with_the_table() {
    for status in Status::ALL.into_iter().filter(|status| *status != Status::Blocked) {
        for verb in Verb::ALL {
            let mut subject = subject(status).await;
            let said = subject.apply(verb).await.unwrap_or_else(|odd| panic!("{status} {verb:?}: {odd}"));
            let expected = match status.on(verb) {
                Move::To(next) => (true, Some(next)),
                Move::Asked => (true, Some(status)),
                Move::Gone => (true, None),
                Move::Refused => (false, Some(status)),
            };
            assert_eq!((said, subject.status().await), expected, "{status} {verb:?}");
            let conserved =
                "SELECT (SELECT sum(created - pruned) FROM jobqueue.tally) - (SELECT count(*) FROM jobs)";
            assert_eq!(subject.bench.count(conserved).await, 0, "{status} {verb:?}");
        }
    }
}

#[tokio::test]
async fn a_lost_lease_is_requeued_as_by_the_reaper() {
    let mut subject = subject(Status::Running).await;
    subject.bench.pass(MINUTE);
    let reclaimed = subject.bench.store.reclaim(Duration::ZERO, 10).await.unwrap();
    assert_eq!(reclaimed.jobs, [subject.id]);
    assert_eq!(Move::To(subject.status().await.unwrap()), Status::Running.on(Verb::Requeue));
}
