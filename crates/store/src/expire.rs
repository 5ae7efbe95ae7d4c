//! expire: waiting jobs whose `expires_at` has passed are cancelled. Running ones are left alone; a later attempt is caught
//! when it is leased.

use jobqueue_core::{Failure, JobId};

use crate::again::on_collision;
use crate::connect::Store;
use crate::error::StoreError;

impl Store {
    /// Cancels up to `limit` jobs that are due; answers how many notes of expiry were handled, for the caller to go on while
    /// that is `limit`. Safe in many processes at once.
    pub async fn expire_due(&self, limit: u32) -> Result<u32, StoreError> {
        on_collision(|| self.expire_due_once(limit)).await
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
        let reason = Failure::new("expired", "expires_at passed before the job started");
        Self::withdraw(&mut unit, &ids, &reason, true).await?;
        unit.commit().await?;
        Ok(u32::try_from(ids.len()).unwrap_or(limit))
    }
}
