//! Reads many jobs: a page of those that match a filter, newest first, by keyset and never by offset.

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, JobRecord, KindName, QueueName, Status};
use tokio::time::Instant;
use uuid::Uuid;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;

/// A filter for jobs. Empty lists and `None` match all jobs.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// The job has one of these statuses.
    pub statuses: Vec<Status>,
    /// The job is in one of these queues.
    pub queues: Vec<QueueName>,
    /// The job has one of these kinds.
    pub kinds: Vec<KindName>,
    /// The job has all of these tags.
    pub tags: Vec<String>,
    /// The job was submitted at or after this timestamp.
    pub created_after: Option<DateTime<Utc>>,
    /// The job was submitted before this timestamp.
    pub created_before: Option<DateTime<Utc>>,
}

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
        let mut ids = match Self::matching(&mut unit, filter, after, limit.saturating_add(1)).await {
            Ok(ids) => ids,
            Err(error) => {
                drop(unit);
                return Err(self.after_walk(error, began).await);
            }
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = ids.len() > limit;
        ids.truncate(limit);
        let jobs = self.records(&mut unit, &ids).await?;
        unit.commit().await?;
        Ok(Page { jobs, next: if more { ids.last().copied() } else { None } })
    }

    /// Ids of up to `limit` jobs that match, newest first; for acting on many at once.
    /// [`StoreError::TooBroad`] if reading many jobs takes 5 s.
    pub async fn find(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        let mut unit = self.begin().await?;
        let began = Instant::now();
        match Self::matching(&mut unit, filter, after, limit).await {
            Ok(ids) => unit.commit().await.map(|()| ids),
            Err(error) => {
                drop(unit);
                Err(self.after_walk(error, began).await)
            }
        }
    }

    /// Each status is searched in its own table, so a few dead letters among millions of other jobs are found
    /// fast.
    async fn matching(
        unit: &mut Unit,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        Self::before_walk(unit).await?;
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

fn some(words: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then_some(words)
}
