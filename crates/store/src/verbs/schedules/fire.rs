//! The reaper's pass over due schedules: it decides about their ticks and enqueues the jobs, in one transaction for many schedules.
//!
//! A pass reads due rows without a lock, because new names of queues are looked up before the transaction. The transaction locks the rows
//! that have not changed since, and skips those that another pass or a user has locked. `jobqueue_core::schedule` decides.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::schedule::{Fate, Schedule};
use jobqueue_core::{Json, QueueName, ScheduleName};

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;

mod apply;
mod write;

/// Bytes of specs that one pass reads.
const MAX_BYTES: i64 = 16 * 1024 * 1024;
/// Schedules of one transaction whose jobs may wait for another transaction. A wait affects all of them.
const MAX_WAITING: usize = 50;

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Firing {
    /// Number of jobs that it enqueued.
    pub jobs: u64,
    /// Queues with new jobs that can start, to wake their workers.
    pub queues: BTreeSet<QueueName>,
    /// What became of each tick that it decided, and how late it was decided.
    pub ticks: Vec<(Fate, Duration)>,
    /// Schedules that are invalid. They have no ticks until a user changes them.
    pub failed: Vec<FailedSchedule>,
    /// Whether there may be more to do at once.
    pub more: bool,
}

/// A schedule that was found to be invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedSchedule {
    /// Its name, as it is stored.
    pub name: String,
    /// Why it is invalid.
    pub error: String,
}

/// A due schedule, as it was read.
struct Candidate {
    id: i64,
    version: i64,
    name: String,
    schedule: Schedule,
}

impl Store {
    /// Does what is due for up to `limit` schedules. Several processes may call this at the same time. The caller calls it again while
    /// there is more.
    pub async fn fire_schedules(&self, limit: u32) -> Result<Firing, StoreError> {
        let mut firing = Firing::default();
        let (found, candidates) = self.due_schedules(limit, &mut firing).await?;
        if found == 0 {
            return Ok(firing);
        }
        self.time().await?; // ids need the clock
        let (waiting, plain): (Vec<Candidate>, Vec<Candidate>) =
            candidates.into_iter().partition(|candidate| candidate.schedule.may_wait());
        let mut handled = self.fire_parts(&plain, &mut firing).await?;
        for part in waiting.chunks(MAX_WAITING) {
            handled += self.fire_parts(part, &mut firing).await?;
        }
        // what is left is locked by others
        firing.more = handled > 0 && (firing.more || found >= usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(firing)
    }

    /// The due schedules that are valid and whose names are known. Returns also how many were found.
    async fn due_schedules(
        &self,
        limit: u32,
        firing: &mut Firing,
    ) -> Result<(usize, Vec<Candidate>), StoreError> {
        let mut unit = self.one().await?;
        let ended = Self::ended_waits(&mut unit, limit).await?;
        let rows = sqlx::query!(
            r#"-- store.schedules.due
            WITH due AS MATERIALIZED (
                (SELECT id, fires_at AS since, spec_bytes FROM jobqueue.schedule WHERE fires_at <= jobqueue.now() ORDER BY fires_at LIMIT $1)
                UNION
                SELECT id, waiting_at, spec_bytes FROM jobqueue.schedule WHERE id = ANY ($3)),
            summed AS (SELECT id, sum(spec_bytes::bigint) OVER (ORDER BY since, id) - spec_bytes AS before FROM due)
            SELECT s.id, s.version, s.name, s.spec::text AS "spec!"
            FROM (SELECT DISTINCT id FROM summed WHERE before < $2::bigint) d JOIN jobqueue.schedule s ON s.id = d.id ORDER BY s.id"#,
            i64::from(limit),
            MAX_BYTES,
            &ended,
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let found = rows.len();
        if found == 0 {
            return Ok((0, Vec::new()));
        }
        let routes = self.newest_routes().await?;
        let mut candidates = Vec::with_capacity(found);
        for row in rows {
            match checked(&row.name, row.spec) {
                Ok(schedule) => {
                    let (id, version, name) = (row.id, row.version, row.name);
                    candidates.push(Candidate { id, version, name, schedule: schedule.routed(&routes) });
                }
                Err(error) => self.fail_schedule((row.id, row.version), row.name, error, firing).await?,
            }
        }
        let mut known = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            match self.learn_names(std::slice::from_ref(candidate.schedule.template())).await {
                Ok(()) => known.push(candidate),
                // another transaction holds the name: not now
                Err(error) if error.is_lock_timeout() => self.postpone_schedule(candidate.id).await?,
                Err(error) => return Err(error),
            }
        }
        Ok((found, known))
    }

    /// Schedules with a tick that waited for a job that has ended. Whether any tick waits is asked first: the answer is seldom
    /// yes, and the search for the jobs is planned over the tables of every day.
    async fn ended_waits(unit: &mut Unit, limit: u32) -> Result<Vec<i64>, StoreError> {
        let any = sqlx::query_scalar!(
            r#"-- store.schedules.waiting
            SELECT EXISTS (SELECT FROM jobqueue.schedule WHERE waiting_at IS NOT NULL) AS "any!""#
        );
        if !any.fetch_one(&mut **unit).await? {
            return Ok(vec![]);
        }
        let ended = sqlx::query_scalar!(
            "-- store.schedules.ended
            SELECT s.id FROM jobqueue.schedule s
            WHERE s.waiting_at IS NOT NULL AND s.enabled AND s.paused_at IS NULL AND s.failed_at IS NULL
              AND ((SELECT o.status FROM jobqueue.outcome o WHERE o.job_id = s.last_job_id) IS NOT NULL
                   OR (SELECT b.lane FROM jobqueue.body b WHERE b.id = s.last_job_id) IS NULL)
            LIMIT $1",
            i64::from(limit),
        );
        Ok(ended.fetch_all(&mut **unit).await?)
    }

    /// Fires these in one transaction, or in several smaller ones if one of them is to blame for an error. Returns how many it handled.
    async fn fire_parts(&self, candidates: &[Candidate], firing: &mut Firing) -> Result<usize, StoreError> {
        let mut handled = 0;
        let mut parts: Vec<&[Candidate]> =
            (!candidates.is_empty()).then_some(candidates).into_iter().collect();
        while let Some(part) = parts.pop() {
            match self.fire_part(part, firing).await {
                Ok(count) => handled += count,
                Err(error) if error.concerns_everyone() => return Err(error),
                Err(_) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => {
                    let [candidate] = part else { continue };
                    tracing::warn!(schedule.name = candidate.name, %error, "the job of a schedule was not stored");
                    if matches!(error, StoreError::Refused(_)) {
                        let (key, why) = ((candidate.id, candidate.version), error.reason().to_owned());
                        self.fail_schedule(key, candidate.name.clone(), why, firing).await?;
                    } else {
                        self.postpone_schedule(candidate.id).await?;
                    }
                }
            }
        }
        Ok(handled)
    }
}

/// The schedule of a row, or what is wrong with it.
fn checked(name: &str, spec: String) -> Result<Schedule, String> {
    let name = name.parse::<ScheduleName>().map_err(|error| format!("the name {error}"))?;
    let spec = Json::from_stored(spec).map_err(|error| error.to_string())?;
    Schedule::of_stored(&name, &spec)
}

/// How late something is that was due at `at`.
fn late(now: DateTime<Utc>, at: DateTime<Utc>) -> Duration {
    (now - at).to_std().unwrap_or_default()
}
