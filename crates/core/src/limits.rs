//! The limits of the product.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::time::HORIZON;

/// The limits of one deployment. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum size of a payload. Larger inputs belong in object storage, with a reference in the payload.
    pub payload_bytes: usize,
    /// Maximum size of a `metadata` object.
    pub metadata_bytes: usize,
    /// Maximum size of a result.
    pub result_bytes: usize,
    /// Maximum number of tags of a job.
    pub tags: usize,
    /// Maximum length of a tag.
    pub tag_bytes: usize,
    /// Maximum length of a unique key or idempotency key.
    pub key_bytes: usize,
    /// Maximum `max_attempts` that a job may ask for.
    pub max_attempts: u16,
    /// Maximum timeout of an attempt, in seconds.
    pub timeout_seconds: u32,
    /// Maximum delay before the first start, and how far ahead `run_at` and `expires_at` may be.
    pub horizon: Duration,
    /// The database's time, which the caller sets for a submission with timestamps. With `None` the horizon of
    /// timestamps is not checked.
    pub now: Option<DateTime<Utc>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_bytes: 1024 * 1024,
            metadata_bytes: 16 * 1024,
            result_bytes: 1024 * 1024,
            tags: 20,
            tag_bytes: 64,
            key_bytes: 255,
            max_attempts: 1000,
            timeout_seconds: 7 * 24 * 3600,
            horizon: HORIZON,
            now: None,
        }
    }
}

/// Maximum number of jobs in one batch request and in one store call.
pub const MAX_BATCH: usize = 1000;
/// Maximum number of jobs that a count counts. It says that there are more.
pub const MAX_COUNT: u32 = 10_000;
/// Maximum number of values of one filter for metadata, error types or unique keys.
pub const MAX_FILTER_VALUES: usize = 20;
/// Maximum number of rows of one page.
pub const MAX_PAGE: u32 = 1000;
/// Maximum number of jobs of one grant. Each job is one bit of a 64-bit column.
pub const MAX_LEASE_JOBS: usize = 64;
/// Maximum length of a stored error message, in bytes. Longer messages are cut.
pub const MAX_ERROR_BYTES: usize = 8 * 1024;
/// Maximum size of the stored log of one attempt, in bytes. The oldest lines are dropped.
pub const MAX_LOG_BYTES: usize = 16 * 1024;
/// Maximum size of the progress value of an attempt, in bytes of JSON.
pub const MAX_PROGRESS_BYTES: usize = 4 * 1024;
/// `max_attempts` of a job that does not set it.
pub const DEFAULT_MAX_ATTEMPTS: u16 = 10;
/// How long after its timeout an attempt of a remote worker is ended if the worker did not report. The timeout counts
/// from the lease here, but in the worker from the arrival of the answer. In this time the worker can still report
/// the timeout.
pub const REMOTE_TIMEOUT_GRACE: Duration = Duration::from_secs(5);
/// Minimum delay of a snooze. A snooze costs no attempt, so without a delay a handler that always snoozes would keep a
/// slot busy.
pub const MIN_SNOOZE: Duration = Duration::from_secs(1);
/// `max_snoozes` of a job that does not set it: more than one a second for a day. One snooze more fails the job.
pub const DEFAULT_MAX_SNOOZES: u32 = 100_000;
/// Maximum `max_snoozes` that a job may ask for.
pub const MAX_SNOOZES: u32 = 1_000_000;
/// Maximum number of slots of one worker; for more, start more workers.
pub const MAX_SLOTS: u32 = 10_000;
/// Lowest and highest priority.
pub const PRIORITIES: std::ops::RangeInclusive<i16> = -100..=100;
/// Maximum length of the owner of a schedule or a route, in bytes.
pub const MAX_OWNER_BYTES: usize = 255;
/// Maximum length of the description of a schedule or a route, in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 1024;
