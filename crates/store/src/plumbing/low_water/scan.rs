//! What a scan is given and what it reports.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Where a scan starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanStart {
    /// At the marks, or a little before the time of the last scan.
    Near,
    /// Further before the marks.
    Far,
    /// At the front of every lane.
    Front,
    /// At the marks, after one range of older ids. The next step scans the range before that one.
    Step,
}

/// A range of a lane: ids greater than `after`, up to and including `upto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneRange {
    pub(crate) lane: i32,
    pub(crate) after: Uuid,
    pub(crate) upto: Uuid,
}

/// The result of a scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanResult {
    pub(crate) start: ScanStart,
    /// When this process began it.
    pub(crate) began: Instant,
    /// When it began by the database's clock; `None` if it found no job.
    pub(crate) began_at: Option<DateTime<Utc>>,
    /// Duration of the scan alone, without the rest of the statement.
    pub(crate) took: Duration,
    /// Whether it stopped because it had found enough jobs.
    pub(crate) full: bool,
}
