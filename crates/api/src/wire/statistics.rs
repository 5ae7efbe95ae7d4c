//! Statistics of a range of time.

use chrono::{DateTime, Utc};
use jobqueue_core::statistics::{Histogram, Range, Statistic};
use jobqueue_core::{KindName, QueueName};
use jobqueue_store::RangeStatistics;
use serde::Serialize;
use utoipa::ToSchema;

use super::name::{KindText, QueueText};
use super::stats::StatsView;

/// What `/v1/stats` returns: present counts, or with one of the parameters `from`, `to`, `step`, `queue` and `kind` the statistics of a range.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Stats)]
pub(crate) enum StatsAnswer {
    /// Without these parameters.
    Now(StatsView),
    /// With one of them.
    Range(Box<StatisticsView>),
}

/// Statistics of a range of time, in steps of equal length.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Statistics)]
pub(crate) struct StatisticsView {
    /// Begin of the first step: a multiple of the step, at or before the requested begin.
    from: DateTime<Utc>,
    /// End of the last step.
    to: DateTime<Utc>,
    /// Length of each step in seconds.
    step_seconds: i64,
    /// The queue; `null` means all queues.
    #[schema(value_type = Option<QueueText>)]
    queue: Option<QueueName>,
    /// The kind; `null` means all kinds.
    #[schema(value_type = Option<KindText>)]
    kind: Option<KindName>,
    /// Everything that happened until then is contained; `null` before the reaper counted for the first time.
    counted_until: Option<DateTime<Utc>>,
    /// Whether the numbers of this queue or kind may be too low, because it was one of very many, and some of its events were counted with
    /// those of others.
    has_others: bool,
    /// The whole range.
    total: StatisticView,
    /// The steps in order, also those in which nothing happened.
    points: Vec<PointView>,
}

/// Statistics of one step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatisticsPoint)]
pub(crate) struct PointView {
    /// Begin of the step.
    at: DateTime<Utc>,
    #[serde(flatten)]
    numbers: StatisticView,
}

/// What happened in a period.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Statistic)]
pub(crate) struct StatisticView {
    /// Jobs that were submitted.
    created: u64,
    /// Jobs that completed.
    completed: u64,
    /// Jobs that became `failed`.
    failed: u64,
    /// Retries of failed attempts, by policy or by an operator.
    retried: u64,
    /// Jobs that were cancelled.
    cancelled: u64,
    /// Snoozes by handlers.
    snoozed: u64,
    /// How long jobs could have run before their first attempt began. Counted when that attempt ends.
    wait: DurationsView,
    /// How long the attempts ran that ended.
    run: DurationsView,
}

/// Quantiles of durations. Each differs from the exact value by at most 3.2 %, or by a microsecond.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Durations)]
pub(crate) struct DurationsView {
    /// How many durations these are.
    count: u64,
    /// The median; `null` if there is no duration.
    p50_seconds: Option<f64>,
    /// 95 % were not longer.
    p95_seconds: Option<f64>,
    /// 99 % were not longer.
    p99_seconds: Option<f64>,
}

impl StatisticsView {
    /// The statistics of a range for its reader.
    pub(crate) fn new(
        range: &Range,
        queue: Option<QueueName>,
        kind: Option<KindName>,
        read: &RangeStatistics,
    ) -> Self {
        let mut total = Statistic::default();
        read.steps.iter().for_each(|step| total.add(step));
        let point = |(at, step): (DateTime<Utc>, &Statistic)| PointView { at, numbers: step.into() };
        Self {
            from: range.from(),
            to: range.to(),
            step_seconds: range.step_seconds(),
            queue,
            kind,
            counted_until: read.counted_until,
            has_others: read.has_others,
            total: (&total).into(),
            points: range.begins().zip(&read.steps).map(point).collect(),
        }
    }
}

impl From<&Statistic> for StatisticView {
    fn from(statistic: &Statistic) -> Self {
        let counts = &statistic.counts;
        Self {
            created: counts.created,
            completed: counts.completed,
            failed: counts.failed,
            retried: counts.retried,
            cancelled: counts.cancelled,
            snoozed: counts.snoozed,
            wait: (&statistic.wait).into(),
            run: (&statistic.run).into(),
        }
    }
}

impl From<&Histogram> for DurationsView {
    fn from(histogram: &Histogram) -> Self {
        let quantile = |per_mille| histogram.quantile(per_mille).map(|duration| duration.as_secs_f64());
        Self {
            count: histogram.count(),
            p50_seconds: quantile(500),
            p95_seconds: quantile(950),
            p99_seconds: quantile(990),
        }
    }
}
