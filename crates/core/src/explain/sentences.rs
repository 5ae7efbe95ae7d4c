//! The sentences of an explanation, and what would resolve each cause.

use super::{Explanation, Reason, Run, time};

impl Explanation {
    /// One word for programs: `waits`, `can_start`, `running` or `ended`.
    pub const fn verdict(&self) -> &'static str {
        match self {
            Self::Waits(_) => "waits",
            Self::CanStart => "can_start",
            Self::Running(_) => "running",
            Self::Ended { .. } => "ended",
        }
    }

    /// The causes, the binding one first; empty unless the job waits.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Waits(reasons) => reasons,
            Self::CanStart | Self::Running(_) | Self::Ended { .. } => &[],
        }
    }

    /// One sentence for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::Waits(reasons) => reasons.first().map_or_else(String::new, Reason::sentence),
            Self::CanStart => "Nothing holds the job: it can start now.".to_owned(),
            Self::Running(run) => run.sentence(),
            Self::Ended { status, at } => format!("The job ended at {}; its status is {status}.", time(*at)),
        }
    }
}

impl Run {
    fn sentence(&self) -> String {
        let worker = self.worker_name.as_ref().map(|name| format!(" on worker `{name}`")).unwrap_or_default();
        let since = self.since.map(|since| format!(" since {}", time(since))).unwrap_or_default();
        let lease =
            self.lease_expires_at.map(|at| format!("; its lease ends at {} unless it is renewed", time(at)));
        format!("Attempt {} has been running{worker}{since}{}.", self.attempt, lease.unwrap_or_default())
    }
}

impl Reason {
    /// Its facts as JSON, among them its stable name as `code`.
    pub fn facts(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(facts)) => facts,
            // a variant is always an object
            Ok(_) | Err(_) => serde_json::Map::new(),
        }
    }

    /// One sentence for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::DatabaseReadOnly => "The database is read-only, so no job can be leased.".to_owned(),
            Self::ScheduleFailed { .. }
            | Self::ScheduleDisabled { .. }
            | Self::SchedulePaused { .. }
            | Self::ScheduleEnded { .. }
            | Self::Overlap { .. }
            | Self::OverlapSkips { .. } => self.of_schedule(),
            Self::WaitsForJobs { jobs } => {
                format!("It waits for the end of {}.", count(u64::from(*jobs), "other job"))
            }
            Self::ScheduledUntil { run_at } => format!("It is scheduled for {}.", time(*run_at)),
            Self::RetryWaits { run_at, attempt, max_attempts, last_error } => {
                let error = last_error.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
                format!(
                    "Attempt {attempt} of {max_attempts} failed{error}; the next one begins at {}.",
                    time(*run_at)
                )
            }
            Self::Snoozed { run_at } => format!("Its handler snoozed it until {}.", time(*run_at)),
            Self::CensusOld { taken_at, limit_seconds } => {
                let census = taken_at.map_or_else(
                    || "No census was ever taken".to_owned(),
                    |at| {
                        format!("The last census was taken at {}, more than {limit_seconds} s ago", time(at))
                    },
                );
                format!("{census}: the reaper, which makes scheduled jobs runnable, is probably missing.")
            }
            Self::QueuePaused { queue, paused_at } => {
                format!("Queue `{queue}` has been paused since {}.", time(*paused_at))
            }
            Self::KindPaused { kind, paused_at } => {
                format!("Kind `{kind}` has been paused since {}.", time(*paused_at))
            }
            Self::NoWorker { queue, kind, queue_workers, last_worker, last_seen_at } => {
                let others = match queue_workers {
                    0 => String::new(),
                    more => format!("; {} of the queue without this kind", count(*more, "live worker")),
                };
                let last = last_worker.as_ref().zip(*last_seen_at);
                let last = last.map(|(name, at)| format!("; `{name}` last did, seen at {}", time(at)));
                let last = last.unwrap_or_default();
                format!("No live worker leases queue `{queue}` and kind `{kind}`{others}{last}.")
            }
            Self::WorkersPaused { workers } => format!(
                "All workers that lease its queue and kind are paused: {}.",
                count(*workers, "live worker")
            ),
            Self::SlotsBusy { workers, slots } => format!(
                "All slots of all workers that lease its queue and kind are in use: {} of {}.",
                count(*slots, "slot"),
                count(*workers, "live worker")
            ),
            Self::Behind { jobs, exact: true } => {
                format!("{} ahead of it in its queue can start.", count(*jobs, "job"))
            }
            Self::Behind { jobs, exact: false } => {
                format!("More than {jobs} jobs ahead of it in its queue can start.")
            }
        }
    }

    /// The sentence of a reason that only the next job of a schedule has.
    fn of_schedule(&self) -> String {
        match self {
            Self::ScheduleFailed { schedule, error } => {
                format!(
                    "Schedule `{schedule}` is invalid: {}.",
                    super::shortened(error).trim_end_matches('.')
                )
            }
            Self::ScheduleDisabled { schedule } => format!("Schedule `{schedule}` is disabled."),
            Self::SchedulePaused { schedule, paused_at } => {
                format!("Schedule `{schedule}` has been paused since {}.", time(*paused_at))
            }
            Self::ScheduleEnded { schedule } => format!("Schedule `{schedule}` has no further tick."),
            Self::Overlap { schedule, tick, previous_job } => format!(
                "The tick {} of schedule `{schedule}` waits for the end of job {previous_job}, the one of the tick before, because its `overlap` is `queue_one`.",
                time(*tick)
            ),
            Self::OverlapSkips { schedule, previous_job } => format!(
                "The ticks of schedule `{schedule}` have no job until job {previous_job}, the one of an earlier tick, has ended, because its `overlap` is `skip`."
            ),
            _ => String::new(),
        }
    }

    /// What would resolve it.
    pub fn resolution(&self) -> String {
        match self {
            Self::DatabaseReadOnly => {
                "Connect to the primary, or make the database accept writes.".to_owned()
            }
            Self::ScheduleFailed { schedule, .. } => {
                format!("Change schedule `{schedule}` so that it is valid.")
            }
            Self::ScheduleDisabled { schedule } => format!("Set `enabled` of schedule `{schedule}` to true."),
            Self::SchedulePaused { schedule, .. } => format!("Resume schedule `{schedule}`."),
            Self::ScheduleEnded { schedule } => {
                format!("Give schedule `{schedule}` other times or more runs.")
            }
            Self::Overlap { previous_job, .. } | Self::OverlapSkips { previous_job, .. } => {
                format!("Wait until job {previous_job} has ended, or cancel it.")
            }
            Self::WaitsForJobs { .. } => "Wait until those jobs have ended.".to_owned(),
            Self::ScheduledUntil { .. } | Self::RetryWaits { .. } | Self::Snoozed { .. } => {
                "Wait until then, or promote the job.".to_owned()
            }
            Self::CensusOld { .. } => {
                "Start a reaper, or find out from its log why it does not reach the database.".to_owned()
            }
            Self::QueuePaused { queue, .. } => format!("Resume queue `{queue}`."),
            Self::KindPaused { kind, .. } => format!("Resume kind `{kind}`."),
            Self::NoWorker { queue, kind, .. } => {
                format!("Start a worker for queue `{queue}` with a handler for kind `{kind}`.")
            }
            Self::WorkersPaused { .. } => "Resume a worker.".to_owned(),
            Self::SlotsBusy { .. } => "Wait until a job ends, or start more workers.".to_owned(),
            Self::Behind { .. } => {
                "Wait until those jobs have started. More workers shorten the wait.".to_owned()
            }
        }
    }
}

fn count(n: u64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}
