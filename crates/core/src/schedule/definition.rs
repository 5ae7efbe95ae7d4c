//! A schedule that passed every check.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::{Overlap, Plan, Timing};
use crate::field::FieldError;
use crate::job::{JobDraft, NewJob, Start};
use crate::json::Json;
use crate::limits::Limits;
use crate::name::ScheduleName;
use crate::route::RouteTable;
use crate::time::HORIZON;

/// A schedule that passed every check. Only [`Schedule::parse`] (in `schedule/check.rs`) creates one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Schedule {
    /// Its times, and the rules for them.
    pub plan: Plan,
    /// There is no tick before it.
    pub start: Option<DateTime<Utc>>,
    /// Whether it has ticks.
    pub enabled: bool,
    /// Maximum number of jobs that its ticks enqueue.
    pub max_runs: Option<u64>,
    /// Time after the tick after which its job is cancelled instead of started.
    pub expires_after: Option<TimeDelta>,
    /// The rule for a tick whose predecessor's job has not ended.
    pub overlap: Overlap,
    pub(super) template: Template,
}

/// The job of each tick.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) job: NewJob,
    /// What the user set, with marked metadata.
    pub(super) draft: JobDraft,
    /// Time after the start after which a job is cancelled instead of started, from a route. The schedule sets none.
    pub(super) expires_after_start: Option<TimeDelta>,
    /// The metadata that the user set.
    pub(super) metadata: Option<Json>,
    pub(super) name: ScheduleName,
}

impl Schedule {
    /// The first tick after `now`; `None` if there is none. This is where a new schedule, a resumed one, and one whose times were
    /// changed begin, so they have missed no tick.
    pub fn first_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let before_start = self.start.and_then(|start| start.checked_sub_signed(TimeDelta::microseconds(1)));
        self.plan.next_after(before_start.map_or(now, |start| start.max(now)))
    }

    /// Whether the other schedule has the same ticks, so that replacing this one by it need not begin anew.
    pub fn has_ticks_of(&self, other: &Self) -> bool {
        let Plan { timing, end, jitter, seed, .. } = &self.plan;
        let same = (timing, end, jitter, seed)
            == (&other.plan.timing, &other.plan.end, &other.plan.jitter, &other.plan.seed);
        same && (self.start, self.enabled, self.max_runs) == (other.start, other.enabled, other.max_runs)
    }

    /// Up to `count` ticks after `from`, each with the time at which it fires. `runs` is how many jobs the schedule has enqueued.
    pub fn preview(
        &self,
        from: DateTime<Utc>,
        count: usize,
        runs: u64,
    ) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let left = self.max_runs.map_or(u64::MAX, |most| most.saturating_sub(runs));
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        let ticks = std::iter::successors(self.first_after(from), |tick| self.plan.next_after(*tick));
        ticks.take(count).map(|tick| (tick, self.plan.fires_at(tick))).collect()
    }

    /// The schedule with the defaults that routes set for its job.
    #[must_use]
    pub fn routed(mut self, routes: &RouteTable) -> Self {
        let Some(route) = routes.find(self.template.job.kind.as_str()) else { return self };
        let mut draft = self.template.draft.clone();
        let expires_after = route.expires_after(&draft);
        route.fill_timeless(&mut draft);
        let limits = Limits { payload_bytes: usize::MAX, metadata_bytes: usize::MAX, ..Limits::default() };
        // a route never makes a valid job invalid
        if let Ok(job) = NewJob::parse(draft, &limits) {
            self.template.job = job;
            self.template.expires_after_start = expires_after.filter(|_| self.expires_after.is_none());
        }
        self
    }

    /// The job of a tick that is enqueued `now`. Its metadata has the name of the schedule and the tick.
    pub fn job(&self, tick: DateTime<Utc>, now: DateTime<Utc>) -> NewJob {
        let Template { job, metadata, name, expires_after_start, .. } = &self.template;
        let mut job = job.clone();
        // the template passed this check with another tick
        job.metadata = Template::marked(metadata.as_ref(), name, tick).ok().or(job.metadata);
        job.expires_at = self.expires_after.and_then(|after| tick.checked_add_signed(after));
        if let Some(after) = expires_after_start {
            let delay = if let Start::After(delay) = job.start { delay } else { std::time::Duration::ZERO };
            let start = TimeDelta::from_std(delay).ok().and_then(|delay| now.checked_add_signed(delay));
            let farthest = TimeDelta::from_std(HORIZON).ok().and_then(|ahead| now.checked_add_signed(ahead));
            let expiry = start.and_then(|start| start.checked_add_signed(*after));
            job.expires_at = expiry.filter(|at| Some(*at) <= farthest);
        }
        job
    }

    /// The job of each tick as it is without a tick, for those who need its names.
    pub fn template(&self) -> &NewJob {
        &self.template.job
    }

    /// Whether enqueueing a job can wait for another transaction: for the unique key, or for the job that is cancelled.
    pub fn may_wait(&self) -> bool {
        !self.template.job.ties().is_plain() || self.overlap == Overlap::CancelPrevious
    }

    /// The local time of a tick, in the time zone of the schedule.
    pub fn local(&self, tick: DateTime<Utc>) -> String {
        let offset = match &self.plan.timing {
            Timing::Cron { zone, .. } => zone.offset(tick),
            Timing::Every { .. } | Timing::Sun { .. } | Timing::Once(_) => TimeDelta::zero(),
        };
        let offset = i32::try_from(offset.num_seconds()).ok().and_then(chrono::FixedOffset::east_opt);
        offset.map_or_else(
            || text(tick),
            |offset| tick.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::AutoSi, true),
        )
    }

    /// Its times in English words.
    pub fn in_words(&self) -> String {
        match &self.plan.timing {
            Timing::Cron { cron, zone, .. } => format!("{} ({})", cron.describe(), zone.name()),
            Timing::Every { every, .. } => format!("Every {}", length(*every)),
            Timing::Sun { event, place } => format!("{event} at {place}"),
            Timing::Once(at) => format!("Once, at {}", text(*at)),
        }
    }
}

impl Template {
    /// Metadata with the members `schedule` and `tick` before those of the user.
    pub(super) fn marked(
        metadata: Option<&Json>,
        name: &ScheduleName,
        tick: DateTime<Utc>,
    ) -> Result<Json, FieldError> {
        let mark = format!(r#"{{"schedule":"{name}","tick":"{}""#, text(tick));
        let rest = match metadata {
            None => "}".to_owned(),
            Some(metadata) => {
                let invalid = || FieldError::new("/metadata", "invalid", "must be a JSON object");
                let members = metadata.as_str().strip_prefix('{').ok_or_else(invalid)?;
                if members.trim_start() == "}" { members.to_owned() } else { format!(",{members}") }
            }
        };
        let message = "must not have the members schedule and tick, which each tick adds";
        Json::parse(mark + &rest).map_err(|_twice| FieldError::new("/metadata", "conflict", message))
    }
}

/// A timestamp as text.
fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A duration in words, in the largest unit that divides it.
fn length(every: TimeDelta) -> String {
    let ms = every.num_milliseconds();
    for (unit, name) in [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second")] {
        if ms % unit == 0 {
            return if ms == unit { name.to_owned() } else { format!("{} {name}s", ms / unit) };
        }
    }
    format!("{ms} milliseconds")
}
