//! Kinds and their settings.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::{FieldError, Limits, RetryPolicy, time};
use jobqueue_store::{KindChange, KindRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::present;
use crate::extract::Wire;

/// Shortest time limit of an attempt.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// A page of kinds, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KindsView {
    /// The kinds, by name.
    pub(crate) kinds: Vec<KindView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A kind with its settings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Kind)]
pub(crate) struct KindView {
    /// Name of the kind.
    name: String,
    /// Whether the kind is paused: none of its jobs is started.
    paused: bool,
    /// When the kind was paused; `null` if it is not.
    paused_at: Option<DateTime<Utc>>,
    /// Time limit of one attempt of jobs without their own, in seconds; `null`: the default of the worker.
    timeout_seconds: Option<f64>,
    /// Retry policy of jobs without their own; `null`: the default policy.
    #[schema(value_type = Option<super::retry::RetryPolicyBody>)]
    retry: Option<RetryPolicy>,
}

impl From<KindRecord> for KindView {
    fn from(record: KindRecord) -> Self {
        Self {
            name: record.name.into(),
            paused: record.paused_at.is_some(),
            paused_at: record.paused_at,
            timeout_seconds: record.settings.timeout_ms.map(|ms| Duration::from_millis(ms).as_secs_f64()),
            retry: record.settings.retry,
        }
    }
}

/// Settings to change. An absent field stays as it is; `null` restores the default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a value have three meanings")]
pub(crate) struct KindBody {
    /// Time limit of one attempt of jobs without their own, in seconds, up to a week; `null` restores the default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<f64>, minimum = 0.001, maximum = 604_800)]
    timeout_seconds: Option<Option<f64>>,
    /// Retry policy of jobs without their own; `null` restores the default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<super::retry::RetryPolicyBody>)]
    retry: Option<Option<RetryPolicy>>,
    /// `true`: create the kind if it does not exist yet. Default `false`.
    #[serde(default)]
    #[schema(required = false, default = false)]
    pub(crate) create: bool,
}

impl Wire for KindBody {}

impl KindBody {
    /// The checked settings, or every error.
    pub(crate) fn change(&self) -> Result<KindChange, Vec<FieldError>> {
        let mut errors = Vec::new();
        let longest = Duration::from_secs(Limits::default().timeout_seconds.into());
        let mut timeout = |seconds: f64| {
            let timeout = time::seconds(seconds, MIN_TIMEOUT..=longest);
            if timeout.is_none() {
                let (least, most) = (MIN_TIMEOUT.as_secs_f64(), longest.as_secs());
                let message = format!("must be between {least} and {most} seconds, or null");
                errors.push(FieldError::new("/timeout_seconds", "out_of_range", message));
            }
            timeout.and_then(|timeout| u64::try_from(timeout.as_millis()).ok())
        };
        let timeout_ms = self.timeout_seconds.map(|seconds| seconds.and_then(&mut timeout));
        errors.extend(self.retry.iter().flatten().flat_map(RetryPolicy::check));
        let change = KindChange { timeout_ms, retry: self.retry.clone() };
        if errors.is_empty() { Ok(change) } else { Err(errors) }
    }
}
