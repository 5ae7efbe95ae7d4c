//! The progress of a process for each choice of queues and kinds.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use jobqueue_core::JobId;
use uuid::Uuid;

use super::progress::ScanProgress;
use super::scan::{LaneRange, ScanResult, ScanStart};

/// Maximum number of choices that are remembered. A worker has one, remote workers have their own. Beyond the
/// maximum the least recently used choice is dropped.
const MAX_CHOICES: usize = 64;

/// The queues and kinds that a scan asks for. Marks are kept for each choice, because one choice skips jobs
/// that another asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Choice {
    /// Sorted, because the order in which queues are scanned does not matter here.
    queues: Vec<String>,
    kinds: Option<Vec<i32>>,
}

impl Choice {
    pub(crate) fn new(queues: &[String], kinds: Option<Vec<i32>>) -> Self {
        let mut queues = queues.to_vec();
        queues.sort_unstable();
        Self { queues, kinds }
    }

    /// Numbers of the kinds; `None` is all.
    pub(crate) fn kinds(&self) -> Option<&[i32]> {
        self.kinds.as_deref()
    }
}

/// How far this process has come, for each choice.
#[derive(Debug, Default)]
pub(crate) struct LowWaterMarks(Mutex<HashMap<Choice, ScanProgress>>);

impl LowWaterMarks {
    /// The scan to run now.
    pub(crate) fn next_scan(&self, choice: &Choice) -> ScanStart {
        self.of(choice, |progress| progress.next(Instant::now())).unwrap_or(ScanStart::Front)
    }

    /// After a scan that found nothing: the scan further back that is to run immediately, if any.
    pub(crate) fn next_rescan(&self, choice: &Choice, start: ScanStart) -> Option<ScanStart> {
        self.of(choice, |progress| progress.next_rescan(start, Instant::now())).flatten()
    }

    /// The ranges that a scan reads. Lanes that are not named are read whole.
    pub(crate) fn ranges(&self, choice: &Choice, start: ScanStart) -> Vec<LaneRange> {
        self.of(choice, |progress| progress.ranges(start)).unwrap_or_default()
    }

    /// The range of ids in which the next jobs probably are: every id, if nothing is known.
    pub(crate) fn likely_ids(&self, choice: &Choice) -> (Uuid, Uuid) {
        self.of(choice, |progress| progress.likely_ids()).flatten().unwrap_or((Uuid::nil(), Uuid::max()))
    }

    /// Records a scan that has ended now and leased these jobs of these lanes, in the order of the scan.
    pub(crate) fn scan_ended(
        &self,
        choice: &Choice,
        result: &ScanResult,
        leased: impl Iterator<Item = (i32, JobId)>,
    ) {
        self.of(choice, |progress| progress.record(result, Instant::now(), leased));
    }

    /// Records a scan that failed.
    pub(crate) fn scan_failed(&self, choice: &Choice, start: ScanStart) {
        self.of(choice, |progress| progress.failed(start));
    }

    fn of<T>(&self, choice: &Choice, act: impl FnOnce(&mut ScanProgress) -> T) -> Option<T> {
        let mut choices = self.0.lock().ok()?;
        let now = Instant::now();
        if choices.len() >= MAX_CHOICES && !choices.contains_key(choice) {
            let oldest = choices.iter().min_by_key(|(_, progress)| progress.used);
            let oldest = oldest.map(|(choice, _)| choice.clone());
            oldest.and_then(|choice| choices.remove(&choice));
        }
        let progress = choices.entry(choice.clone()).or_insert_with(|| ScanProgress::new(now));
        progress.used = now;
        Some(act(progress))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Remote workers use choices of their own. One too many drops the one that was not used for longest, and
    /// no other.
    #[test]
    fn one_choice_too_many_drops_the_least_recently_used_one() {
        let marks = LowWaterMarks::default();
        let choice = |n: usize| Choice::new(&[format!("queue-{n}")], None);
        let knows = |n| marks.0.lock().unwrap().contains_key(&choice(n));
        let (start, took) = (ScanStart::Front, Duration::from_millis(1));
        for n in 0..MAX_CHOICES {
            let result = ScanResult { start, began: Instant::now(), began_at: None, took, full: false };
            let id = JobId::from_ticks(1_790_000_000_000 << 12, 7);
            marks.scan_ended(&choice(n), &result, [(1, id)].into_iter());
        }
        marks.next_scan(&choice(0));
        marks.next_scan(&choice(MAX_CHOICES));
        assert!(!knows(1), "the one that was not used for longest");
        assert!(knows(MAX_CHOICES) && (0..MAX_CHOICES).filter(|n| *n != 1).all(knows));
        assert!(!marks.ranges(&choice(0), ScanStart::Near).is_empty(), "its marks are still there");
    }
}
