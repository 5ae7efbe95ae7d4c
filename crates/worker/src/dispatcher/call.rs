//! One round trip to the store: reports, then settlements together with the next lease. Owns the order and what is tried
//! again; never decides when. Runs in a task of its own, because a store call must not be dropped half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jobqueue_core::{Failure, Job, Lease, Settlement, Status, settle};
use jobqueue_store::{AttemptEnd, AttemptReport, LeaseRequest, Leased, Settled, Store, StoreError};
use tokio::time::Instant;

use crate::executor::Ended;
use crate::running::Report;

/// An attempt that ended and waits to be settled. Kept until the database has confirmed it.
#[derive(Debug)]
pub(super) struct End {
    pub(super) job: Arc<Job>,
    pub(super) lease: Arc<Lease>,
    pub(super) settlement: Settlement,
    pub(super) ran: Option<Duration>,
    /// When it ended: it may wait for its settle, through an outage even.
    ended_at: Instant,
    /// The last words of the handler.
    report: Option<AttemptReport>,
    /// They are stored; a second try must not add them again.
    reported: AtomicBool,
    /// A try had no answer: it may have been applied.
    pub(super) tried: AtomicBool,
}

impl End {
    /// Decides what becomes of the job.
    pub(super) fn of(ended: Ended) -> Self {
        let Ended { attempt, outcome, ran } = ended;
        let settlement = settle(&attempt.job, outcome, rand::random());
        let report = attempt.held.report.take();
        Self {
            job: attempt.job,
            lease: attempt.held.lease,
            settlement,
            ran,
            ended_at: Instant::now(),
            report,
            reported: AtomicBool::new(false),
            tried: AtomicBool::new(false),
        }
    }

    /// For the store, which uses it up; ours stays for another try.
    fn for_store(&self) -> AttemptEnd {
        AttemptEnd {
            lease: self.lease.again(),
            settlement: self.settlement.clone(),
            ran: self.ran.map(|ran| ran + self.ended_at.elapsed()),
            holds_key: self.job.unique_key.is_some(),
        }
    }
}

/// What to do in one round trip.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) reports: Vec<Report>,
    pub(super) ends: Vec<Arc<End>>,
    pub(super) request: Option<LeaseRequest>,
}

/// What became of one end.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The job is in this status now.
    Applied(Status),
    /// The lease was lost, or an earlier try was applied after all.
    Stale,
    /// The database will never take it.
    Refused(StoreError),
}

/// What became of a call.
#[derive(Debug)]
pub(super) struct Done {
    /// For each end, in order; or why none is known to be settled.
    pub(super) settled: Result<Vec<Verdict>, StoreError>,
    /// The reports of running attempts were dealt with.
    pub(super) reported: bool,
    /// `None` if nothing was asked for.
    pub(super) leased: Option<Result<Vec<Leased>, StoreError>>,
    pub(super) took: Duration,
}

impl Call {
    pub(super) async fn run(self: Arc<Self>, store: Store) -> Done {
        let began = Instant::now();
        if let Err(error) = self.report(&store).await {
            return Done { settled: Err(error), reported: false, leased: None, took: began.elapsed() };
        }
        let (settled, leased) = self.settle_and_lease(&store).await;
        Done { settled, reported: true, leased, took: began.elapsed() }
    }

    /// Reports go first: a settled lease takes none. One that the database refuses is dropped, for it is only a comfort.
    async fn report(&self, store: &Store) -> Result<(), StoreError> {
        let running = self.reports.iter().map(|report| (&*report.lease, report.news.clone()));
        let unreported = self.ends.iter().filter(|end| !end.reported.load(Ordering::Relaxed));
        let ended = unreported.filter_map(|end| Some((&*end.lease, end.report.clone()?)));
        let reports: Vec<_> = running.chain(ended).collect();
        match store.report(&reports).await {
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                tracing::error!(%error, reports = reports.len(), "progress and log lines were refused and are lost");
            }
            Ok(_) => {}
        }
        self.ends.iter().for_each(|end| end.reported.store(true, Ordering::Relaxed));
        Ok(())
    }

    async fn settle_and_lease(
        &self,
        store: &Store,
    ) -> (Result<Vec<Verdict>, StoreError>, Option<LeasedResult>) {
        let ends: Vec<AttemptEnd> = self.ends.iter().map(|end| end.for_store()).collect();
        let whole = match &self.request {
            Some(request) if ends.is_empty() => return (Ok(Vec::new()), Some(store.lease(request).await)),
            Some(request) => store
                .settle_and_lease(ends, request)
                .await
                .map(|(settled, leased)| (settled, Some(Ok(leased)))),
            None => store.settle(ends).await.map(|settled| (settled, None)),
        };
        match whole {
            Ok((settled, leased)) => (Ok(settled.into_iter().map(verdict).collect()), leased),
            Err(error) if error.is_transient() => (Err(error), None),
            // one bad apple, or the lease: the good ends must not wait for it
            Err(error) => {
                let settled = self.settle_each(store).await;
                (settled, self.request.is_some().then_some(Err(error)))
            }
        }
    }

    async fn settle_each(&self, store: &Store) -> Result<Vec<Verdict>, StoreError> {
        let mut verdicts = Vec::with_capacity(self.ends.len());
        for end in &self.ends {
            verdicts.push(match settle_one(store, end.for_store()).await {
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    let failure = Failure::new("unsettlable", "the database refused to store how the attempt ended");
                    let failed = AttemptEnd { settlement: Settlement::Fail { failure }, ..end.for_store() };
                    tracing::error!(%error, job_id = %end.job.id, "an end was refused; the job is failed instead");
                    match settle_one(store, failed).await {
                        Err(error) if error.is_transient() => return Err(error),
                        Err(error) => Verdict::Refused(error),
                        Ok(verdict) => verdict,
                    }
                }
                Ok(verdict) => verdict,
            });
        }
        Ok(verdicts)
    }
}

type LeasedResult = Result<Vec<Leased>, StoreError>;

async fn settle_one(store: &Store, end: AttemptEnd) -> Result<Verdict, StoreError> {
    let settled = store.settle(vec![end]).await?;
    Ok(settled.into_iter().next().map_or(Verdict::Stale, verdict))
}

fn verdict(settled: Settled) -> Verdict {
    match settled {
        Settled::Applied(status) => Verdict::Applied(status),
        Settled::Stale => Verdict::Stale,
    }
}
