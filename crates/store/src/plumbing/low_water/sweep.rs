//! A sweep back through older ids in short steps, however many entries there are. It uses no clock and no lane.

use std::time::Duration;

use jobqueue_core::JobId;

/// A step that takes longer than this, in addition to the near scan, is too long.
const STEP: Duration = Duration::from_millis(25);
/// The period that the first step covers. If there are few entries, the next ones cover more.
const FIRST: Duration = Duration::from_millis(250);
/// The shortest period that a step covers.
const LEAST: Duration = Duration::from_millis(5);

/// How far one sweep has come, counted back from where a near scan starts.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Where the sweep begins,
    from: Duration,
    /// and where it ends; `None` is the oldest possible id.
    to: Option<Duration>,
    /// Where the next step begins,
    at: Duration,
    /// and the period that it covers.
    period: Duration,
    /// Duration of the steps of this sweep so far.
    took: Duration,
}

impl Sweep {
    pub(super) fn new(from: Duration, to: Option<Duration>) -> Self {
        Self { from, to, at: from, period: FIRST, took: Duration::ZERO }
    }

    /// The range of the next step, if a near scan starts at `near`: ids greater than the first one, up to and including
    /// the second one.
    pub(super) fn step(&self, near: JobId) -> (JobId, JobId) {
        (near.earlier(self.at.saturating_add(self.period)), near.earlier(self.at))
    }

    /// The step has read its whole range. `is_last` says that no older id is possible. Returns the duration of the whole
    /// sweep at its end.
    pub(super) fn end_step(&mut self, took: Duration, is_last: bool) -> Option<Duration> {
        self.took += took;
        self.at = self.at.saturating_add(self.period);
        if took > STEP {
            self.shorten();
        } else if took < STEP / 2 {
            self.period = self.period.saturating_mul(4);
        }
        (is_last || self.to.is_some_and(|to| self.at >= to)).then(|| {
            let whole = self.took;
            *self = Self::new(self.from, self.to);
            whole
        })
    }

    /// Makes the next step shorter.
    pub(super) fn shorten(&mut self) {
        self.period = (self.period / 2).max(LEAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn id(millis: u64) -> JobId {
        JobId::from_ticks((1_790_000_000_000 + millis) << 12, 7)
    }

    #[test]
    fn steps_are_adjacent_and_longer_while_they_are_cheap() {
        let mut sweep = Sweep::new(Duration::ZERO, None);
        let near = id(100_000);
        let (mut end, mut periods) = (near.earlier(Duration::ZERO), Vec::new());
        for took in [MS, 40 * MS, 20 * MS, 40 * MS] {
            let (after, upto) = sweep.step(near);
            assert_eq!(upto, end);
            let millis = |id: JobId| id.as_uuid().as_u128() >> 80;
            periods.push(millis(upto) - millis(after));
            end = after;
            assert_eq!(sweep.end_step(took, false), None);
        }
        assert_eq!(periods, [250, 1000, 500, 500]);
    }

    #[test]
    fn a_sweep_ends_at_its_end_or_at_the_oldest_id_and_then_begins_again() {
        let second = Duration::from_secs(1);
        let mut sweep = Sweep::new(second, Some(2 * second));
        assert_eq!(sweep.end_step(20 * MS, false), None);
        assert_eq!(sweep.end_step(MS, false), None);
        assert_eq!(sweep.end_step(MS, false), Some(22 * MS));
        assert_eq!(
            sweep.step(id(5_000)),
            (id(3_750).earlier(Duration::ZERO), id(4_000).earlier(Duration::ZERO))
        );
        let mut sweep = Sweep::new(second, None);
        let is_last = |sweep: &Sweep| sweep.step(id(0)).0.as_uuid().is_nil();
        let steps = (1..100).find(|_| {
            let last = is_last(&sweep);
            sweep.end_step(MS, last).is_some()
        });
        assert!(steps.is_some_and(|steps| steps < 20), "{steps:?}");
    }
}
