//! Redrives of dead letters.

use chrono::{DateTime, Utc};
use jobqueue_core::{FieldError, KindName, QueueName, RedriveDraft, RedriveRules};
use jobqueue_store::{DeadLetterFilter, Redrive};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::dead_letter::DeadLetterFilterBody;
use super::name::{KindText, QueueText, TagFilterText};
use crate::extract::Wire;

/// Which dead letters to retry, how fast, and when to stop.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedriveBody {
    /// The dead letters to retry. Jobs that fail after the start of the redrive are not retried.
    filter: DeadLetterFilterBody,
    /// Jobs per second, up to 1000; default 10.
    #[schema(minimum = 0.000_011_575, maximum = 1000)]
    rate: Option<f64>,
    /// The redrive stops when this share of the window failed: 0.001 to 1; default 0.25.
    #[schema(minimum = 0.001, maximum = 1)]
    stop_share: Option<f64>,
    /// The window: so many of the last results, 1 to 1000; default 20.
    #[schema(minimum = 1, maximum = 1000)]
    stop_window: Option<i64>,
    /// `true`: start nothing, only count the dead letters that match. Default `false`.
    #[serde(default)]
    #[schema(required = false)]
    pub(crate) dry_run: bool,
}

impl Wire for RedriveBody {}

impl RedriveBody {
    /// The filter and the rules, or every error.
    pub(crate) fn check(self) -> Result<(DeadLetterFilter, RedriveRules), Vec<FieldError>> {
        let Self { rate, stop_share, stop_window, .. } = self;
        match (self.filter.check(), RedriveDraft { rate, stop_share, stop_window }.parse()) {
            (Ok(filter), Ok(rules)) => Ok((filter, rules)),
            (filter, rules) => Err([filter.err(), rules.err()].into_iter().flatten().flatten().collect()),
        }
    }
}

/// Where a redrive stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RedriveState)]
#[expect(dead_code, reason = "describes words of the store")]
pub(crate) enum RedriveWord {
    /// It retries dead letters.
    Running,
    /// It has retried all, and their results are known.
    Done,
    /// A user stopped it.
    Stopped,
    /// It stopped by itself, because the jobs fail again.
    Failing,
}

/// A redrive, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redrive)]
pub(crate) struct RedriveView {
    /// Id of the redrive.
    pub(crate) id: Uuid,
    /// Where it stands.
    #[schema(value_type = RedriveWord)]
    state: &'static str,
    /// Which dead letters it retries. Empty: all.
    filter: FilterView,
    /// Jobs per second.
    rate: f64,
    /// Share of failures at which it stops.
    stop_share: f64,
    /// Number of results that the share is about.
    stop_window: u32,
    /// Number of dead letters that matched at its start; `null`: counting them took too long.
    total: Option<u64>,
    /// Jobs that it has retried.
    redriven: u64,
    /// Jobs that could not be retried: expired, or another job holds their unique key.
    refused: u64,
    /// Retried jobs that have completed.
    succeeded: u64,
    /// Retried jobs of which an attempt failed.
    failed: u64,
    /// Retried jobs that were cancelled or deleted.
    other: u64,
    /// When it began.
    created_at: DateTime<Utc>,
    /// When it ended.
    ended_at: Option<DateTime<Utc>>,
}

/// Which dead letters a redrive retries. Fields that are not set are left out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RedriveFilter)]
pub(crate) struct FilterView {
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Uuid>,
    /// Queues of the jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<QueueText>, required = false)]
    queue: Vec<QueueName>,
    /// Kinds of the jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<KindText>, required = false)]
    kind: Vec<KindName>,
    /// Tags of the jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<TagFilterText>, required = false)]
    tag: Vec<String>,
    /// Types of the error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<TagFilterText>, required = false)]
    error_type: Vec<String>,
    /// A part of the message of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Failed at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_after: Option<DateTime<Utc>>,
    /// Failed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_before: Option<DateTime<Utc>>,
}

impl From<DeadLetterFilter> for FilterView {
    fn from(filter: DeadLetterFilter) -> Self {
        Self {
            group: filter.group,
            queue: filter.queues,
            kind: filter.kinds,
            tag: filter.tags,
            error_type: filter.error_types,
            text: filter.text,
            failed_after: filter.failed_after,
            failed_before: filter.failed_before,
        }
    }
}

impl From<Redrive> for RedriveView {
    fn from(redrive: Redrive) -> Self {
        Self {
            id: redrive.id,
            state: redrive.state.word(),
            filter: redrive.filter.into(),
            rate: redrive.rules.rate,
            stop_share: redrive.rules.stop_share,
            stop_window: redrive.rules.stop_window,
            total: redrive.total,
            redriven: redrive.redriven,
            refused: redrive.refused,
            succeeded: redrive.succeeded,
            failed: redrive.failed,
            other: redrive.other,
            created_at: redrive.created_at,
            ended_at: redrive.ended_at,
        }
    }
}

/// A page of redrives.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redrives)]
pub(crate) struct RedrivesView {
    /// Newest first.
    pub(crate) redrives: Vec<RedriveView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<Uuid>,
}

/// What a redrive would retry.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RedrivePlan)]
pub(crate) struct RedrivePlanView {
    /// Always `true`.
    pub(crate) dry_run: bool,
    /// Number of dead letters that match; `null`: counting them took too long.
    pub(crate) total: Option<u64>,
    /// The time of the database when it counted. As `failed_before` of the filter it spares those that fail later.
    pub(crate) as_of: Option<DateTime<Utc>>,
}
