//! How often a costly scan may run: in a fixed share of the time.

use std::time::{Duration, Instant};

/// A scan from the front that takes this long is slow.
pub(super) const SLOW_SCAN: Duration = Duration::from_millis(100);
/// Scans further back may take one part in this many of the time.
pub(super) const SHARE: u32 = 30;
/// The same if the last such scan found a job, or if no scan has found one for a while.
pub(super) const SHARE_IF_FOUND: u32 = 4;

/// When scans from one kind of start last ran, and what that took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScanBudget {
    /// When the last one ended; `None` before the first.
    pub(super) ended: Option<Instant>,
    /// Duration of the last one.
    pub(super) took: Duration,
    /// Whether the last one found a job that a scan from the mark would not have found.
    pub(super) found: bool,
}

impl ScanBudget {
    /// After a scan that ended at `ended`.
    pub(crate) fn after(ended: Instant, took: Duration, found: bool) -> Self {
        Self { ended: Some(ended), took, found }
    }

    /// Whether another scan now would keep all of them within one part in `share` of the time.
    pub(crate) fn is_due(&self, now: Instant, share: u32) -> bool {
        let share = if self.found { SHARE_IF_FOUND } else { share };
        self.ended.is_none_or(|ended| now.saturating_duration_since(ended) >= self.took * share)
    }

    /// Whether the last one was slow.
    pub(crate) fn is_slow(&self) -> bool {
        self.took >= SLOW_SCAN
    }
}
