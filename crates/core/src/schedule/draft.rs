//! A schedule as its user sent it.

use serde::{Deserialize, Serialize};

use super::{Dst, Missed, Overlap, Solar};
use crate::job::JobDraft;

/// A schedule as the user sent it, unchecked. It is stored in this form. An absent field gets its default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleDraft {
    /// Cron expression. Exactly one of `cron`, `interval_seconds`, `solar` and `at` is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// IANA time zone of `cron`; default `UTC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Rule of `cron` for local times that do not exist or exist twice; default `shift`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<Dst>,
    /// Interval between two ticks, at least a second. Fractions count to the millisecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<f64>,
    /// RFC 3339 timestamp of one of the ticks of `interval_seconds`; default 1970-01-01T00:00:00Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<String>,
    /// Event of the sun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solar: Option<Solar>,
    /// Degrees north of the place of `solar`, −90 to 90.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east of the place of `solar`, −180 to 180.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// RFC 3339 timestamp of the only tick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// RFC 3339 timestamp; there is no tick before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,
    /// RFC 3339 timestamp; there is no tick after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_at: Option<String>,
    /// Whether the schedule has ticks; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Maximum number of jobs that the ticks enqueue; default unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<i64>,
    /// Maximum delay of a tick, in seconds; default 0. Each tick has its own part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_seconds: Option<f64>,
    /// Time after the tick, in seconds, after which its job is cancelled instead of started; default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_after_seconds: Option<f64>,
    /// Rule for missed ticks; default `one`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
    /// Maximum number of missed ticks that `missed: all` fires; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_limit: Option<i64>,
    /// Rule for a tick whose predecessor's job has not ended; default `allow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// The file or program that manages the schedule; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// A note for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The job of each tick. It has no `run_at` and no `expires_at`, because they would be the same for all ticks.
    pub job: JobDraft,
}

impl ScheduleDraft {
    /// The names of its fields.
    pub const FIELDS: [&'static str; 21] = [
        "cron",
        "time_zone",
        "dst",
        "interval_seconds",
        "anchor",
        "solar",
        "latitude",
        "longitude",
        "at",
        "start_at",
        "end_at",
        "enabled",
        "max_runs",
        "jitter_seconds",
        "expires_after_seconds",
        "missed",
        "missed_limit",
        "overlap",
        "owner",
        "description",
        "job",
    ];
}
