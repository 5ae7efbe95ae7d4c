//! A way back through old times in steps that are short whatever lies there. Knows no clock and no lane.

use std::time::Duration;

use jobqueue_core::JobId;

/// What a step may take, beyond the look at what is near.
const STEP: Duration = Duration::from_millis(25);
/// How long a time the first step of a way covers. Where little lies, the next ones cover more.
const FIRST: Duration = Duration::from_millis(250);
/// And the least that any covers.
const LEAST: Duration = Duration::from_millis(5);

/// How far one way has come, counted back from where a near look starts.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Where the way begins,
    from: Duration,
    /// and where it ends; `None`: where time begins.
    to: Option<Duration>,
    /// The next step goes back from here,
    at: Duration,
    /// so far.
    span: Duration,
    /// What the steps of this way took.
    took: Duration,
}

impl Sweep {
    pub(super) fn new(from: Duration, to: Option<Duration>) -> Self {
        Self { from, to, at: from, span: FIRST, took: Duration::ZERO }
    }

    /// The ids between which the next step looks, the second one included, if a near look starts at `near`.
    pub(super) fn step(&self, near: JobId) -> (JobId, JobId) {
        (near.earlier(self.at.saturating_add(self.span)), near.earlier(self.at))
    }

    /// The step has seen all that it covers; `first`: so did it of the beginning of time. Answers what the whole way took, at its end.
    pub(super) fn went(&mut self, took: Duration, first: bool) -> Option<Duration> {
        self.took += took;
        self.at = self.at.saturating_add(self.span);
        if took > STEP {
            self.is_too_long();
        } else if took < STEP / 2 {
            self.span = self.span.saturating_mul(4);
        }
        (first || self.to.is_some_and(|to| self.at >= to)).then(|| {
            let whole = self.took;
            *self = Self::new(self.from, self.to);
            whole
        })
    }

    /// The next step shall be shorter.
    pub(super) fn is_too_long(&mut self) {
        self.span = (self.span / 2).max(LEAST);
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
    fn steps_lie_side_by_side_and_are_as_long_as_they_are_cheap() {
        let mut sweep = Sweep::new(Duration::ZERO, None);
        let near = id(100_000);
        let (mut end, mut spans) = (near.earlier(Duration::ZERO), Vec::new());
        for took in [MS, 40 * MS, 20 * MS, 40 * MS] {
            let (after, upto) = sweep.step(near);
            assert_eq!(upto, end);
            let millis = |id: JobId| id.as_uuid().as_u128() >> 80;
            spans.push(millis(upto) - millis(after));
            end = after;
            assert_eq!(sweep.went(took, false), None);
        }
        assert_eq!(spans, [250, 1000, 500, 500]);
    }

    #[test]
    fn a_way_ends_where_it_should_or_where_time_begins_and_then_begins_again() {
        let second = Duration::from_secs(1);
        let mut sweep = Sweep::new(second, Some(2 * second));
        assert_eq!(sweep.went(20 * MS, false), None);
        assert_eq!(sweep.went(MS, false), None);
        assert_eq!(sweep.went(MS, false), Some(22 * MS));
        assert_eq!(
            sweep.step(id(5_000)),
            (id(3_750).earlier(Duration::ZERO), id(4_000).earlier(Duration::ZERO))
        );
        let mut sweep = Sweep::new(second, None);
        let first = |sweep: &Sweep| sweep.step(id(0)).0.as_uuid().is_nil();
        let steps = (1..100).find(|_| {
            let first = first(&sweep);
            sweep.went(MS, first).is_some()
        });
        assert!(steps.is_some_and(|steps| steps < 20), "{steps:?}");
    }
}
