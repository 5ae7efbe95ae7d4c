//! settle and lease in one transaction, for a worker that does both at the same time.

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::verbs::lease::request::{LeaseRequest, Leased};
use crate::verbs::settle::end::{AttemptEnd, Settled};

impl Store {
    /// Ends attempts and leases more jobs in the same transaction, so a busy worker has one commit a cycle.
    pub async fn settle_and_lease(
        &self,
        ends: Vec<AttemptEnd>,
        request: &LeaseRequest,
    ) -> Result<(Vec<Settled>, Vec<Leased>), StoreError> {
        let mut unit = self.begin().await?;
        let settled = Self::settle_in(&mut unit, ends).await?;
        let result = self.lease_in(&mut unit, request, &[request.worker_id]).await?;
        unit.commit().await?;
        Ok((settled, self.end_not_startable(result).await.pop().unwrap_or_default()))
    }
}
