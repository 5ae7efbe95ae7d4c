//! What operators set for all jobs of a kind, at run time. It applies to a job that does not say otherwise, also to one that was submitted
//! before the setting, from the next lease on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::Job;
use crate::retry::RetryPolicy;

/// At most so many kinds may be paused, and so many may have settings: every lease reads them.
pub const MAX_KINDS: u32 = 1000;

/// Defaults of the jobs of a kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KindSettings {
    /// Time limit of one attempt, in milliseconds. `None`: the worker's own default.
    pub timeout_ms: Option<u64>,
    /// When a failed attempt is retried. `None`: the default policy.
    pub retry: Option<RetryPolicy>,
}

impl KindSettings {
    /// Fills in what the job leaves open.
    pub fn apply(&self, job: &mut Job) {
        job.timeout = job.timeout.or(self.timeout_ms.map(Duration::from_millis));
        if job.retry.is_none() {
            job.retry.clone_from(&self.retry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;

    #[test]
    fn only_what_the_job_leaves_open_is_filled_in() {
        let fixed = |delay_seconds| Some(RetryPolicy::Fixed { delay_seconds });
        let settings = KindSettings { timeout_ms: Some(2_000), retry: fixed(1.0) };
        let mut open = Job { timeout: None, retry: None, ..job() };
        settings.apply(&mut open);
        assert_eq!((open.timeout, &open.retry), (Some(Duration::from_secs(2)), &fixed(1.0)));
        let mut own = Job { timeout: Some(Duration::from_secs(9)), retry: fixed(9.0), ..job() };
        let before = own.clone();
        settings.apply(&mut own);
        assert_eq!(own, before);
        let before = open.clone();
        KindSettings::default().apply(&mut open);
        assert_eq!(open, before);
    }
}
