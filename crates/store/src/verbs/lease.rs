//! lease: takes runnable jobs for a worker. One statement finds the jobs, removes them from `ready`, grants the lease and
//! returns the bodies. Bodies of jobs outside the expected range of ids are read by a second statement.

use jobqueue_core::WorkerId;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use read::LeaseResult;
use request::{LeaseRequest, Leased};

mod grant;
pub(crate) mod job;
mod read;
pub(crate) mod request;

impl Store {
    /// Leases up to `limit` jobs: queues in the given order, inside a queue by priority, inside a priority oldest first.
    /// A busy process may skip a job that was put back, for some time (`low_water`).
    /// Jobs that have expired are cancelled and not returned.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Leased>, StoreError> {
        Ok(self.lease_shares(request, &[request.worker_id]).await?.pop().unwrap_or_default())
    }

    /// The same for several workers with equal requests: these `holders`; `request.worker_id` is not used. Each gets a share with its
    /// own leases and up to `limit` jobs; all shares together have at most 1000. Returns fewer shares if there are not enough jobs.
    pub async fn lease_shares(
        &self,
        request: &LeaseRequest,
        holders: &[Option<WorkerId>],
    ) -> Result<Vec<Vec<Leased>>, StoreError> {
        let mut unit = self.one().await?;
        let result = self.lease_in(&mut unit, request, holders).await?;
        unit.commit().await?;
        Ok(self.end_not_startable(result).await)
    }

    /// The same in the caller's unit of work. It runs one statement, two more for names that this process has not cached,
    /// and one more for bodies outside the expected range of ids. The leases are valid after the commit.
    pub(crate) async fn lease_in(
        &self,
        unit: &mut Unit,
        request: &LeaseRequest,
        holders: &[Option<WorkerId>],
    ) -> Result<LeaseResult, StoreError> {
        let granted = self.grant(unit, request, holders).await?;
        self.read(unit, granted, request.limit).await
    }

    /// Ends the jobs that cannot be started, after the commit that leased them, and returns the others. If that fails,
    /// the others are still returned. These jobs stay leased until a heartbeat gives their lease back, their lease expires, or their worker is
    /// dead; the reaper then reclaims them.
    pub(crate) async fn end_not_startable(&self, result: LeaseResult) -> Vec<Vec<Leased>> {
        if !result.not_startable.is_empty()
            && let Err(error) = self.settle_not_started(result.not_startable).await
        {
            tracing::warn!(
                cause = error.word(),
                "jobs that cannot be started were not ended; they stay leased until they are reclaimed"
            );
        }
        result.shares
    }
}
