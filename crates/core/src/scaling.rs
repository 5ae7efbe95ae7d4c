//! How many workers a queue needs.

use std::time::Duration;

/// A need below this fraction of a worker is ignored.
const NEGLIGIBLE: f64 = 0.01;

/// The load of one queue, from the census.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueLoad {
    /// Average number of jobs that become runnable per second.
    pub arrivals_per_second: f64,
    /// Number of runnable jobs.
    pub waiting: u64,
    /// Number of leased jobs.
    pub running: u64,
    /// Average duration of an attempt; `None` before the first one has ended.
    pub mean_run: Option<Duration>,
    /// Number of jobs that one worker runs at the same time.
    pub slots: f64,
}

impl QueueLoad {
    /// The number of workers that keep up with new jobs and also finish the backlog within `target`.
    ///
    /// By Little's law the number of jobs in progress is the arrival rate times the average duration. The backlog adds
    /// to the arrival rate: the waiting jobs divided by the target. While the average duration is unknown, the result
    /// is enough for the jobs that run now. It is 0 if no job waits or runs, otherwise at least 1.
    pub fn recommended_workers(&self, target: Duration) -> u32 {
        let idle = self.waiting == 0 && self.running == 0;
        let per_second =
            self.arrivals_per_second.max(0.0) + float(self.waiting) / target.as_secs_f64().max(1.0);
        let at_once = match self.mean_run {
            Some(mean) => per_second * mean.as_secs_f64(),
            None => float(self.running),
        };
        let workers = (at_once / self.slots.max(1.0) - NEGLIGIBLE).ceil();
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, which is wanted here"
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
    fn the_backlog_adds_to_the_workers_that_keep_up_with_arrivals() {
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
    fn a_queue_with_work_needs_a_worker_and_an_idle_one_needs_none() {
        assert_eq!(IDLE.recommended_workers(MINUTE), 0);
        let long_ago = QueueLoad { arrivals_per_second: 1e-5, mean_run: Some(MINUTE), ..IDLE };
        assert_eq!(long_ago.recommended_workers(MINUTE), 0, "a decaying average never reaches 0");
        let quick = Some(Duration::from_micros(1));
        assert_eq!(QueueLoad { waiting: 1, mean_run: quick, ..IDLE }.recommended_workers(MINUTE), 1);
        assert_eq!(QueueLoad { running: 1, mean_run: quick, ..IDLE }.recommended_workers(MINUTE), 1);
    }

    #[test]
    fn an_unknown_duration_keeps_the_workers_that_run_jobs() {
        let unknown = QueueLoad { waiting: 1_000_000, running: 35, ..IDLE };
        assert_eq!(unknown.recommended_workers(MINUTE), 4, "35 running jobs need 4 workers of 10 slots");
    }

    #[test]
    fn extreme_numbers_do_not_panic() {
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
