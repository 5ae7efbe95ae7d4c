//! How many workers a queue needs.

use std::time::Duration;

/// So small a share of a worker asks for none.
const NEGLIGIBLE: f64 = 0.01;

/// The work of one queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueLoad {
    /// Jobs that become runnable in a second, on average.
    pub arrivals_per_second: f64,
    /// Runnable jobs.
    pub waiting: u64,
    /// Leased jobs.
    pub running: u64,
    /// How long an attempt runs, on average; `None` before one has ended.
    pub mean_run: Option<Duration>,
    /// Jobs that one worker runs at once.
    pub slots: f64,
}

impl QueueLoad {
    /// Workers that keep up with what arrives and also work off what waits within `target`.
    ///
    /// By Little's law as many jobs run at once as arrive in a second times the seconds that each takes; what waits is so many arrivals
    /// more, spread over the target. Before anything is known of how long jobs take, enough for those that run. 0 if there is
    /// nothing to do, else at least 1.
    pub fn recommended_workers(&self, target: Duration) -> u32 {
        let idle = self.waiting == 0 && self.running == 0;
        let per_second =
            self.arrivals_per_second.max(0.0) + float(self.waiting) / target.as_secs_f64().max(1.0);
        let at_once = match self.mean_run {
            Some(mean) => per_second * mean.as_secs_f64(),
            None => float(self.running),
        };
        let workers = (at_once / self.slots.max(1.0) - NEGLIGIBLE).ceil();
        // a cast to an integer saturates
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturating is right, and it is not negative"
        )]
        let workers = workers as u32;
        workers.max(u32::from(!idle))
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a count beyond 2^53 needs every worker anyway"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const IDLE: QueueLoad =
        QueueLoad { arrivals_per_second: 0.0, waiting: 0, running: 0, mean_run: None, slots: 10.0 };

    #[test]
    fn little_says_how_many_keep_up_and_the_backlog_comes_on_top() {
        let steady = QueueLoad {
            arrivals_per_second: 50.0,
            mean_run: Some(Duration::from_secs(2)),
            running: 100,
            ..IDLE
        };
        assert_eq!(steady.recommended_workers(MINUTE), 10);
        let late = QueueLoad { waiting: 3000, ..steady };
        assert_eq!(late.recommended_workers(MINUTE), 20, "3000 within a minute are 50 more a second");
        assert_eq!(late.recommended_workers(2 * MINUTE), 15);
        let big = QueueLoad { slots: 100.0, ..late };
        assert_eq!(big.recommended_workers(MINUTE), 2);
    }

    #[test]
    fn whoever_has_work_needs_somebody_and_nobody_else_does() {
        assert_eq!(IDLE.recommended_workers(MINUTE), 0);
        let long_ago = QueueLoad { arrivals_per_second: 1e-5, mean_run: Some(MINUTE), ..IDLE };
        assert_eq!(long_ago.recommended_workers(MINUTE), 0, "an average never quite forgets");
        let quick = Some(Duration::from_micros(1));
        assert_eq!(QueueLoad { waiting: 1, mean_run: quick, ..IDLE }.recommended_workers(MINUTE), 1);
        assert_eq!(QueueLoad { running: 1, mean_run: quick, ..IDLE }.recommended_workers(MINUTE), 1);
    }

    #[test]
    fn what_takes_how_long_is_not_known_is_not_guessed() {
        let unknown = QueueLoad { waiting: 1_000_000, running: 35, ..IDLE };
        assert_eq!(unknown.recommended_workers(MINUTE), 4, "those that run are kept");
    }

    #[test]
    fn no_number_makes_it_fail() {
        let odd = QueueLoad {
            arrivals_per_second: f64::NAN,
            waiting: u64::MAX,
            running: 1,
            mean_run: Some(Duration::MAX),
            slots: 0.0,
        };
        assert_eq!(odd.recommended_workers(Duration::ZERO), u32::MAX);
        assert_eq!(QueueLoad { slots: f64::NAN, ..odd }.recommended_workers(Duration::ZERO), u32::MAX);
    }
}
