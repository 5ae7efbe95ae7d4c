//! How remote workers end attempts.

use std::time::Duration;

use jobqueue_core::retry::MAX_DELAY;
use jobqueue_core::time;
use jobqueue_core::{Failure, FieldError, Json, Lease, Limits, Outcome, Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::job::{FailureBody, StatusWord};
use super::present;
use crate::extract::Wire;
use crate::extract::json::BATCH_BYTES;

/// Most bytes of `error.details`.
const MAX_DETAILS_BYTES: usize = 64 * 1024;

/// Attempts to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettleBody {
    /// 1 to 1000 attempts.
    #[schema(min_items = 1, max_items = 1000)]
    pub(crate) items: Vec<SettleItem>,
}

impl Wire for SettleBody {
    const MAX_BYTES: usize = BATCH_BYTES;
}

/// The end of one attempt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettleItem {
    /// The lease, as it was returned with the job.
    #[schema(min_length = 1)]
    lease: String,
    /// How the attempt ended.
    outcome: OutcomeWord,
    /// With `completed`: the result of the handler, any JSON up to 1 MiB.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Json>,
    /// With `failed` and `discarded`, where it is required: the error.
    error: Option<FailureBody>,
    /// With `failed`: delay before the next attempt in seconds, up to a week, instead of that of the retry policy.
    #[schema(minimum = 0, maximum = 604_800)]
    retry_after_seconds: Option<f64>,
    /// With `snoozed`, where it is required: delay before the next start in seconds, up to a week. Less than 1 counts as 1.
    #[schema(minimum = 0, maximum = 604_800)]
    delay_seconds: Option<f64>,
}

/// How the attempt ended, as its worker saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Outcome)]
pub(crate) enum OutcomeWord {
    /// The handler succeeded.
    Completed,
    /// The handler failed. The job is retried by its retry policy.
    Failed,
    /// The handler failed, and the job is not retried.
    Discarded,
    /// The job is postponed by `delay_seconds`. Costs no attempt.
    Snoozed,
    /// The worker gives the job back, for example because it stops. Costs no attempt.
    Released,
    /// The handler stopped because the job was cancelled.
    Cancelled,
}

impl SettleItem {
    /// The checked item; `at` is its index.
    pub(crate) fn check(self, at: usize, limits: &Limits) -> Result<(Lease, Outcome), Vec<FieldError>> {
        let mut errors = self.misplaced();
        let mut note =
            |pointer: &str, code, message: String| errors.push(FieldError::new(pointer, code, message));
        let lease = self.lease.parse::<Lease>().map_err(|e| note("/lease", "invalid", e.to_string())).ok();
        if self.result.as_ref().is_some_and(|result| result.len() > limits.result_bytes) {
            note("/result", "too_long", format!("must have at most {} bytes of JSON", limits.result_bytes));
        }
        let wants_error = matches!(self.outcome, OutcomeWord::Failed | OutcomeWord::Discarded);
        let kind = self.error.as_ref().and_then(|error| error.kind.as_deref()).unwrap_or_default();
        if wants_error && self.error.is_none() {
            note(
                "/error",
                "required",
                "is required with this outcome, at least as {\"type\": \"…\"}".to_owned(),
            );
        } else if wants_error && kind.is_empty() {
            note("/error/type", "required", "must not be empty".to_owned());
        }
        let details = self.error.as_ref().and_then(|error| error.details.as_ref());
        if details.is_some_and(|details| details.len() > MAX_DETAILS_BYTES) {
            note(
                "/error/details",
                "too_long",
                format!("must have at most {MAX_DETAILS_BYTES} bytes of JSON"),
            );
        }
        let retry_after = delay("/retry_after_seconds", self.retry_after_seconds, &mut note);
        let snooze = delay("/delay_seconds", self.delay_seconds, &mut note);
        if self.outcome == OutcomeWord::Snoozed && self.delay_seconds.is_none() {
            note("/delay_seconds", "required", "is required with the outcome `snoozed`".to_owned());
        }
        match (lease, errors.is_empty()) {
            (Some(lease), true) => {
                let failure =
                    self.error.map_or_else(|| Failure::new("unknown", ""), FailureBody::into_failure);
                let outcome = match self.outcome {
                    OutcomeWord::Completed => Outcome::Completed(self.result),
                    OutcomeWord::Failed => Outcome::Failed { failure, retry_after },
                    OutcomeWord::Discarded => Outcome::Discarded(failure),
                    OutcomeWord::Snoozed => Outcome::Snoozed(snooze.unwrap_or_default()),
                    OutcomeWord::Released => Outcome::Released,
                    OutcomeWord::Cancelled => Outcome::Cancelled,
                };
                Ok((lease, outcome))
            }
            _ => Err(errors.into_iter().map(|error| error.below(&format!("/items/{at}"))).collect()),
        }
    }

    /// Fields that have no meaning for this outcome. They are refused, because they show a mistake.
    fn misplaced(&self) -> Vec<FieldError> {
        use OutcomeWord::{Completed, Discarded, Failed, Snoozed};
        let fields: [(&str, bool, &[OutcomeWord]); 4] = [
            ("/result", self.result.is_some(), &[Completed]),
            ("/error", self.error.is_some(), &[Failed, Discarded]),
            ("/retry_after_seconds", self.retry_after_seconds.is_some(), &[Failed]),
            ("/delay_seconds", self.delay_seconds.is_some(), &[Snoozed]),
        ];
        let wrong = fields.into_iter().filter(|(_, given, fits)| *given && !fits.contains(&self.outcome));
        wrong
            .map(|(pointer, ..)| FieldError::new(pointer, "conflict", "is not allowed with this outcome"))
            .collect()
    }
}

fn delay(
    pointer: &str,
    seconds: Option<f64>,
    note: &mut impl FnMut(&str, &'static str, String),
) -> Option<Duration> {
    let delay = time::seconds(seconds?, Duration::ZERO..=MAX_DELAY);
    if delay.is_none() {
        note(pointer, "out_of_range", format!("must be between 0 and {}", MAX_DELAY.as_secs()));
    }
    delay
}

impl FailureBody {
    /// The failure, as far as it is kept.
    fn into_failure(self) -> Failure {
        let Self { kind, message, details } = self;
        Failure { kind: kind.unwrap_or_default(), message, details }.storable()
    }
}

/// One result per item, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SettledView {
    /// One result per attempt, in the order of the request.
    pub(crate) items: Vec<SettledItem>,
}

/// The result of one settle.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SettledItem {
    /// 200, or 409 if the lease was stale: then nothing changed.
    pub(crate) code: u16,
    /// The new status of the job. Instead of a retry it is `cancelled` if a cancel was requested meanwhile.
    #[schema(value_type = Option<StatusWord>)]
    pub(crate) status: Option<Status>,
}
