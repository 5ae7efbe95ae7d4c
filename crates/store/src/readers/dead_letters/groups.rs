//! Reads groups of dead letters. The reaper keeps their counts, so a page of groups costs the same for ten dead letters and for millions.

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, KindName, QueueName};
use tokio::time::Instant;
use uuid::Uuid;

use super::recent::{GroupHour, recent};
use super::{DeadLetter, read};
use crate::handles::DeadLetters;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;

/// Examples of a group in a list.
const EXAMPLES: i64 = 3;
/// Examples of one group.
const MORE_EXAMPLES: i64 = 10;

/// The order of a list of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupOrder {
    /// The largest first.
    #[default]
    Count,
    /// The one with the newest failure first.
    LastFailedAt,
}

/// A filter for groups. `None` matches all.
#[derive(Clone, Debug, Default)]
pub struct GroupFilter {
    /// The group has dead letters in this queue. The counts are those of the queue.
    pub queue: Option<QueueName>,
    /// Its jobs have this kind.
    pub kind: Option<KindName>,
    /// Its errors have this type.
    pub error_type: Option<String>,
    /// Its message contains this text, in upper or lower case.
    pub text: Option<String>,
}

/// Dead letters of the same kind with the same cause.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterGroup {
    /// Identifies the group: a hash of the kind and the cause.
    pub fingerprint: Uuid,
    /// Kind of the jobs.
    pub kind: String,
    /// Type of the errors.
    pub error_type: String,
    /// The message, with placeholders for what differs.
    pub message: String,
    /// Number of dead letters at the last count, about a second ago.
    pub count: u64,
    /// When one first failed like this. It stays when that one is retried or deleted.
    pub first_failed_at: DateTime<Utc>,
    /// When one last failed like this.
    pub last_failed_at: DateTime<Utc>,
    /// The newest dead letters. With a filter for a queue, those of the queue among the newest 1000 of the group.
    pub examples: Vec<JobId>,
}

/// A group with its share of each queue and its newest dead letters.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterGroupDetail {
    /// The group.
    pub group: DeadLetterGroup,
    /// Number of dead letters in each queue.
    pub queues: Vec<(String, u64)>,
    /// The newest dead letters.
    pub examples: Vec<DeadLetter>,
    /// When they failed, by hour.
    pub recent: Vec<GroupHour>,
}

/// The position of a page: what the last group of the page before is ordered by, and its fingerprint.
pub type GroupPosition = (i64, Uuid);

struct GroupRow {
    fingerprint: Uuid,
    count: i64,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    kind: String,
    error_type: Option<String>,
    message: Option<String>,
    examples: Vec<Uuid>,
}

impl From<GroupRow> for DeadLetterGroup {
    fn from(row: GroupRow) -> Self {
        Self {
            fingerprint: row.fingerprint,
            kind: row.kind,
            error_type: row.error_type.unwrap_or_default(),
            message: row.message.unwrap_or_default(),
            count: to_count(row.count),
            first_failed_at: row.first_at,
            last_failed_at: row.last_at,
            examples: row.examples.into_iter().map(JobId::from_uuid).collect(),
        }
    }
}

impl DeadLetterGroup {
    /// Its position in this order.
    pub fn position(&self, order: GroupOrder) -> GroupPosition {
        let key = match order {
            GroupOrder::Count => i64::try_from(self.count).unwrap_or(i64::MAX),
            GroupOrder::LastFailedAt => self.last_failed_at.timestamp_micros(),
        };
        (key, self.fingerprint)
    }
}

impl DeadLetters<'_> {
    /// Up to `limit` groups, those after `after`, and whether there are more. Counts change, so a group can be on two pages or on none.
    /// [`StoreError::TooBroad`] if reading many takes 5 s.
    pub async fn groups(
        &self,
        filter: &GroupFilter,
        order: GroupOrder,
        after: Option<GroupPosition>,
        limit: u32,
    ) -> Result<(Vec<DeadLetterGroup>, bool), StoreError> {
        let mut unit = self.0.begin().await?;
        Store::before_walk(&mut unit).await?;
        let queue_id = match &filter.queue {
            None => Some(0),
            Some(queue) => {
                let id = sqlx::query_scalar!("SELECT id FROM jobqueue.queue WHERE name = $1", queue.as_str());
                id.fetch_optional(&mut *unit).await?
            }
        };
        let Some(queue_id) = queue_id else { return Ok((vec![], false)) };
        let more = i64::from(limit) + 1;
        let began = Instant::now();
        let found = match order {
            GroupOrder::Count => Self::largest(&mut unit, queue_id, filter, after, (more, EXAMPLES)).await,
            GroupOrder::LastFailedAt => Self::latest(&mut unit, queue_id, filter, after, more).await,
        };
        let mut rows = match found {
            Ok(rows) => rows,
            Err(error) => {
                drop(unit);
                return Err(self.0.after_walk(error, began).await);
            }
        };
        unit.commit().await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows.into_iter().map(DeadLetterGroup::from).collect(), more))
    }

    /// The groups with the most dead letters, the largest first, each with up to `examples` of them. One statement, which reads by key.
    pub async fn largest_groups(
        &self,
        limit: u32,
        examples: u32,
    ) -> Result<Vec<DeadLetterGroup>, StoreError> {
        let mut unit = self.0.one().await?;
        let sizes = (limit.into(), examples.into());
        let rows = Self::largest(&mut unit, 0, &GroupFilter::default(), None, sizes).await?;
        unit.commit().await?;
        Ok(rows.into_iter().map(DeadLetterGroup::from).collect())
    }

    async fn largest(
        unit: &mut Unit,
        queue_id: i32,
        filter: &GroupFilter,
        after: Option<GroupPosition>,
        (limit, examples): (i64, i64),
    ) -> Result<Vec<GroupRow>, StoreError> {
        Ok(sqlx::query_as!(
            GroupRow,
            r#"-- store.dead_letters.groups.largest
            WITH page AS MATERIALIZED (
                SELECT g.* FROM jobqueue.dead_letter_group g
                WHERE g.queue_id = $1 AND g.count > 0 AND ($2::bigint IS NULL OR (g.count, g.fingerprint) < ($2, $3))
                  AND ($4::text IS NULL OR g.kind = (SELECT k.id FROM jobqueue.kind k WHERE k.name = $4))
                  AND ($5::text IS NULL OR (SELECT c.error_type = $5 FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = g.fingerprint))
                  AND ($6::text IS NULL OR (SELECT strpos(lower(c.message), lower($6)) > 0 FROM jobqueue.dead_letter_cause c
                                            WHERE c.fingerprint = g.fingerprint))
                ORDER BY g.count DESC, g.fingerprint DESC LIMIT $7)
            SELECT p.fingerprint AS "fingerprint!", p.count AS "count!", p.first_at AS "first_at!", p.last_at AS "last_at!",
                   (SELECT k.name FROM jobqueue.kind k WHERE k.id = p.kind) AS "kind!",
                   (SELECT c.error_type FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = p.fingerprint) AS error_type,
                   (SELECT c.message FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = p.fingerprint) AS message,
                   ARRAY(SELECT n.job_id FROM (
                             SELECT d.job_id, d.failed_at, d.queue_id FROM jobqueue.dead_letter d WHERE d.fingerprint = p.fingerprint
                             ORDER BY d.failed_at DESC, d.job_id DESC LIMIT CASE WHEN $1 = 0 THEN $8::bigint ELSE 1000 END) n
                         WHERE $1 = 0 OR n.queue_id = $1 ORDER BY n.failed_at DESC, n.job_id DESC LIMIT $8) AS "examples!"
            FROM page p ORDER BY p.count DESC, p.fingerprint DESC"#,
            queue_id,
            after.map(|(key, _)| key),
            after.map(|(_, fingerprint)| fingerprint),
            filter.kind.as_ref().map(KindName::as_str),
            filter.error_type,
            filter.text,
            limit,
            examples,
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    async fn latest(
        unit: &mut Unit,
        queue_id: i32,
        filter: &GroupFilter,
        after: Option<GroupPosition>,
        limit: i64,
    ) -> Result<Vec<GroupRow>, StoreError> {
        let before = after.and_then(|(micros, _)| DateTime::from_timestamp_micros(micros));
        Ok(sqlx::query_as!(
            GroupRow,
            r#"-- store.dead_letters.groups.latest
            WITH page AS MATERIALIZED (
                SELECT g.* FROM jobqueue.dead_letter_group g
                WHERE g.queue_id = $1 AND g.count > 0 AND ($2::timestamptz IS NULL OR (g.last_at, g.fingerprint) < ($2, $3))
                  AND ($4::text IS NULL OR g.kind = (SELECT k.id FROM jobqueue.kind k WHERE k.name = $4))
                  AND ($5::text IS NULL OR (SELECT c.error_type = $5 FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = g.fingerprint))
                  AND ($6::text IS NULL OR (SELECT strpos(lower(c.message), lower($6)) > 0 FROM jobqueue.dead_letter_cause c
                                            WHERE c.fingerprint = g.fingerprint))
                ORDER BY g.last_at DESC, g.fingerprint DESC LIMIT $7)
            SELECT p.fingerprint AS "fingerprint!", p.count AS "count!", p.first_at AS "first_at!", p.last_at AS "last_at!",
                   (SELECT k.name FROM jobqueue.kind k WHERE k.id = p.kind) AS "kind!",
                   (SELECT c.error_type FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = p.fingerprint) AS error_type,
                   (SELECT c.message FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = p.fingerprint) AS message,
                   ARRAY(SELECT n.job_id FROM (
                             SELECT d.job_id, d.failed_at, d.queue_id FROM jobqueue.dead_letter d WHERE d.fingerprint = p.fingerprint
                             ORDER BY d.failed_at DESC, d.job_id DESC LIMIT CASE WHEN $1 = 0 THEN $8::bigint ELSE 1000 END) n
                         WHERE $1 = 0 OR n.queue_id = $1 ORDER BY n.failed_at DESC, n.job_id DESC LIMIT $8) AS "examples!"
            FROM page p ORDER BY p.last_at DESC, p.fingerprint DESC"#,
            queue_id,
            before,
            after.map(|(_, fingerprint)| fingerprint),
            filter.kind.as_ref().map(KindName::as_str),
            filter.error_type,
            filter.text,
            limit,
            EXAMPLES,
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    /// One group, or `None` if it has no dead letters.
    pub async fn group(&self, fingerprint: Uuid) -> Result<Option<DeadLetterGroupDetail>, StoreError> {
        let mut unit = self.0.begin_snapshot().await?;
        let rows = sqlx::query!(
            r#"-- store.dead_letters.group
            SELECT g.queue_id, g.count, g.first_at, g.last_at,
                   (SELECT q.name FROM jobqueue.queue q WHERE q.id = g.queue_id) AS queue,
                   (SELECT k.name FROM jobqueue.kind k WHERE k.id = g.kind) AS "kind!",
                   (SELECT c.error_type FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = g.fingerprint) AS error_type,
                   (SELECT c.message FROM jobqueue.dead_letter_cause c WHERE c.fingerprint = g.fingerprint) AS message
            FROM jobqueue.dead_letter_group g WHERE g.fingerprint = $1 AND g.count > 0 ORDER BY g.count DESC, g.queue_id"#,
            fingerprint,
        )
        .fetch_all(&mut *unit)
        .await?;
        let ids = sqlx::query_scalar!(
            "-- store.dead_letters.group.examples
            SELECT job_id FROM jobqueue.dead_letter WHERE fingerprint = $1 ORDER BY failed_at DESC, job_id DESC LIMIT $2",
            fingerprint,
            MORE_EXAMPLES,
        )
        .fetch_all(&mut *unit)
        .await?;
        let examples = read(&mut unit, &ids).await?;
        let recent = recent(&mut unit, fingerprint).await?;
        unit.commit().await?;
        let (all, of_queues): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.queue_id == 0);
        let queues =
            of_queues.into_iter().filter_map(|row| Some((row.queue?, to_count(row.count)))).collect();
        Ok(all.into_iter().next().map(|row| {
            let group = GroupRow {
                fingerprint,
                count: row.count,
                first_at: row.first_at,
                last_at: row.last_at,
                kind: row.kind,
                error_type: row.error_type,
                message: row.message,
                examples: ids,
            };
            DeadLetterGroupDetail { group: group.into(), queues, examples, recent }
        }))
    }
}
