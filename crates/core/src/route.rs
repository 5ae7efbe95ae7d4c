//! Routes: defaults for submissions whose kind matches a pattern. Pure: the caller keeps the routes and gives the time.
//!
//! A route fills only fields that the submission left out, and it leaves out a default that would contradict the submission. So a
//! submission that is valid without routes stays valid with them. The SQL function `jobqueue.enqueue` follows the same rules.

mod check;
mod draft;
mod glob;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

pub use draft::RouteDraft;
pub use glob::Glob;

use crate::job::JobDraft;
use crate::name::{MAX_KIND_BYTES, RouteName};
use crate::on_end::{OnEndDraft, WEBHOOK_KIND};
use crate::retry::RetryPolicy;
use crate::time::{self, HORIZON};

/// Maximum number of routes. A submission may be compared with all of them.
pub const MAX_ROUTES: i64 = 1000;

/// A route that passed every check. Only [`JobRoute::parse`] (in `route/check.rs`) creates one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobRoute {
    /// Its name.
    pub name: RouteName,
    /// Routes are tried by position, the lowest first. Those of the same position are tried by name.
    pub position: i32,
    /// The kinds that it is for.
    pub kind: Glob,
    queue: Option<String>,
    priority: Option<i64>,
    max_attempts: Option<i64>,
    retry: Option<RetryPolicy>,
    timeout_seconds: Option<f64>,
    soft_timeout_seconds: Option<f64>,
    expires_after: Option<TimeDelta>,
    tags: Vec<String>,
    on_end: Option<OnEndDraft>,
}

impl JobRoute {
    /// Time after the start after which the job is cancelled instead of started; `None` if the submission has an expiry of its own.
    pub fn expires_after(&self, draft: &JobDraft) -> Option<TimeDelta> {
        self.expires_after.filter(|_| draft.expires_at.is_none())
    }

    /// Fills what the submission left out. `now` is the database's time; without it no expiry is set.
    pub fn fill(&self, draft: &mut JobDraft, now: Option<DateTime<Utc>>) {
        self.fill_timeless(draft);
        if let Some((after, now)) = self.expires_after(draft).zip(now) {
            draft.expires_at = expiry(draft, after, now);
        }
    }

    /// Fills everything but the expiry.
    pub fn fill_timeless(&self, draft: &mut JobDraft) {
        draft.queue = draft.queue.take().or_else(|| self.queue.clone());
        draft.priority = draft.priority.or(self.priority);
        draft.max_attempts = draft.max_attempts.or(self.max_attempts);
        draft.retry = draft.retry.take().or_else(|| self.retry.clone());
        // a limit of the route gives way to one of the submission that contradicts it
        if draft.timeout_seconds.is_none() && is_below(draft.soft_timeout_seconds, self.timeout_seconds) {
            draft.timeout_seconds = self.timeout_seconds;
        }
        if draft.soft_timeout_seconds.is_none() && is_below(self.soft_timeout_seconds, draft.timeout_seconds)
        {
            draft.soft_timeout_seconds = self.soft_timeout_seconds;
        }
        draft.tags = draft.tags.take().or_else(|| (!self.tags.is_empty()).then(|| self.tags.clone()));
        draft.on_end = draft.on_end.take().or_else(|| self.on_end.clone());
    }
}

/// Whether both limits may be set together.
fn is_below(soft: Option<f64>, hard: Option<f64>) -> bool {
    let duration = |seconds| Duration::try_from_secs_f64(seconds).ok();
    soft.zip(hard)
        .is_none_or(|(soft, hard)| duration(soft).zip(duration(hard)).is_some_and(|(soft, hard)| soft < hard))
}

/// The expiry of a submission, counted from its start. `None` if it is beyond the horizon or the submission is invalid.
fn expiry(draft: &JobDraft, after: TimeDelta, now: DateTime<Utc>) -> Option<String> {
    let start = match (&draft.run_at, draft.delay_seconds) {
        (None, None) => now,
        (Some(run_at), None) => time::timestamp(run_at)?.max(now),
        (None, Some(delay)) => {
            let delay = time::seconds(delay, Duration::ZERO..=HORIZON)?;
            now.checked_add_signed(TimeDelta::from_std(delay).ok()?)?
        }
        (Some(_), Some(_)) => return None,
    };
    let at = start.checked_add_signed(after)?;
    let ahead = (at - now).to_std().ok()?;
    (ahead <= HORIZON).then(|| at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// All routes, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct RouteTable(Vec<JobRoute>);

impl RouteTable {
    /// These routes, in any order.
    pub fn new(mut routes: Vec<JobRoute>) -> Self {
        routes.sort_by(|a, b| (a.position, &a.name).cmp(&(b.position, &b.name)));
        Self(routes)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first route for this kind. None is for the jobs that deliver webhooks, so no webhook causes another. The kind may be unchecked: one
    /// that is longer than a kind may be is compared with nothing.
    pub fn find(&self, kind: &str) -> Option<&JobRoute> {
        if kind.len() > MAX_KIND_BYTES || kind == WEBHOOK_KIND {
            return None;
        }
        self.0.iter().find(|route| route.kind.matches(kind))
    }
}
