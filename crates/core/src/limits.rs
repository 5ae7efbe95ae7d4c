//! Every bound of the product, on one page, each with its reason.

use std::time::Duration;

/// What one deployment accepts. All sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest payload of a job: bigger inputs belong in object storage, with a reference here.
    pub payload_bytes: usize,
    /// Largest `metadata` object.
    pub metadata_bytes: usize,
    /// Largest result that a handler may give back.
    pub result_bytes: usize,
    /// Most tags of a job.
    pub tags: usize,
    /// Longest tag.
    pub tag_bytes: usize,
    /// Longest unique key or idempotency key.
    pub key_bytes: usize,
    /// Most attempts that a job may ask for.
    pub max_attempts: u16,
    /// Longest attempt timeout, in seconds.
    pub timeout_seconds: u32,
    /// Furthest start, in seconds from submission: beyond ten years it is a mistake in units.
    pub delay_seconds: u32,
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
            delay_seconds: 10 * 366 * 24 * 3600,
        }
    }
}

/// Most jobs in one batch request and in one store call.
pub const MAX_BATCH: usize = 1000;
/// Most rows of one page.
pub const MAX_PAGE: u32 = 1000;
/// Most jobs of one lease; one bit each in a 64-bit column.
pub const MAX_LEASE_JOBS: usize = 64;
/// Longest error message that is kept, in bytes; the rest is cut.
pub const MAX_ERROR_BYTES: usize = 8 * 1024;
/// Most log text that one attempt may keep, in bytes; the oldest lines go first.
pub const MAX_LOG_BYTES: usize = 16 * 1024;
/// Largest progress value of an attempt, in bytes of JSON.
pub const MAX_PROGRESS_BYTES: usize = 4 * 1024;
/// Attempts of a job that does not say.
pub const DEFAULT_MAX_ATTEMPTS: u16 = 10;
/// Shortest snooze: it costs no attempt, so without a pause a handler that always says "later" would run without end.
pub const MIN_SNOOZE: Duration = Duration::from_secs(1);
/// Lowest and highest priority.
pub const PRIORITIES: std::ops::RangeInclusive<i16> = -100..=100;
