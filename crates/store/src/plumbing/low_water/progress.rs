//! How far one process has come with one choice of queues and kinds.

use std::time::Instant;

use jobqueue_core::JobId;
use uuid::Uuid;

use super::mark::Marks;
use super::scan::{LaneRange, ScanResult, ScanStart};
use super::schedule::Schedule;

#[cfg(test)]
mod tests;

/// The marks of a choice, and the schedule of its scans.
#[derive(Debug)]
pub(super) struct ScanProgress {
    /// When a call last used it.
    pub(super) used: Instant,
    marks: Marks,
    schedule: Schedule,
}

impl ScanProgress {
    pub(super) fn new(now: Instant) -> Self {
        Self { used: now, marks: Marks::default(), schedule: Schedule::new(now) }
    }

    /// See [`Schedule::next`].
    pub(super) fn next(&mut self, now: Instant) -> ScanStart {
        self.schedule.next(now)
    }

    /// See [`Schedule::next_rescan`].
    pub(super) fn next_rescan(&mut self, start: ScanStart, now: Instant) -> Option<ScanStart> {
        self.schedule.next_rescan(start, now)
    }

    /// See [`Schedule::failed`].
    pub(super) fn failed(&mut self, start: ScanStart) {
        self.schedule.failed(start);
    }

    /// See [`Marks::ranges`].
    pub(super) fn ranges(&self, start: ScanStart) -> Vec<LaneRange> {
        self.marks.ranges(start, self.schedule.sweep())
    }

    /// See [`Marks::likely_ids`].
    pub(super) fn likely_ids(&self) -> Option<(Uuid, Uuid)> {
        self.marks.likely_ids()
    }

    /// Records a scan that ended at `now` and leased these jobs of these lanes, in the order of the scan.
    pub(super) fn record(
        &mut self,
        result: &ScanResult,
        now: Instant,
        leased: impl Iterator<Item = (i32, JobId)>,
    ) {
        let found = self.marks.compare(result.start, leased);
        let repeats = self.schedule.record(result, &found, &self.marks, now);
        if !repeats {
            self.marks.set(result, &found, now);
        }
    }
}
