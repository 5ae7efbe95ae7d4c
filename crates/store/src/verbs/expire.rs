//! expire: cancels waiting jobs whose `expires_at` has passed. Running jobs continue. If such a job is leased
//! again, the lease cancels it.

use jobqueue_core::{Failure, JobId};

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;

impl Store {
    /// Handles up to `limit` rows of `expiry` that are due, and returns how many. The caller calls it again
    /// while the result is `limit`. Several processes may call this at the same time.
    pub async fn expire_due(&self, limit: u32) -> Result<u32, StoreError> {
        retry_on_conflict(|| self.expire_due_once(limit)).await
    }

    async fn expire_due_once(&self, limit: u32) -> Result<u32, StoreError> {
        let mut unit = self.begin().await?;
        let due = sqlx::query_scalar!(
            "-- store.expire
            DELETE FROM jobqueue.expiry WHERE job_id = ANY (ARRAY(
                SELECT job_id FROM jobqueue.expiry WHERE expires_at <= jobqueue.now()
                ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING job_id",
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        let ids: Vec<JobId> = due.into_iter().map(JobId::from_uuid).collect();
        Self::withdraw(&mut unit, &ids, &Failure::expired()).await?;
        unit.commit().await?;
        Ok(u32::try_from(ids.len()).unwrap_or(limit))
    }
}
