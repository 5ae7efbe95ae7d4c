//! Which scan runs next. Near scans always may; the others share a small part of the time.

use std::time::{Duration, Instant};

use super::budget::{SHARE, SHARE_IF_FOUND, SLOW_SCAN, ScanBudget};
use super::mark::{FAR, Found, Marks};
use super::scan::{ScanResult, ScanStart};
use super::sweep::Sweep;

/// A process that leased fewer jobs than this lately always scans from the front, unless such a scan is slow.
pub(super) const FEW_JOBS: usize = 10_000;
/// How long a leased job counts as leased lately.
pub(super) const LATELY: Duration = Duration::from_secs(15);
/// If no job was found for this long, scans further back become more frequent, because jobs behind the mark
/// may wait.
const NOTHING_FOUND: Duration = Duration::from_secs(1);
/// Steps may take this many times the share of other scans further back.
const STEP_SHARE: u32 = 3;
/// A scan that has not reported within the statement timeout is presumed dead.
pub(super) const PRESUMED_DEAD: Duration = Duration::from_secs(30);

/// When scans from each start are due.
#[derive(Debug)]
pub(super) struct Schedule {
    far: ScanBudget,
    front: ScanBudget,
    step: ScanBudget,
    /// The steps go back through the last seconds and through all older ids, in turn.
    sweeps: [Sweep; 2],
    /// Duration of the last near scan.
    near: Duration,
    /// Since when a scan further back is running. Other calls scan near meanwhile, so new jobs do not wait
    /// for it.
    scanning_back: Option<Instant>,
    /// Jobs leased since `since`, and in the period before.
    leased: (usize, usize),
    since: Instant,
    /// When a scan last found a job.
    found: Instant,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            far: ScanBudget::default(),
            front: ScanBudget::default(),
            step: ScanBudget::default(),
            sweeps: [Sweep::new(Duration::ZERO, Some(FAR)), Sweep::new(FAR, None)],
            near: Duration::ZERO,
            scanning_back: None,
            leased: (0, 0),
            since: now,
            found: now,
        }
    }

    /// The range of older ids that the next step scans.
    pub(super) fn sweep(&self) -> &Sweep {
        &self.sweeps[0]
    }

    /// The scan to run now: from the front as long as that is cheap, otherwise as far back as is due. Only one
    /// call at a time scans further back.
    pub(super) fn next(&mut self, now: Instant) -> ScanStart {
        let start = self.due(now);
        if start != ScanStart::Near {
            self.scanning_back = Some(now);
        }
        start
    }

    /// After a scan that found nothing: the scan further back that is to run immediately, if any.
    pub(super) fn next_rescan(&mut self, start: ScanStart, now: Instant) -> Option<ScanStart> {
        let again = match self.due(now) {
            ScanStart::Front if start != ScanStart::Front => Some(ScanStart::Front),
            ScanStart::Step => Some(ScanStart::Step),
            // the process has nothing else to do
            _ if self.takes_steps() && self.no_scan_runs(now) && self.finds_nothing(now) => {
                Some(ScanStart::Step)
            }
            _ => None,
        };
        if again.is_some() {
            self.scanning_back = Some(now);
        }
        again
    }

    pub(super) fn due(&self, now: Instant) -> ScanStart {
        let few = self.leased.0 + self.leased.1 < FEW_JOBS && !self.takes_steps();
        let share = if self.finds_nothing(now) { SHARE_IF_FOUND } else { SHARE };
        if few {
            ScanStart::Front
        } else if !self.no_scan_runs(now) {
            ScanStart::Near
        } else if self.takes_steps() {
            if self.step.is_due(now, share / STEP_SHARE) { ScanStart::Step } else { ScanStart::Near }
        } else if self.front.is_due(now, share) {
            ScanStart::Front
        } else if self.far.is_due(now, share) {
            ScanStart::Far
        } else {
            ScanStart::Near
        }
    }

    fn finds_nothing(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.found) >= NOTHING_FOUND
    }

    fn no_scan_runs(&self, now: Instant) -> bool {
        self.scanning_back.is_none_or(|since| now.saturating_duration_since(since) >= PRESUMED_DEAD)
    }

    /// Whether a scan from the front is slow, and is therefore split into steps.
    pub(super) fn takes_steps(&self) -> bool {
        self.front.is_slow()
    }

    /// A scan has ended, with or without success.
    pub(super) fn ended(&mut self, start: ScanStart) {
        if start != ScanStart::Near {
            self.scanning_back = None;
        }
    }

    /// A scan failed, maybe because it took too long. Another one may run immediately.
    pub(super) fn failed(&mut self, start: ScanStart) {
        self.ended(start);
        match start {
            ScanStart::Front => self.front.took = self.front.took.max(SLOW_SCAN),
            ScanStart::Step => self.sweeps[0].shorten(),
            ScanStart::Near | ScanStart::Far => {}
        }
    }

    /// Records a scan that ended at `now`. True if the same step is to be repeated, because its range of older
    /// ids has more jobs.
    pub(super) fn record(&mut self, result: &ScanResult, found: &Found, marks: &Marks, now: Instant) -> bool {
        self.count(found.jobs, now);
        self.ended(result.start);
        match result.start {
            ScanStart::Front => {
                self.front = ScanBudget::after(now, result.took, found.before_far);
                self.far = ScanBudget::after(now, self.far.took, found.before_near);
            }
            ScanStart::Far => self.far = ScanBudget::after(now, result.took, found.before_near),
            ScanStart::Near => self.near = result.took,
            ScanStart::Step => {
                let took = result.took.saturating_sub(self.near);
                self.step = ScanBudget::after(now, took, found.before_near);
                if result.full && found.ends_in_step {
                    return true;
                }
                self.end_step(took, marks, now);
            }
        }
        false
    }

    fn count(&mut self, jobs: usize, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= LATELY {
            self.leased = (0, if elapsed < LATELY * 2 { self.leased.0 } else { 0 });
            self.since = now;
        }
        self.leased.0 += jobs;
        if jobs > 0 {
            self.found = now;
        }
    }

    /// A step has read its whole range. The next one is of the other sweep. After a sweep through all older ids
    /// that was cheap as a whole, one scan from the front replaces the steps.
    fn end_step(&mut self, took: Duration, marks: &Marks, now: Instant) {
        let is_last = marks.is_last_step(&self.sweeps[0]);
        let whole = self.sweeps[0].end_step(took, is_last);
        if let Some(took) = whole.filter(|_| is_last) {
            self.front = ScanBudget::after(now, took, false);
        }
        self.sweeps.rotate_left(1);
    }
}
