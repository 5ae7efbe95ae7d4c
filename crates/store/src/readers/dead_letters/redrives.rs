//! Reads redrives.

use chrono::{DateTime, Utc};
use jobqueue_core::{Json, RedriveRules};
use uuid::Uuid;

use super::DeadLetterFilter;
use crate::handles::DeadLetters;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;

/// Where a redrive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedriveState {
    /// It retries dead letters.
    Running,
    /// It has retried all, and their results are known.
    Done,
    /// A user stopped it.
    Stopped,
    /// It stopped by itself, because the failures returned.
    Failing,
}

/// A redrive, and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Redrive {
    /// Its id.
    pub id: Uuid,
    /// When it began. What fails later is not redriven.
    pub created_at: DateTime<Utc>,
    /// Which dead letters it retries.
    pub filter: DeadLetterFilter,
    /// Its rate, and when it stops.
    pub rules: RedriveRules,
    /// Where it stands.
    pub state: RedriveState,
    /// Number of dead letters that matched when it began; `None` if counting them took too long.
    pub total: Option<u64>,
    /// Jobs that it has retried.
    pub redriven: u64,
    /// Jobs that could not be retried: expired, or another job holds their unique key.
    pub refused: u64,
    /// Retried jobs that have completed.
    pub succeeded: u64,
    /// Retried jobs whose first attempt failed.
    pub failed: u64,
    /// Retried jobs that were cancelled or deleted.
    pub other: u64,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

pub(crate) struct RedriveRow {
    pub(crate) id: Uuid,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) filter: String,
    pub(crate) rate: f64,
    pub(crate) stop_share: f64,
    pub(crate) stop_window: i32,
    pub(crate) total: Option<i64>,
    pub(crate) state: String,
    pub(crate) redriven: i64,
    pub(crate) refused: i64,
    pub(crate) succeeded: i64,
    pub(crate) failed: i64,
    pub(crate) other: i64,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

impl RedriveState {
    /// The word used in the API and in SQL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failing => "failing",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Stopped, Self::Failing]
            .into_iter()
            .find(|state| state.word() == word)
    }
}

impl TryFrom<RedriveRow> for Redrive {
    type Error = StoreError;

    fn try_from(row: RedriveRow) -> Result<Self, StoreError> {
        let corrupt = |column: &'static str, what: String| StoreError::Corrupt {
            table: "redrive",
            column,
            row: row.id.to_string(),
            what,
        };
        let state = RedriveState::of(&row.state)
            .ok_or_else(|| corrupt("state", "the state is unknown".to_owned()))?;
        let filter =
            Json::from_stored(row.filter.clone()).map_err(|error| corrupt("filter", error.to_string()))?;
        let filter = filter.to().map_err(|error| corrupt("filter", error.to_string()))?;
        let stop_window = u32::try_from(row.stop_window).unwrap_or(1);
        Ok(Self {
            id: row.id,
            created_at: row.created_at,
            filter,
            rules: RedriveRules { rate: row.rate, stop_share: row.stop_share, stop_window },
            state,
            total: row.total.map(to_count),
            redriven: to_count(row.redriven),
            refused: to_count(row.refused),
            succeeded: to_count(row.succeeded),
            failed: to_count(row.failed),
            other: to_count(row.other),
            ended_at: row.ended_at,
        })
    }
}

impl DeadLetters<'_> {
    /// Up to `limit` redrives, newest first, those before `before`. They are kept for 30 days after their end.
    pub async fn redrives(&self, before: Option<Uuid>, limit: u32) -> Result<Vec<Redrive>, StoreError> {
        let mut unit = self.0.one().await?;
        let rows = sqlx::query_as!(
            RedriveRow,
            r#"-- store.redrives
            SELECT id, created_at, filter::text AS "filter!", rate, stop_share, stop_window, total, state, redriven, refused, succeeded, failed,
                   other, ended_at
            FROM jobqueue.redrive WHERE id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') ORDER BY id DESC LIMIT $2"#,
            before,
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        rows.into_iter().map(Redrive::try_from).collect()
    }

    /// One redrive.
    pub async fn redrive(&self, id: Uuid) -> Result<Option<Redrive>, StoreError> {
        let mut unit = self.0.one().await?;
        let row = sqlx::query_as!(
            RedriveRow,
            r#"-- store.redrive
            SELECT id, created_at, filter::text AS "filter!", rate, stop_share, stop_window, total, state, redriven, refused, succeeded, failed,
                   other, ended_at
            FROM jobqueue.redrive WHERE id = $1"#,
            id,
        )
        .fetch_optional(&mut *unit)
        .await?;
        unit.commit().await?;
        row.map(Redrive::try_from).transpose()
    }
}
