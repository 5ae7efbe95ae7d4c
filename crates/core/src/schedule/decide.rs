//! What a pass over a due schedule does: which ticks get a job, which do not, and when the next tick is.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Overlap;
use super::definition::Schedule;
use super::due::{Action, due};

/// How far a schedule has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The tick that was named as next; `None` if the schedule has ended, or was never planned.
    pub next: Option<DateTime<Utc>>,
    /// The tick that waits for the end of the previous job.
    pub waiting: Option<DateTime<Utc>>,
    /// Whether the job of the last tick that had one has not ended.
    pub is_running: bool,
    /// How many jobs its ticks have enqueued.
    pub runs: u64,
}

/// What became of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Its job was enqueued.
    Fired,
    /// Its job is enqueued when the previous job has ended.
    Waiting,
    /// No job: it could not fire in time.
    Missed,
    /// No job: the previous job had not ended, or a later tick replaced it.
    Overlap,
    /// No job: its job would have expired already.
    Expired,
    /// No job: another job holds the unique key.
    Unique,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Self; 6] =
        [Self::Fired, Self::Waiting, Self::Missed, Self::Overlap, Self::Expired, Self::Unique];

    /// The word for it, in storage, answers and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Waiting => "waiting",
            Self::Missed => "missed",
            Self::Overlap => "overlap",
            Self::Expired => "expired",
            Self::Unique => "unique",
        }
    }

    /// The fate of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.word() == word)
    }
}

/// What a pass does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// The ticks that it decides, in order. The first may be the one that was waiting.
    pub ticks: Vec<(DateTime<Utc>, Fate)>,
    /// The tick after them; `None` if the schedule has ended.
    pub next: Option<DateTime<Utc>>,
    /// The tick that waits now.
    pub waiting: Option<DateTime<Utc>>,
    /// Whether the previous job is cancelled before the new one is enqueued.
    pub cancels_previous: bool,
}

impl Schedule {
    /// Decides about everything that is due at `now`.
    pub fn pass(&self, progress: Progress, now: DateTime<Utc>) -> Pass {
        let mut is_running = progress.is_running;
        let mut used = progress.runs + u64::from(progress.waiting.is_some());
        let mut pass = Pass { next: progress.next, waiting: progress.waiting, ..Pass::default() };
        if let Some(tick) = pass.waiting.take_if(|_| !is_running) {
            let fate = if self.is_expired(tick, now) { Fate::Expired } else { Fate::Fired };
            is_running = fate == Fate::Fired;
            pass.ticks.push((tick, fate));
        }
        let Some(first) = progress.next else { return pass };
        let due = due(&self.plan, first, now);
        pass.next = due.next;
        for (tick, action) in due.ticks {
            if self.is_used_up(used) {
                break;
            }
            let fate = match action {
                Action::Miss => Fate::Missed,
                Action::Fire if self.is_expired(tick, now) => Fate::Expired,
                Action::Fire if !is_running => Fate::Fired,
                Action::Fire => self.overlapping(pass.waiting.is_some()),
            };
            if fate == Fate::Fired && self.overlap == Overlap::CancelPrevious {
                used -= pass.replace_fired();
                pass.cancels_previous |= progress.is_running;
            }
            if fate == Fate::Waiting {
                pass.waiting = Some(tick);
            }
            used += u64::from(matches!(fate, Fate::Fired | Fate::Waiting));
            is_running |= fate == Fate::Fired;
            pass.ticks.push((tick, fate));
        }
        if self.is_used_up(used) {
            pass.next = None;
        }
        pass
    }

    /// The fate of a tick while the previous job has not ended.
    fn overlapping(&self, one_waits: bool) -> Fate {
        match self.overlap {
            Overlap::Allow | Overlap::CancelPrevious => Fate::Fired,
            Overlap::QueueOne if !one_waits => Fate::Waiting,
            Overlap::QueueOne | Overlap::Skip => Fate::Overlap,
        }
    }

    fn is_expired(&self, tick: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.expires_after.and_then(|after| tick.checked_add_signed(after)).is_some_and(|at| at <= now)
    }

    /// Whether it has enqueued all jobs that it may.
    fn is_used_up(&self, runs: u64) -> bool {
        self.max_runs.is_some_and(|most| runs >= most)
    }

    /// The next tick of a schedule that begins now; see [`Schedule::first_after`].
    pub fn begin(&self, runs: u64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.is_used_up(runs) { None } else { self.first_after(now) }
    }
}

impl Pass {
    /// Takes the job from the ticks that fired in this pass, because a later tick replaces them. Returns how many there were.
    fn replace_fired(&mut self) -> u64 {
        let fired = self.ticks.iter_mut().filter(|(_, fate)| *fate == Fate::Fired);
        fired.map(|(_, fate)| *fate = Fate::Overlap).count().try_into().unwrap_or(u64::MAX)
    }
}

/// What a schedule is doing, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleStatus {
    /// It has a next tick, or will be planned within a second.
    Active,
    /// An operator paused it.
    Paused,
    /// Its `enabled` is false.
    Disabled,
    /// It is invalid: its error says why.
    Failed,
    /// It has no further tick.
    Ended,
}

impl ScheduleStatus {
    /// The status that follows from what is stored.
    #[expect(clippy::fn_params_excessive_bools, reason = "four facts of a stored row, read in one place")]
    pub const fn of(has_error: bool, is_enabled: bool, is_paused: bool, has_next: bool) -> Self {
        match (has_error, is_enabled, is_paused, has_next) {
            (true, ..) => Self::Failed,
            (_, false, ..) => Self::Disabled,
            (_, _, true, _) => Self::Paused,
            (.., true) => Self::Active,
            (.., false) => Self::Ended,
        }
    }
}
