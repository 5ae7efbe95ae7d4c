//! reclaim: jobs of dead workers and expired leases run again. Who is dead, also after an outage of the
//! database, is decided by `core::outage` from what the database says; this process keeps no state about it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jobqueue_core::OutagePolicy;
use jobqueue_store::{EndedSession, Notifier, Store};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// The largest number of leases in one step; each may cover up to 64 jobs.
const LEASES: u32 = 50;

/// A session whose transaction has waited for its client for this long belongs to a frozen or vanished
/// process. Longer than the 10 s after which Postgres itself ends sessions that are idle between two
/// statements, and short enough to reclaim the jobs in time.
const STUCK: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug)]
pub struct ReclaimDuty {
    interval: Duration,
    hold_off: Duration,
    /// The stuck sessions of the last step: one that does not end at once is logged once.
    stuck: Mutex<Vec<EndedSession>>,
}

impl ReclaimDuty {
    /// With the intervals and the hold-off of the process's arguments.
    pub fn new(args: &DutyArgs) -> Self {
        let policy = OutagePolicy { hold_off: args.hold_off };
        let interval = policy.observation_interval(args.reclaim_interval);
        Self { interval, hold_off: args.hold_off, stuck: Mutex::default() }
    }

    /// Those of the stuck sessions that were not among those of the step before.
    fn newly_stuck(&self, stuck: Vec<EndedSession>) -> Vec<EndedSession> {
        let mut known = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        let new = stuck.iter().filter(|session| !known.contains(session)).cloned().collect();
        *known = stuck;
        new
    }
}

impl Duty for ReclaimDuty {
    fn name(&self) -> &'static str {
        "reclaim"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn step<'a>(&'a self, store: &'a Store, notifier: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            // first, because locked leases are skipped
            for session in self.newly_stuck(store.upkeep().end_stuck_sessions(STUCK).await?) {
                tracing::warn!(
                    session.pid,
                    session.application_name,
                    session.client,
                    "ended a session that held locks and waited for a client that does not answer"
                );
            }
            let overran = store.end_overruns(LEASES).await?;
            for job_id in &overran.jobs {
                tracing::warn!(%job_id, "a remote worker exceeded the job's timeout, attempt ended");
            }
            let reclaimed = store.reclaim(self.hold_off, LEASES).await?;
            if let Some(outage) = reclaimed.outage {
                let seconds = (outage.ended_at - outage.began_at).as_seconds_f64();
                tracing::warn!(
                    outage_began_at = %outage.began_at,
                    outage_seconds = seconds,
                    "the database was unreachable; heartbeats that workers missed in that time are ignored"
                );
            }
            for job_id in &reclaimed.jobs {
                tracing::warn!(%job_id, "lease lost, attempt ended");
            }
            for queue in overran.queues.iter().chain(&reclaimed.queues) {
                notifier.wake(queue);
            }
            let jobs = u64::try_from(overran.jobs.len() + reclaimed.jobs.len()).unwrap_or(u64::MAX);
            Ok(Done { jobs, more: jobs > 0 })
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::ReaperCli;

    #[test]
    fn a_stuck_session_is_logged_once() {
        let args = ReaperCli::try_parse_from(["reaper", "--database-url", "postgresql://u@h/d"]).unwrap();
        let reclaim = ReclaimDuty::new(&args.duties);
        let session = |pid| EndedSession { pid, application_name: "jobqueue-worker".into(), client: None };
        assert_eq!(reclaim.newly_stuck(vec![session(1)]), [session(1)]);
        assert_eq!(reclaim.newly_stuck(vec![session(1)]), []);
        assert_eq!(reclaim.newly_stuck(vec![session(1), session(2)]), [session(2)]);
        assert_eq!(reclaim.newly_stuck(vec![]), []);
        assert_eq!(reclaim.newly_stuck(vec![session(1)]), [session(1)], "a later one with the same number");
    }
}
