//! Why a job does not run.

use chrono::{DateTime, Utc};
use jobqueue_core::explain::{Explanation, Facts, Reason, Run, explain};
use jobqueue_core::{JobId, ScheduleName, Status, WorkerId};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// Why a job does not run: all causes that hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(crate) struct ExplanationView {
    /// The job.
    id: Uuid,
    /// When this was true, by the database's clock.
    at: DateTime<Utc>,
    /// `waits` (something holds the job), `can_start` (nothing does), `running` or `ended`.
    verdict: &'static str,
    /// The verdict in one sentence. If the job waits, it is the message of the first reason.
    summary: String,
    /// All causes that hold, the binding one first: the later ones matter only when it is resolved. Empty unless the verdict is `waits`.
    reasons: Vec<ReasonView>,
    /// The attempt that runs; `null` unless the verdict is `running`.
    running: Option<RunView>,
    /// How the job ended; `null` unless the verdict is `ended`.
    ended: Option<EndView>,
}

/// Why a schedule enqueues no job now: all causes that hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScheduleExplanation)]
pub(crate) struct ScheduleExplanationView {
    /// The schedule.
    #[schema(value_type = super::name::ScheduleText)]
    schedule: String,
    /// When this was true, by the database's clock.
    at: DateTime<Utc>,
    /// `waits` (something holds its next job) or `can_start` (nothing does).
    verdict: &'static str,
    /// The verdict in one sentence. If something holds the job, it is the message of the first reason.
    summary: String,
    /// All causes that hold, the binding one first.
    reasons: Vec<ReasonView>,
}

/// One cause.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplanationReason)]
pub(crate) struct ReasonView {
    /// A stable word: `database_read_only`, `waits_for_jobs`, `scheduled_until`, `retry_waits`, `snoozed`, `census_old`, `queue_paused`, `kind_paused`,
    /// `no_worker`, `workers_paused`, `slots_busy` or `behind`; only of a schedule, `schedule_failed`, `schedule_disabled`, `schedule_paused`,
    /// `schedule_ended`, `overlap` or `overlap_skips`. More may be added.
    code: String,
    /// The cause in one sentence.
    message: String,
    /// What would resolve it, in one sentence.
    resolution: String,
    /// The names, numbers and timestamps of the message. Each code has its own fields.
    #[schema(value_type = Object)]
    facts: Map<String, Value>,
}

/// The attempt that runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplanationRun)]
pub(crate) struct RunView {
    /// Its number, from 1.
    attempt: u16,
    /// The worker that runs it.
    worker_id: Option<Uuid>,
    /// The worker's name.
    worker_name: Option<String>,
    /// When it was leased.
    since: Option<DateTime<Utc>>,
    /// When its lease ends unless it is renewed.
    lease_expires_at: Option<DateTime<Utc>>,
}

/// How the job ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplanationEnd)]
pub(crate) struct EndView {
    /// `completed`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    status: Status,
    /// When it ended.
    finished_at: DateTime<Utc>,
}

impl ExplanationView {
    pub(crate) fn new(id: JobId, facts: &Facts) -> Self {
        let explanation = explain(facts);
        let mut view = Self {
            id: id.as_uuid(),
            at: facts.now,
            verdict: explanation.verdict(),
            summary: explanation.sentence(),
            reasons: explanation.reasons().iter().map(ReasonView::from).collect(),
            running: None,
            ended: None,
        };
        match explanation {
            Explanation::Waits(_) | Explanation::CanStart => {}
            Explanation::Running(run) => view.running = Some(run.into()),
            Explanation::Ended { status, at } => view.ended = Some(EndView { status, finished_at: at }),
        }
        view
    }
}

impl ScheduleExplanationView {
    pub(crate) fn new(name: &ScheduleName, facts: &Facts) -> Self {
        let explanation = explain(facts);
        Self {
            schedule: name.to_string(),
            at: facts.now,
            verdict: explanation.verdict(),
            summary: explanation.sentence(),
            reasons: explanation.reasons().iter().map(ReasonView::from).collect(),
        }
    }
}

impl From<&Reason> for ReasonView {
    fn from(reason: &Reason) -> Self {
        let mut facts = reason.facts();
        let code = facts.remove("code").and_then(|code| code.as_str().map(str::to_owned));
        Self {
            code: code.unwrap_or_default(),
            message: reason.sentence(),
            resolution: reason.resolution(),
            facts,
        }
    }
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        Self {
            attempt: run.attempt,
            worker_id: run.worker_id.map(WorkerId::as_uuid),
            worker_name: run.worker_name,
            since: run.since,
            lease_expires_at: run.lease_expires_at,
        }
    }
}
