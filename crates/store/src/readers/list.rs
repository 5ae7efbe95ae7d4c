//! Reads many jobs: a page of those that match a filter, newest first, by keyset and never by offset.

use jobqueue_core::{JobId, JobRecord, Status};
use tokio::time::Instant;
use uuid::Uuid;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;

mod filter;
mod narrow;

use filter::some;
pub use filter::{JobFilter, Matches};

/// A page of jobs.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The jobs, newest first.
    pub jobs: Vec<JobRecord>,
    /// The id to pass as `after` for the next page; `None` if there are no more jobs.
    pub next: Option<JobId>,
}

impl Store {
    /// Up to `limit` jobs that match, newest first, older than `after`. [`StoreError::TooBroad`] if reading
    /// many jobs takes 5 s.
    pub async fn list(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        // one snapshot, so that a job does not change its status between the search and the read
        let mut unit = self.begin_snapshot().await?;
        let began = Instant::now();
        let found = match Self::search(&mut unit, filter, after, limit).await {
            Ok(found) => found,
            Err(error) => {
                drop(unit);
                return Err(self.after_walk(error, began).await);
            }
        };
        let jobs = self.records(&mut unit, &found.ids).await?;
        unit.commit().await?;
        Ok(Page { jobs, next: found.next })
    }

    /// Ids of up to `limit` jobs that match, newest first; for acting on many at once, and for counting.
    /// [`StoreError::TooBroad`] if reading many jobs takes 5 s.
    pub async fn find(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Matches, StoreError> {
        let mut unit = self.begin_snapshot().await?;
        let began = Instant::now();
        match Self::search(&mut unit, filter, after, limit).await {
            Ok(found) => unit.commit().await.map(|()| found),
            Err(error) => {
                drop(unit);
                Err(self.after_walk(error, began).await)
            }
        }
    }

    /// The statuses of those of these jobs that exist.
    pub async fn statuses(&self, ids: &[JobId]) -> Result<Vec<(JobId, Status)>, StoreError> {
        let wanted: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut unit = self.one().await?;
        let rows = sqlx::query!(
            r#"-- store.statuses
            SELECT i.id AS "id!", jobqueue.status(i.id) AS status FROM unnest($1::uuid[]) AS i (id)"#,
            &wanted,
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let known =
            rows.into_iter().filter_map(|row| Some((JobId::from_uuid(row.id), row.status?.parse().ok()?)));
        Ok(known.collect())
    }

    /// Those that match all parts of the filter.
    async fn search(
        unit: &mut Unit,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Matches, StoreError> {
        Self::before_walk(unit).await?;
        if filter.needs_a_look() {
            return narrow::search(unit, filter, after, limit).await;
        }
        let ids = Self::indexed(unit, filter, after, limit.saturating_add(1)).await?;
        Ok(Matches::first(ids, limit))
    }

    /// Those that match the part of the filter that indexes answer. Each status is searched in its own table, so a few dead letters
    /// among millions of other jobs are found fast.
    async fn indexed(
        unit: &mut Unit,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        let wants = |status| filter.statuses.contains(&status);
        let queues: Option<Vec<String>> = some(filter.queues.iter().map(ToString::to_string));
        let kinds: Option<Vec<String>> = some(filter.kinds.iter().map(ToString::to_string));
        let tags: Option<Vec<String>> = some(filter.tags.iter().cloned());
        // Bounds are scalar sub-selects and statuses are constants. Only then each branch scans one index in
        // its order.
        let ids = sqlx::query_file_scalar!(
            "src/readers/list.sql",
            queues.as_deref(),
            kinds.as_deref(),
            tags.as_deref(),
            filter.statuses.is_empty(),
            i64::from(limit),
            after.map(JobId::as_uuid),
            filter.created_after,
            filter.created_before,
            wants(Status::Completed),
            wants(Status::Queued),
            wants(Status::Scheduled),
            wants(Status::Running),
            wants(Status::Failed),
            wants(Status::Cancelled),
            wants(Status::Blocked),
        )
        .fetch_all(&mut **unit)
        .await?;
        let ids: Vec<Uuid> = ids;
        Ok(ids.into_iter().map(JobId::from_uuid).collect())
    }
}
