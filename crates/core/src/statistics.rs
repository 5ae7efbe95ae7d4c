//! Statistics of periods: what happened in each minute and each hour, how long jobs waited, and how long attempts ran.
//!
//! The store adds up counts and histograms for each series: for all jobs, for each queue, for each kind, and for each kind in each queue.
//! `series` bounds their number, and `range` says which periods a reader may ask for.

pub mod histogram;
pub mod range;
pub mod sample;
pub mod series;

use std::time::Duration;

pub use histogram::Histogram;
pub use range::{Range, RangeError, RangeRequest, Resolution};
pub use sample::Sample;
pub use series::{Chosen, Part, Series};

/// How long the numbers of minutes are kept.
pub const MINUTES_KEPT: Duration = Duration::from_hours(14 * 24);
/// How long the numbers of hours are kept.
pub const HOURS_KEPT: Duration = Duration::from_hours(400 * 24);

/// What happened to jobs in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that were submitted.
    pub created: u64,
    /// Jobs that completed.
    pub completed: u64,
    /// Jobs that became `failed`. A dead letter that is retried and fails again counts twice.
    pub failed: u64,
    /// Retries of failed attempts, by policy or by an operator.
    pub retried: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Snoozes by handlers.
    pub snoozed: u64,
}

impl Counts {
    /// Adds the counts of another period or series.
    pub const fn add(&mut self, other: &Self) {
        self.created += other.created;
        self.completed += other.completed;
        self.failed += other.failed;
        self.retried += other.retried;
        self.cancelled += other.cancelled;
        self.snoozed += other.snoozed;
    }

    /// All events together: what ranks the series.
    pub const fn events(&self) -> u64 {
        self.created + self.completed + self.failed + self.retried + self.cancelled + self.snoozed
    }
}

/// The numbers of one series in one period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistic {
    /// What happened.
    pub counts: Counts,
    /// How long jobs were runnable before their first attempt that counts, one value for each job. It is added when that attempt ends.
    pub wait: Histogram,
    /// How long attempts ran that ended in the period, one value for each, however it ended. Attempts that were lost with their worker, or
    /// released by a drain, are left out.
    pub run: Histogram,
}

impl Statistic {
    /// Adds the numbers of another period or series.
    pub fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.wait.add(&other.wait);
        self.run.add(&other.run);
    }

    /// Adds what one attempt took.
    pub fn add_sample(&mut self, sample: Sample) {
        if let Some(bucket) = sample.waited() {
            self.wait.add_bucket(bucket, 1);
        }
        if let Some(bucket) = sample.ran() {
            self.run.add_bucket(bucket, 1);
        }
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.counts.events() == 0 && self.wait.is_empty() && self.run.is_empty()
    }
}
