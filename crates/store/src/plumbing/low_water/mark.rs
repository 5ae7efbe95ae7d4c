//! The marks: how far each lane is known to be without work.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jobqueue_core::JobId;
use uuid::Uuid;

use super::scan::{LaneRange, ScanResult, ScanStart};
use super::sweep::Sweep;

/// An id is usually created at most this long before its transaction commits. A near scan starts this long
/// before the last one.
const NEAR: Duration = Duration::from_millis(25);
/// A job further behind the mark than this was put back. Jobs that two concurrent scans take in turn are
/// closer.
const PUT_BACK: Duration = Duration::from_millis(100);
/// How far before the mark a far scan starts.
pub(super) const FAR: Duration = Duration::from_secs(10);
/// A lease reads bodies of jobs that were submitted at most this long before those of the last lease,
const OLDER: Duration = Duration::from_hours(12);
/// and at most this long after them.
const YOUNGER: Duration = Duration::from_hours(1);

/// How far one lane is known to be without work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Up to here, all jobs that were committed by then have been leased.
    pub(super) at: JobId,
    /// The smallest id of the time at which the scan that set `at` began. Nearly all jobs that were committed
    /// later have ids that are at most a little smaller.
    pub(super) scanned_at: Option<JobId>,
    /// The youngest job that was ever leased.
    youngest: JobId,
}

impl Mark {
    fn new(at: JobId) -> Self {
        Self { at, scanned_at: None, youngest: at }
    }

    /// Records that a scan came as far as `at`.
    fn set(&mut self, at: JobId, scanned_at: Option<JobId>) {
        (self.at, self.scanned_at) = (at, scanned_at.or(self.scanned_at));
    }

    /// The id after which a scan starts; `None` is the front. In a deep queue the mark is older than all jobs
    /// that were committed since, so the next scan starts where the last one ended.
    pub(super) fn start(self, start: ScanStart) -> Option<JobId> {
        match (start, self.scanned_at) {
            (ScanStart::Near | ScanStart::Step, Some(scanned_at)) => {
                Some(self.at.min(scanned_at.earlier(NEAR)))
            }
            (ScanStart::Near | ScanStart::Step, None) => Some(self.at.earlier(NEAR)),
            (ScanStart::Far, _) => Some(self.at.earlier(FAR)),
            (ScanStart::Front, _) => None,
        }
    }
}

/// The marks of all lanes in which this process leased a job.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) lanes: HashMap<i32, Mark>,
    /// The oldest and the youngest job of the last lease.
    last: Option<(JobId, JobId)>,
    /// When a scan last moved a mark back. The result of a scan that began before that sets no mark.
    moved_back: Option<Instant>,
}

/// What a scan found, compared with the marks.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) jobs: usize,
    /// Whether it found a job that a near scan would not have found,
    pub(super) before_near: bool,
    /// and one that a far scan would not have found.
    pub(super) before_far: bool,
    /// Whether the last job was in the range of older ids of a step.
    pub(super) ends_in_step: bool,
    /// The lanes with jobs, in the order of the scan.
    lanes: Vec<i32>,
    last: Option<(i32, JobId)>,
}

impl Marks {
    /// The range of ids in which the next jobs probably are, around those of the last lease.
    pub(super) fn likely_ids(&self) -> Option<(Uuid, Uuid)> {
        let (oldest, youngest) = self.last?;
        let upto = JobId::floor(youngest.created_at()? + YOUNGER);
        Some((oldest.earlier(OLDER).as_uuid(), upto.as_uuid()))
    }

    /// The ranges that a scan reads. Lanes that are not named are read whole. A step also reads the next range
    /// of `sweep`.
    pub(super) fn ranges(&self, start: ScanStart, sweep: &Sweep) -> Vec<LaneRange> {
        let mut ranges = Vec::new();
        for (lane, mark) in &self.lanes {
            let Some(near) = mark.start(start) else { continue };
            if start == ScanStart::Step {
                let (after, upto) = sweep.step(near);
                ranges.push(LaneRange { lane: *lane, after: after.as_uuid(), upto: upto.as_uuid() });
            }
            ranges.push(LaneRange { lane: *lane, after: near.as_uuid(), upto: Uuid::max() });
        }
        ranges
    }

    /// Whether the next range of `sweep` begins before the first possible id in every lane.
    pub(super) fn is_last_step(&self, sweep: &Sweep) -> bool {
        let starts = self.lanes.values().filter_map(|mark| mark.start(ScanStart::Step));
        starts.map(|near| sweep.step(near).0).all(|after| after.as_uuid().is_nil())
    }

    /// Compares the leased jobs, in the order of the scan, with the marks. Sets marks only for new lanes.
    pub(super) fn compare(&mut self, start: ScanStart, leased: impl Iterator<Item = (i32, JobId)>) -> Found {
        let mut found = Found::default();
        let mut ends: Option<(JobId, JobId)> = None;
        for (lane, id) in leased {
            if found.lanes.last() != Some(&lane) {
                found.lanes.push(lane);
            }
            let mark = self.lanes.entry(lane).or_insert(Mark::new(id));
            found.before_near |= mark.start(ScanStart::Near).is_some_and(|near| id < near.earlier(PUT_BACK));
            found.before_far |= mark.start(ScanStart::Far).is_some_and(|far| id < far);
            found.ends_in_step =
                start == ScanStart::Step && mark.start(ScanStart::Step).is_some_and(|near| id <= near);
            mark.youngest = id.max(mark.youngest);
            found.last = Some((lane, id));
            ends = Some(ends.map_or((id, id), |(oldest, youngest)| (id.min(oldest), id.max(youngest))));
            found.jobs += 1;
        }
        self.last = ends.or(self.last);
        found
    }

    /// Sets the marks after a scan that ended at `now`. A scan that found enough jobs sets the mark to where
    /// it stopped, even if that is further back: jobs that were put back may follow. A scan that found fewer
    /// has read everything from its start on.
    pub(super) fn set(&mut self, result: &ScanResult, found: &Found, now: Instant) {
        if self.moved_back.is_some_and(|moved_back| result.began < moved_back) {
            return;
        }
        let scanned_at = result.began_at.map(JobId::floor);
        let Some((lane, id)) = found.last.filter(|_| result.full) else {
            self.lanes.values_mut().for_each(|mark| mark.set(mark.youngest, scanned_at));
            return;
        };
        // lanes before the last one were scanned to their end
        for other in found.lanes.iter().filter(|other| **other != lane) {
            if let Some(mark) = self.lanes.get_mut(other) {
                mark.set(mark.youngest, scanned_at);
            }
        }
        let mark = self.lanes.entry(lane).or_insert(Mark::new(id));
        if id < mark.at {
            self.moved_back = Some(now);
        }
        mark.set(id, scanned_at);
    }
}
