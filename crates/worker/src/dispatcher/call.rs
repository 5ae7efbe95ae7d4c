//! One round trip to the store: reports first, then settlements together with the next lease. Owns the order
//! and the retries within a call; does not decide when a call is made. Runs in its own task, because a store
//! call must not be dropped before it ends.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_store::{AttemptEnd, Batches, LeaseRequest, Leased, Settled, Store, StoreError};
use tokio::time::Instant;

use crate::ended::EndedAttempt;
use crate::running::Report;

/// The contents of one round trip.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) reports: Vec<Report>,
    pub(super) ends: Vec<Arc<EndedAttempt>>,
    pub(super) request: Option<LeaseRequest>,
}

/// The result of settling one end. After an error the settlement may not be applied.
pub(super) type SettleResult = Result<Settled, Arc<StoreError>>;

/// The result of a call.
#[derive(Debug)]
pub(super) struct Done {
    /// One result for each end, in the order of the call.
    pub(super) settled: Vec<SettleResult>,
    /// Whether the reports of running attempts were stored or rejected. If false, they are kept for later.
    pub(super) reported: bool,
    /// `None` if no jobs were requested, or leasing failed.
    pub(super) leased: Option<Vec<Leased>>,
    /// Why an end must be settled again later, or why no jobs were leased.
    pub(super) failure: Option<Arc<StoreError>>,
    pub(super) took: Duration,
}

impl Done {
    /// A call of which no part is known to have succeeded.
    pub(super) fn failed(call: &Call, error: impl Into<Arc<StoreError>>, took: Duration) -> Self {
        let error = error.into();
        let settled = call.ends.iter().map(|_| Err(error.clone())).collect();
        Self { settled, reported: false, leased: None, failure: Some(error), took }
    }
}

impl Call {
    pub(super) async fn run(self: Arc<Self>, store: Store) -> Done {
        let began = Instant::now();
        if let Err(error) = self.report(&store).await {
            return Done::failed(&self, error, began.elapsed());
        }
        let done = self.settle_and_lease(&store).await;
        Done { reported: true, took: began.elapsed(), ..done }
    }

    /// Stores the reports. They go first, because a settled attempt accepts none. Reports that the database
    /// rejects are dropped: they are informational.
    async fn report(&self, store: &Store) -> Result<(), Arc<StoreError>> {
        let running = self.reports.iter().map(|report| (&*report.lease, report.content.clone()));
        let ended = self.ends.iter().filter_map(|end| Some((&*end.lease, end.unstored_report()?)));
        let reports: Vec<_> = running.chain(ended).collect();
        let mut batches = Batches::<Arc<StoreError>>::default();
        let stored = batches.run(&reports, |part| store.report(part)).await;
        let errors: Vec<Arc<StoreError>> = stored.into_iter().filter_map(Result::err).collect();
        if let Some(error) = errors.iter().find(|error| error.is_transient()) {
            return Err(error.clone());
        }
        if let Some(error) = errors.first() {
            tracing::error!(%error, reports = errors.len(), "progress and log lines were refused and are lost");
        }
        self.ends.iter().for_each(|end| end.set_reported());
        Ok(())
    }

    async fn settle_and_lease(&self, store: &Store) -> Done {
        let ends: Vec<AttemptEnd> = self.ends.iter().map(|end| end.for_store()).collect();
        let whole = match &self.request {
            Some(request) if ends.is_empty() => {
                store.lease(request).await.map(|leased| (Vec::new(), Some(leased)))
            }
            Some(request) => {
                store.settle_and_lease(ends, request).await.map(|(settled, leased)| (settled, Some(leased)))
            }
            None => store.settle(ends).await.map(|settled| (settled, None)),
        };
        match whole {
            Ok((settled, leased)) => {
                let settled = settled.into_iter().map(Ok).collect();
                Done { settled, reported: true, leased, failure: None, took: Duration::ZERO }
            }
            // one rejected end must not delay the other ends and the lease
            Err(error) if error.may_concern_one_row() && !self.ends.is_empty() => self.divided(store).await,
            Err(error) => Done::failed(self, error, Duration::ZERO),
        }
    }

    /// Settles the ends so that a rejected one does not affect the others, then leases.
    async fn divided(&self, store: &Store) -> Done {
        let mut batches = Batches::default();
        let settle =
            |ends: &[Arc<EndedAttempt>]| store.settle(ends.iter().map(|end| end.for_store()).collect());
        let mut settled: Vec<SettleResult> = batches.run(&self.ends, settle).await;
        self.fail_refused(store, &mut batches, &mut settled).await;
        let mut failure = settled
            .iter()
            .filter_map(|settled| settled.as_ref().err())
            .rfind(|error| !is_refused(error))
            .cloned();
        let mut leased = None;
        if let Some(request) = &self.request
            && failure.as_ref().is_none_or(|error| error.may_concern_one_row())
        {
            match store.lease(request).await {
                Ok(found) => leased = Some(found),
                Err(error) => failure = Some(Arc::new(error)),
            }
        }
        Done { settled, reported: true, leased, failure, took: Duration::ZERO }
    }

    /// Fails the jobs whose end the database rejected. Ends with any other error are kept: such an error says nothing
    /// about the end, so the result must not be lost.
    async fn fail_refused(
        &self,
        store: &Store,
        batches: &mut Batches<Arc<StoreError>>,
        settled: &mut [SettleResult],
    ) {
        let mut refused: Vec<(usize, &EndedAttempt)> = Vec::new();
        for (at, (end, settled)) in self.ends.iter().zip(&*settled).enumerate() {
            if let Err(error) = settled
                && is_refused(error)
            {
                let job_id = end.job.id;
                tracing::error!(%error, %job_id, "the result of an attempt was rejected; the job is failed instead");
                refused.push((at, end));
            }
        }
        let fail = |ends: &[(usize, &EndedAttempt)]| {
            store.settle(ends.iter().map(|(_, end)| end.unsettlable()).collect())
        };
        let failed = batches.run(&refused, fail).await;
        for ((at, _), result) in refused.into_iter().zip(failed) {
            settled[at] = result;
        }
    }
}

/// Whether the database rejects the data of the row, so that a retry fails in the same way.
pub(super) fn is_refused(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused(_))
}
