//! Why a job does not run: all causes that hold, in the order in which a job meets them. Pure: the store reads the facts in one
//! snapshot. A new cause is one variant of [`Reason`], the fact that it needs in [`Facts`], and one line of [`explain`].

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use crate::attempt::Ended;
use crate::id::{JobId, WorkerId};
use crate::job::JobRecord;
use crate::name::{KindName, QueueName, ScheduleName};
use crate::status::Status;

mod sentences;
mod tick;

pub use tick::{NextTick, WaitingTick};

/// Up to this many jobs ahead are counted exactly.
pub const MAX_AHEAD: u64 = 1000;
/// If the last census is older, the reaper is probably missing. It takes one every few seconds.
pub const CENSUS_OLD_AFTER: TimeDelta = TimeDelta::seconds(60);
/// Maximum number of characters of an error that are repeated.
const MAX_ERROR_CHARS: usize = 200;

/// What is known about a job and about what it needs, in one snapshot of the database.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The time of the snapshot.
    pub now: DateTime<Utc>,
    /// The job's queue.
    pub queue: QueueName,
    /// The job's kind.
    pub kind: KindName,
    /// Where the job is.
    pub state: JobState,
    /// Whether the database accepts no writes.
    pub read_only: bool,
    /// When a reaper last counted the queues; `None` if none ever did.
    pub census_at: Option<DateTime<Utc>>,
    /// Since when the queue is paused; `None` if it is not.
    pub queue_paused_at: Option<DateTime<Utc>>,
    /// Since when the kind is paused; `None` if it is not.
    pub kind_paused_at: Option<DateTime<Utc>>,
    /// The live workers that could run the job.
    pub workers: ServingWorkers,
    /// The jobs that workers lease before it.
    pub ahead: JobsAhead,
}

/// Where a job is, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// It can run now.
    Queued,
    /// It waits for its time or for other jobs.
    Waiting {
        /// When it may run.
        run_at: DateTime<Utc>,
        /// Number of jobs that it waits for.
        pending: u32,
        /// Attempts that have begun.
        attempt: u16,
        /// Attempts that it may have.
        max_attempts: u16,
        /// How its last attempt ended; `None` before the first one.
        last: Option<LastAttempt>,
    },
    /// It is the next job of a schedule and does not exist yet.
    Tick(NextTick),
    /// A worker has leased it.
    Running(Run),
    /// It is final.
    Ended {
        /// Its final status.
        status: Status,
        /// When it ended.
        at: DateTime<Utc>,
    },
}

/// The end of a job's last attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct LastAttempt {
    /// How it ended.
    pub ended: Ended,
    /// The message of its error.
    pub error: Option<String>,
}

/// The attempt that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its number, from 1.
    pub attempt: u16,
    /// The worker that runs it; `None` for a remote worker that gave no name.
    pub worker_id: Option<WorkerId>,
    /// The worker's name, if it is known.
    pub worker_name: Option<String>,
    /// When it was leased.
    pub since: Option<DateTime<Utc>>,
    /// When the lease ends unless it is renewed.
    pub lease_expires_at: Option<DateTime<Utc>>,
}

/// Live workers that lease from the job's queue and do not drain. Only [`paused`](Self::paused) counts those that an operator has paused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServingWorkers {
    /// Those that lease from the queue, of any kind.
    pub of_queue: u64,
    /// Those of them that also lease the job's kind.
    pub serving: u64,
    /// Paused workers that would lease both.
    pub paused: u64,
    /// Slots of the serving workers, used or free.
    pub slots: u64,
    /// Whether one of them has a free slot, or does not say how many it has, as remote workers do.
    pub has_room: bool,
    /// The worker that last could have run the job, alive or not, and when it was last seen.
    pub last: Option<(String, DateTime<Utc>)>,
}

/// Jobs that can run now and that workers lease before the job: of its queue, with a higher priority, or older with the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobsAhead {
    /// How many, up to [`MAX_AHEAD`].
    pub jobs: u64,
    /// False if there are more.
    pub exact: bool,
}

/// A cause that keeps a job from running, with its facts. The order of the variants is the order in which a job meets them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// The database accepts no writes, so nothing can be leased.
    DatabaseReadOnly,
    /// The reaper stopped its schedule.
    ScheduleFailed {
        /// The schedule.
        schedule: ScheduleName,
        /// Why.
        error: String,
    },
    /// A user has disabled its schedule.
    ScheduleDisabled {
        /// The schedule.
        schedule: ScheduleName,
    },
    /// An operator has paused its schedule.
    SchedulePaused {
        /// The schedule.
        schedule: ScheduleName,
        /// Since when.
        paused_at: DateTime<Utc>,
    },
    /// Its schedule has no further tick.
    ScheduleEnded {
        /// The schedule.
        schedule: ScheduleName,
    },
    /// The job of the tick before has not ended, and the overlap rule of the schedule is `queue_one`.
    Overlap {
        /// The schedule.
        schedule: ScheduleName,
        /// The tick that waits.
        tick: DateTime<Utc>,
        /// The job that has to end.
        previous_job: JobId,
    },
    /// The job of an earlier tick has not ended, and the overlap rule of the schedule is `skip`.
    OverlapSkips {
        /// The schedule.
        schedule: ScheduleName,
        /// The job that has to end.
        previous_job: JobId,
    },
    /// Other jobs have to end first.
    WaitsForJobs {
        /// How many.
        jobs: u32,
    },
    /// Its time has not come.
    ScheduledUntil {
        /// When it may run.
        run_at: DateTime<Utc>,
    },
    /// It failed and is retried later.
    RetryWaits {
        /// When the next attempt may begin.
        run_at: DateTime<Utc>,
        /// Number of the attempt that failed.
        attempt: u16,
        /// Attempts that it may have.
        max_attempts: u16,
        /// The beginning of the error of that attempt.
        last_error: Option<String>,
    },
    /// Its handler asked to run again later.
    Snoozed {
        /// When it may run again.
        run_at: DateTime<Utc>,
    },
    /// The last census is old, so the reaper, which makes scheduled jobs runnable, is probably missing.
    CensusOld {
        /// When it was taken; `None` if there was none.
        taken_at: Option<DateTime<Utc>>,
        /// How old it may be, in seconds.
        limit_seconds: i64,
    },
    /// Its queue is paused.
    QueuePaused {
        /// The queue.
        queue: QueueName,
        /// Since when.
        paused_at: DateTime<Utc>,
    },
    /// Its kind is paused.
    KindPaused {
        /// The kind.
        kind: KindName,
        /// Since when.
        paused_at: DateTime<Utc>,
    },
    /// No live worker leases its queue and kind.
    NoWorker {
        /// The queue.
        queue: QueueName,
        /// The kind.
        kind: KindName,
        /// Live workers that lease from the queue, but not this kind.
        queue_workers: u64,
        /// Name of the worker that last leased both.
        last_worker: Option<String>,
        /// When that worker was last seen.
        last_seen_at: Option<DateTime<Utc>>,
    },
    /// An operator has paused all workers that lease its queue and kind.
    WorkersPaused {
        /// How many.
        workers: u64,
    },
    /// All workers that could run it are busy.
    SlotsBusy {
        /// Live workers that lease its queue and kind.
        workers: u64,
        /// Their slots.
        slots: u64,
    },
    /// Other jobs are leased first.
    Behind {
        /// How many.
        jobs: u64,
        /// False if there are more than `jobs`.
        exact: bool,
    },
}

/// The answer to "why does this job not run?".
#[derive(Clone, Debug, PartialEq)]
pub enum Explanation {
    /// Something holds it: all causes, the binding one first. Never empty.
    Waits(Vec<Reason>),
    /// Nothing holds it.
    CanStart,
    /// It runs.
    Running(Run),
    /// It has ended.
    Ended {
        /// Its final status.
        status: Status,
        /// When it ended.
        at: DateTime<Utc>,
    },
}

/// All causes that hold. The first one is binding: the later ones matter only when it is resolved.
pub fn explain(facts: &Facts) -> Explanation {
    match &facts.state {
        JobState::Running(run) => Explanation::Running(run.clone()),
        JobState::Ended { status, at } => Explanation::Ended { status: *status, at: *at },
        JobState::Queued | JobState::Waiting { .. } | JobState::Tick(_) => {
            let mut reasons = Vec::new();
            reasons.extend(facts.read_only.then_some(Reason::DatabaseReadOnly));
            reasons.extend(waiting(facts));
            reasons.extend(paused(facts));
            reasons.extend(workers(facts));
            reasons.extend(behind(facts.ahead));
            if reasons.is_empty() { Explanation::CanStart } else { Explanation::Waits(reasons) }
        }
    }
}

/// What keeps a job from being made runnable.
fn waiting(facts: &Facts) -> Vec<Reason> {
    let mut reasons = match &facts.state {
        JobState::Waiting { run_at, pending, attempt, max_attempts, last } => {
            of_waiting(facts.now, (*run_at, *pending), (*attempt, *max_attempts), last.as_ref())
        }
        JobState::Tick(tick) => of_tick(facts.now, tick),
        JobState::Queued | JobState::Running(_) | JobState::Ended { .. } => return Vec::new(),
    };
    let taken_at = facts.census_at;
    if taken_at.is_none_or(|at| facts.now - at > CENSUS_OLD_AFTER) {
        reasons.push(Reason::CensusOld { taken_at, limit_seconds: CENSUS_OLD_AFTER.num_seconds() });
    }
    reasons
}

/// What keeps the reaper from enqueueing the next job of a schedule.
fn of_tick(now: DateTime<Utc>, next: &NextTick) -> Vec<Reason> {
    let schedule = || next.schedule.clone();
    let mut reasons = Vec::new();
    reasons.extend(next.error.clone().map(|error| Reason::ScheduleFailed { schedule: schedule(), error }));
    reasons.extend((!next.enabled).then(|| Reason::ScheduleDisabled { schedule: schedule() }));
    reasons
        .extend(next.paused_at.map(|paused_at| Reason::SchedulePaused { schedule: schedule(), paused_at }));
    let is_stopped = !reasons.is_empty();
    match (next.waiting, next.fires_at) {
        (Some(WaitingTick { tick, previous: Some(previous_job) }), _) => {
            reasons.push(Reason::Overlap { schedule: schedule(), tick, previous_job });
        }
        (None, Some(run_at)) if run_at > now => reasons.push(Reason::ScheduledUntil { run_at }),
        (None, None) if !is_stopped => reasons.push(Reason::ScheduleEnded { schedule: schedule() }),
        _ => {}
    }
    // last, because the job may end before the next tick
    if let Some(previous_job) = next.skips_during.filter(|_| next.fires_at.is_some()) {
        reasons.push(Reason::OverlapSkips { schedule: schedule(), previous_job });
    }
    reasons
}

/// What a stored job waits for.
fn of_waiting(
    now: DateTime<Utc>,
    (run_at, pending): (DateTime<Utc>, u32),
    (attempt, max_attempts): (u16, u16),
    last: Option<&LastAttempt>,
) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if pending > 0 {
        reasons.push(Reason::WaitsForJobs { jobs: pending });
    }
    if run_at > now {
        reasons.push(match last.map(|last| (last.ended, &last.error)) {
            Some((Ended::Retried, error)) => {
                let last_error = error.as_deref().map(shortened);
                Reason::RetryWaits { run_at, attempt, max_attempts, last_error }
            }
            Some((Ended::Snoozed, _)) => Reason::Snoozed { run_at },
            _ => Reason::ScheduledUntil { run_at },
        });
    }
    reasons
}

fn paused(facts: &Facts) -> impl Iterator<Item = Reason> {
    let (queue, kind) = (facts.queue.clone(), facts.kind.clone());
    let queue = facts.queue_paused_at.map(|paused_at| Reason::QueuePaused { queue, paused_at });
    let kind = facts.kind_paused_at.map(|paused_at| Reason::KindPaused { kind, paused_at });
    queue.into_iter().chain(kind)
}

fn workers(facts: &Facts) -> Option<Reason> {
    let workers = &facts.workers;
    if workers.serving == 0 && workers.paused > 0 {
        return Some(Reason::WorkersPaused { workers: workers.paused });
    }
    if workers.serving == 0 {
        let (last_worker, last_seen_at) = workers.last.clone().unzip();
        let (queue, kind) = (facts.queue.clone(), facts.kind.clone());
        let queue_workers = workers.of_queue;
        return Some(Reason::NoWorker { queue, kind, queue_workers, last_worker, last_seen_at });
    }
    (!workers.has_room).then_some(Reason::SlotsBusy { workers: workers.serving, slots: workers.slots })
}

fn behind(ahead: JobsAhead) -> Option<Reason> {
    (ahead.jobs > 0).then_some(Reason::Behind { jobs: ahead.jobs, exact: ahead.exact })
}

/// The first line, without its end if it is long.
fn shortened(error: &str) -> String {
    error.lines().next().unwrap_or_default().chars().take(MAX_ERROR_CHARS).collect()
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl JobState {
    /// The state of a stored job. `pending` is the number of jobs that it waits for, `last` its last attempt that ended, and
    /// `worker_name` the name of the worker that runs it.
    pub fn of(
        record: &JobRecord,
        pending: u32,
        last: Option<LastAttempt>,
        worker_name: Option<String>,
    ) -> Self {
        let waiting = |last| Self::Waiting {
            // a job that waits for others may have no time of its own
            run_at: record.run_at.unwrap_or(record.created_at),
            pending,
            attempt: record.job.attempt,
            max_attempts: record.job.max_attempts,
            last,
        };
        match record.status {
            Status::Queued => Self::Queued,
            Status::Scheduled | Status::Blocked => waiting(last),
            Status::Running => Self::Running(Run {
                attempt: record.job.attempt,
                worker_id: record.worker_id,
                worker_name,
                since: record.started_at,
                lease_expires_at: record.lease_expires_at,
            }),
            status @ (Status::Completed | Status::Failed | Status::Cancelled) => {
                Self::Ended { status, at: record.finished_at.unwrap_or(record.created_at) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
