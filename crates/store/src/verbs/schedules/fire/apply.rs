//! One transaction of a pass: locks the schedules, asks the core what is due, enqueues the jobs, and records the ticks.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use jobqueue_core::schedule::{Fate, Pass, Progress};
use jobqueue_core::{Failure, JobId, NewJob, Status, WorkerId};
use uuid::Uuid;

use super::write::{Changes, TickRow};
use super::{Candidate, Firing, late};
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;
use crate::verbs::enqueue::submission::{Accepted, Submission};

/// Ticks of one transaction. After a long outage one schedule can have a thousand.
const MAX_TICKS: usize = 5000;
/// Tries to cancel a job that moves from one place to another meanwhile.
const CANCEL_TRIES: u32 = 4;

/// A locked schedule.
struct Locked<'a> {
    candidate: &'a Candidate,
    progress: Progress,
    /// When it was due; `None` if it has no tick to come.
    fires_at: Option<DateTime<Utc>>,
    last_job: Option<JobId>,
    now: DateTime<Utc>,
}

/// What one transaction did.
struct Fired {
    /// Number of schedules.
    handled: usize,
    submission: Submission,
    /// The results of its jobs, in their order.
    accepted: Vec<Accepted>,
    changes: Changes,
    more: bool,
}

impl Store {
    /// Fires those of the candidates that are still due and not locked. Returns how many. If it fails, it changed nothing, and locks nothing
    /// any more: the next part would skip what is still locked.
    pub(super) async fn fire_part(
        &self,
        candidates: &[Candidate],
        firing: &mut Firing,
    ) -> Result<usize, StoreError> {
        let mut unit = self.begin().await?;
        let (fired, asked) = match self.fire_within(&mut unit, candidates).await {
            Ok(done) => done,
            Err(error) => {
                // Postgres reports an error before it releases the locks. If this fails, the connection is closed, which releases them too.
                let _closed = unit.rollback().await;
                return Err(error);
            }
        };
        unit.commit().await?;
        self.hint_heartbeats(&asked).await;
        let handled = fired.handled;
        firing.add(fired);
        Ok(handled)
    }

    /// What [`Self::fire_part`] does before it commits. Returns also the workers that are asked to stop a job.
    async fn fire_within(
        &self,
        unit: &mut Unit,
        candidates: &[Candidate],
    ) -> Result<(Fired, Vec<WorkerId>), StoreError> {
        if candidates.iter().any(|candidate| candidate.schedule.may_wait()) {
            // one blocked key must not delay the other schedules
            sqlx::query("SET LOCAL lock_timeout = '100ms'").execute(&mut **unit).await?;
        }
        let locked = Self::lock_due(unit, candidates).await?;
        let mut passes = passes(&locked);
        Self::drop_decided(unit, &mut passes).await?;
        let mut asked = Vec::new();
        for (locked, pass) in &passes {
            if let (true, Some(previous)) = (pass.cancels_previous, locked.last_job) {
                asked.extend(Self::cancel_previous(unit, previous).await?);
            }
        }
        let jobs: Vec<NewJob> = passes.iter().flat_map(|(locked, pass)| jobs(locked, pass)).collect();
        let submission = Submission { jobs, atomic: false, idempotency: None };
        let accepted = self.enqueue_within(unit, &submission).await?;
        let changes = changes(&passes, &accepted);
        Self::record_passes(unit, &changes).await?;
        let is_behind =
            |(locked, next): (&Locked<'_>, &Option<_>)| next.is_some_and(|next| next <= locked.now);
        let more = passes.len() < locked.len() || locked.iter().zip(&changes.fires_ats).any(is_behind);
        Ok((Fired { handled: passes.len(), submission, accepted, changes, more }, asked))
    }

    /// Locks the candidates that are due and have not changed since they were read.
    async fn lock_due<'a>(
        unit: &mut Unit,
        candidates: &'a [Candidate],
    ) -> Result<Vec<Locked<'a>>, StoreError> {
        let ids: Vec<i64> = candidates.iter().map(|candidate| candidate.id).collect();
        let rows = sqlx::query!(
            r#"-- store.schedules.lock
            SELECT s.id, s.version, s.next_at, s.fires_at, s.waiting_at, s.runs, s.last_job_id, jobqueue.now() AS "now!",
                   (SELECT o.status FROM jobqueue.outcome o WHERE o.job_id = s.last_job_id) IS NULL
                   AND (SELECT b.lane FROM jobqueue.body b WHERE b.id = s.last_job_id) IS NOT NULL AS "is_running!"
            FROM jobqueue.schedule s
            WHERE s.id = ANY ($1) AND (s.fires_at <= jobqueue.now() OR s.waiting_at IS NOT NULL)
              AND s.enabled AND s.paused_at IS NULL AND s.failed_at IS NULL
            ORDER BY s.id FOR UPDATE SKIP LOCKED"#,
            &ids,
        )
        .fetch_all(&mut **unit)
        .await?;
        let known: HashMap<i64, &Candidate> =
            candidates.iter().map(|candidate| (candidate.id, candidate)).collect();
        let locked = rows.into_iter().filter_map(|row| {
            let candidate = known.get(&row.id).filter(|candidate| candidate.version == row.version)?;
            let progress = Progress {
                next: row.next_at,
                waiting: row.waiting_at,
                is_running: row.is_running,
                runs: to_count(row.runs),
            };
            let last_job = row.last_job_id.map(JobId::from_uuid);
            Some(Locked { candidate, progress, fires_at: row.fires_at, last_job, now: row.now })
        });
        Ok(locked.collect())
    }

    /// Removes ticks that were decided before: the clock of the database went back since. A tick that waits is decided once more.
    async fn drop_decided(unit: &mut Unit, passes: &mut [(&Locked<'_>, Pass)]) -> Result<(), StoreError> {
        let ticks = passes
            .iter()
            .flat_map(|(locked, pass)| pass.ticks.iter().map(|(tick, _)| (locked.candidate.id, *tick)));
        let (ids, nominals): (Vec<i64>, Vec<DateTime<Utc>>) = ticks.unzip();
        if ids.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query!(
            r#"-- store.schedules.decided
            SELECT i.id AS "id!", i.nominal_at AS "nominal_at!"
            FROM unnest($1::bigint[], $2::timestamptz[]) AS i (id, nominal_at)
            WHERE (SELECT t.fate FROM jobqueue.tick t WHERE t.schedule_id = i.id AND t.nominal_at = i.nominal_at) <> 'waiting'"#,
            &ids,
            &nominals,
        )
        .fetch_all(&mut **unit)
        .await?;
        let decided: HashSet<(i64, DateTime<Utc>)> =
            rows.into_iter().map(|row| (row.id, row.nominal_at)).collect();
        for (locked, pass) in passes {
            pass.ticks.retain(|(tick, _)| !decided.contains(&(locked.candidate.id, *tick)));
        }
        Ok(())
    }

    /// Returns the worker that was asked to stop the job, if it runs.
    async fn cancel_previous(unit: &mut Unit, previous: JobId) -> Result<Vec<WorkerId>, StoreError> {
        let reason = Failure::new("overlap", "cancelled because the next tick of its schedule came");
        for _ in 0..CANCEL_TRIES {
            let step = Self::cancel_within(unit, &[previous], &reason).await?;
            if !step.found.is_empty() {
                return Ok(step.workers);
            }
        }
        Ok(vec![])
    }
}

/// What is due, up to a number of ticks. The other schedules are left for the next transaction.
fn passes<'a>(locked: &'a [Locked<'a>]) -> Vec<(&'a Locked<'a>, Pass)> {
    let mut passes = Vec::with_capacity(locked.len());
    let mut ticks = 0;
    for locked in locked {
        let schedule = &locked.candidate.schedule;
        let mut pass = schedule.pass(locked.progress, locked.now);
        if locked.progress.next.is_none() && locked.fires_at.is_some() {
            // it was never planned: it begins now
            pass.next = schedule.begin(locked.progress.runs, locked.now);
        }
        ticks += pass.ticks.len();
        passes.push((locked, pass));
        if ticks >= MAX_TICKS {
            break;
        }
    }
    passes
}

fn jobs<'a>(locked: &'a Locked<'_>, pass: &'a Pass) -> impl Iterator<Item = NewJob> + 'a {
    let fired = pass.ticks.iter().filter(|(_, fate)| *fate == Fate::Fired);
    fired.map(|(tick, _)| locked.candidate.schedule.job(*tick, locked.now))
}

/// What to write. `accepted` has the results of the jobs, in their order.
fn changes(passes: &[(&Locked<'_>, Pass)], accepted: &[Accepted]) -> Changes {
    let (mut accepted, mut changes) = (accepted.iter(), Changes::default());
    for (locked, pass) in passes {
        let schedule = &locked.candidate.schedule;
        let (mut runs, mut last_job) = (0, None);
        for (tick, fate) in &pass.ticks {
            let submitted = if *fate == Fate::Fired { accepted.next() } else { None };
            let (fate, job_id) = submitted.map_or((*fate, None), |result| outcome(*result));
            if fate == Fate::Fired {
                runs += 1;
                last_job = job_id;
            }
            let row = TickRow { schedule: locked.candidate.id, nominal_at: *tick, fate, job_id };
            if locked.progress.waiting == Some(*tick) {
                changes.released.push(row);
            } else {
                changes.decided.push((row, late(locked.now, schedule.plan.fires_at(*tick))));
            }
        }
        changes.ids.push(locked.candidate.id);
        changes.next_ats.push(pass.next);
        changes.fires_ats.push(pass.next.map(|next| schedule.plan.fires_at(next)));
        changes.waiting_ats.push(pass.waiting);
        changes.runs.push(runs);
        changes.ticks.push(i64::try_from(pass.ticks.len()).unwrap_or(0));
        changes.last_jobs.push(last_job);
    }
    changes
}

/// The fate of a tick whose job was submitted, and the job.
fn outcome(accepted: Accepted) -> (Fate, Option<Uuid>) {
    match accepted {
        Accepted::Created { id, .. } => (Fate::Fired, Some(id.as_uuid())),
        Accepted::Existing(holder) | Accepted::Rejected(holder) => (Fate::Unique, Some(holder.as_uuid())),
        // a schedule does not ask whether its queue has room
        Accepted::NotTried | Accepted::Full { .. } => (Fate::Unique, None),
    }
}

impl Firing {
    fn add(&mut self, fired: Fired) {
        for (job, accepted) in fired.submission.jobs.into_iter().zip(fired.accepted) {
            if let Accepted::Created { status, .. } = accepted {
                self.jobs += 1;
                if status == Status::Queued {
                    self.queues.insert(job.queue);
                }
            }
        }
        self.ticks.extend(fired.changes.decided.into_iter().map(|(row, late)| (row.fate, late)));
        self.more |= fired.more;
    }
}
