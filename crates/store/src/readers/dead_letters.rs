//! Reads dead letters: by filter, newest first, and one by one.

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, KindName, QueueName};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::handles::DeadLetters;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;

pub(crate) mod groups;
pub(crate) mod recent;
pub(crate) mod redrives;

/// Characters of a message in a list.
const MESSAGE_CHARS: i32 = 500;

/// A filter for dead letters. Empty lists and `None` match all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetterFilter {
    /// It belongs to this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Uuid>,
    /// Its job is in one of these queues.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<QueueName>,
    /// Its job has one of these kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<KindName>,
    /// Its job has all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its error has one of these types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub error_types: Vec<String>,
    /// The message of its error contains this text, in upper or lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// It failed at or after this timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_after: Option<DateTime<Utc>>,
    /// It failed before this timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_before: Option<DateTime<Utc>>,
}

/// One dead letter, as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The job.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Its kind.
    pub kind: String,
    /// Its group.
    pub fingerprint: Uuid,
    /// When it failed.
    pub failed_at: DateTime<Utc>,
    /// Number of attempts.
    pub attempt: u16,
    /// Type of the error.
    pub error_type: String,
    /// The beginning of its message.
    pub message: String,
    /// Labels of the job.
    pub tags: Vec<String>,
}

/// The position of a page: the last dead letter of the page before.
pub type LetterPosition = (DateTime<Utc>, JobId);

/// A filter as columns for SQL.
pub(crate) struct FilterColumns {
    pub(crate) queue: Option<String>,
    pub(crate) queues: Option<Vec<String>>,
    pub(crate) kinds: Option<Vec<String>>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) error_types: Option<Vec<String>>,
}

impl DeadLetterFilter {
    /// Whether it matches all dead letters.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Lists that are empty become null, so that a plan for given values leaves them out. One queue alone is an equality, so that its index
    /// gives the order.
    pub(crate) fn columns(&self) -> FilterColumns {
        let queues: Vec<String> = self.queues.iter().map(ToString::to_string).collect();
        FilterColumns {
            queue: if let [queue] = queues.as_slice() { Some(queue.clone()) } else { None },
            queues: Some(queues).filter(|queues| queues.len() > 1),
            kinds: some(self.kinds.iter().map(ToString::to_string)),
            tags: some(self.tags.iter().cloned()),
            error_types: some(self.error_types.iter().cloned()),
        }
    }
}

impl DeadLetters<'_> {
    /// Up to `limit` dead letters that match, newest first, those after `after`, and whether there are more. [`StoreError::TooBroad`] if
    /// reading many takes 5 s.
    pub async fn list(
        &self,
        filter: &DeadLetterFilter,
        after: Option<LetterPosition>,
        limit: u32,
    ) -> Result<(Vec<DeadLetter>, bool), StoreError> {
        // one snapshot, so that a job is not retried between the search and the read
        let mut unit = self.0.begin_snapshot().await?;
        let began = Instant::now();
        let mut ids = match matching(&mut unit, filter, after, limit.saturating_add(1)).await {
            Ok(ids) => ids,
            Err(error) => {
                drop(unit);
                return Err(self.0.after_walk(error, began).await);
            }
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = ids.len() > limit;
        ids.truncate(limit);
        let letters = read(&mut unit, &ids).await?;
        unit.commit().await?;
        Ok((letters, more))
    }

    /// Ids of up to `limit` dead letters that match, newest first; for acting on many at once.
    pub async fn find(&self, filter: &DeadLetterFilter, limit: u32) -> Result<Vec<JobId>, StoreError> {
        let mut unit = self.0.begin().await?;
        let began = Instant::now();
        match matching(&mut unit, filter, None, limit).await {
            Ok(ids) => unit.commit().await.map(|()| ids.into_iter().map(JobId::from_uuid).collect()),
            Err(error) => {
                drop(unit);
                Err(self.0.after_walk(error, began).await)
            }
        }
    }

    /// The dead letter of a job, or `None`.
    pub async fn get(&self, id: JobId) -> Result<Option<DeadLetter>, StoreError> {
        let mut unit = self.0.one().await?;
        let letters = read(&mut unit, &[id.as_uuid()]).await?;
        unit.commit().await?;
        Ok(letters.into_iter().next())
    }

    /// The job that took the place of a dead letter, if one did.
    pub async fn replaced_by(&self, id: JobId) -> Result<Option<JobId>, StoreError> {
        let mut unit = self.0.one().await?;
        let found = sqlx::query_scalar!(
            "SELECT replaced_by FROM jobqueue.replacement WHERE job_id = $1",
            id.as_uuid()
        );
        let found = found.fetch_optional(&mut *unit).await?;
        unit.commit().await?;
        Ok(found.map(JobId::from_uuid))
    }

    /// How many match. `None` if counting takes 5 s.
    pub async fn count(&self, filter: &DeadLetterFilter) -> Result<Option<u64>, StoreError> {
        let mut unit = self.0.begin().await?;
        let began = Instant::now();
        match count(&mut unit, filter).await {
            Ok(count) => unit.commit().await.map(|()| Some(count)),
            Err(error) => {
                drop(unit);
                match self.0.after_walk(error, began).await {
                    StoreError::TooBroad => Ok(None),
                    error => Err(error),
                }
            }
        }
    }
}

async fn count(unit: &mut Unit, filter: &DeadLetterFilter) -> Result<u64, StoreError> {
    Store::before_walk(unit).await?;
    let columns = filter.columns();
    let count = sqlx::query_scalar!(
        r#"-- store.dead_letters.count
        SELECT count(*) AS "count!" FROM jobqueue.dead_letter d
        WHERE ($1::uuid IS NULL OR d.fingerprint = $1)
          AND ($2::text IS NULL OR d.queue_id = (SELECT q.id FROM jobqueue.queue q WHERE q.name = $2))
          AND ($3::text[] IS NULL OR d.queue_id = ANY (ARRAY(SELECT q.id FROM jobqueue.queue q WHERE q.name = ANY ($3))))
          AND ($4::text[] IS NULL OR d.kind = ANY (ARRAY(SELECT k.id FROM jobqueue.kind k WHERE k.name = ANY ($4))))
          AND ($5::text[] IS NULL OR (SELECT b.tags @> $5 FROM jobqueue.body b WHERE b.id = d.job_id))
          AND ($6::text[] IS NULL OR (SELECT c.error_type = ANY ($6) FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = d.fingerprint))
          AND ($7::text IS NULL OR (SELECT strpos(lower(o.detail->>'message'), lower($7)) > 0 FROM jobqueue.outcome o WHERE o.job_id = d.job_id))
          AND ($8::timestamptz IS NULL OR d.failed_at >= $8)
          AND ($9::timestamptz IS NULL OR d.failed_at < $9)"#,
        filter.group,
        columns.queue,
        columns.queues.as_deref(),
        columns.kinds.as_deref(),
        columns.tags.as_deref(),
        columns.error_types.as_deref(),
        filter.text,
        filter.failed_after,
        filter.failed_before,
    )
    .fetch_one(&mut **unit)
    .await?;
    Ok(to_count(count))
}

async fn matching(
    unit: &mut Unit,
    filter: &DeadLetterFilter,
    after: Option<LetterPosition>,
    limit: u32,
) -> Result<Vec<Uuid>, StoreError> {
    Store::before_walk(unit).await?;
    let columns = filter.columns();
    let ids = sqlx::query_scalar!(
        "-- store.dead_letters.find
        SELECT d.job_id FROM jobqueue.dead_letter d
        WHERE ($1::uuid IS NULL OR d.fingerprint = $1)
          AND ($2::text IS NULL OR d.queue_id = (SELECT q.id FROM jobqueue.queue q WHERE q.name = $2))
          AND ($3::text[] IS NULL OR d.queue_id = ANY (ARRAY(SELECT q.id FROM jobqueue.queue q WHERE q.name = ANY ($3))))
          AND ($4::text[] IS NULL OR d.kind = ANY (ARRAY(SELECT k.id FROM jobqueue.kind k WHERE k.name = ANY ($4))))
          AND ($5::text[] IS NULL OR (SELECT b.tags @> $5 FROM jobqueue.body b WHERE b.id = d.job_id))
          AND ($6::text[] IS NULL OR (SELECT c.error_type = ANY ($6) FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = d.fingerprint))
          AND ($7::text IS NULL OR (SELECT strpos(lower(o.detail->>'message'), lower($7)) > 0 FROM jobqueue.outcome o WHERE o.job_id = d.job_id))
          AND ($8::timestamptz IS NULL OR d.failed_at >= $8)
          AND ($9::timestamptz IS NULL OR d.failed_at < $9)
          AND ($10::timestamptz IS NULL OR (d.failed_at, d.job_id) < ($10, $11))
        ORDER BY d.failed_at DESC, d.job_id DESC LIMIT $12",
        filter.group,
        columns.queue,
        columns.queues.as_deref(),
        columns.kinds.as_deref(),
        columns.tags.as_deref(),
        columns.error_types.as_deref(),
        filter.text,
        filter.failed_after,
        filter.failed_before,
        after.map(|(at, _)| at),
        after.map(|(_, id)| id.as_uuid()),
        i64::from(limit),
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(ids)
}

/// The dead letters of these jobs, in this order, each by key. A job that is none is left out.
pub(crate) async fn read(unit: &mut Unit, ids: &[Uuid]) -> Result<Vec<DeadLetter>, StoreError> {
    let rows = sqlx::query!(
        r#"-- store.dead_letters.read
        SELECT i.id AS "id!", d.failed_at AS "failed_at!", d.fingerprint AS "fingerprint!",
               (SELECT q.name FROM jobqueue.queue q WHERE q.id = d.queue_id) AS "queue!",
               (SELECT k.name FROM jobqueue.kind k WHERE k.id = d.kind) AS "kind!",
               o.attempt AS "attempt!", o.error_type AS "error_type!", o.message AS "message!",
               (SELECT b.tags FROM jobqueue.body b WHERE b.id = i.id) AS "tags?: Vec<String>"
        FROM unnest($1::uuid[]) WITH ORDINALITY AS i (id, place)
        CROSS JOIN LATERAL (SELECT failed_at, fingerprint, queue_id, kind FROM jobqueue.dead_letter WHERE job_id = i.id LIMIT 1) d
        CROSS JOIN LATERAL (
            SELECT attempt, coalesce(detail->>'type', '') AS error_type, coalesce(left(detail->>'message', $2), '') AS message
            FROM jobqueue.outcome WHERE job_id = i.id AND status = 6 LIMIT 1) o
        ORDER BY i.place"#,
        ids,
        MESSAGE_CHARS,
    )
    .fetch_all(&mut **unit)
    .await?;
    let letters = rows.into_iter().map(|row| DeadLetter {
        id: JobId::from_uuid(row.id),
        queue: row.queue,
        kind: row.kind,
        fingerprint: row.fingerprint,
        failed_at: row.failed_at,
        attempt: u16::try_from(row.attempt).unwrap_or(0),
        error_type: row.error_type,
        message: row.message,
        tags: row.tags.unwrap_or_default(),
    });
    Ok(letters.collect())
}

fn some(words: impl Iterator<Item = String>) -> Option<Vec<String>> {
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then_some(words)
}
