//! settle: the one way in which an attempt ends. Many at once, each guarded by its lease; a stale lease changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jobqueue_core::{Json, Lease, Settlement, Status};
use uuid::Uuid;

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::lease::{LeaseRequest, Leased};
use crate::row::{failure_text, status_number, to_ms};
use crate::unique;

/// The end of one attempt.
#[derive(Debug)]
pub struct AttemptEnd {
    /// The right to end it; used up.
    pub lease: Lease,
    /// What `core::settle` decided.
    pub settlement: Settlement,
    /// How long ago the handler was started, by the worker's monotonic clock; `None` counts from the lease.
    pub ran: Option<Duration>,
    /// The job has a unique key, which its end may give free.
    pub holds_key: bool,
}

/// What a settle did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The job is in this status now. `cancelled` can take the place of a retry, if a user asked for it meanwhile.
    Applied(Status),
    /// The lease was lost or used before; nothing changed.
    Stale,
}

impl Store {
    /// Ends attempts; one answer each, in order.
    pub async fn settle(&self, ends: Vec<AttemptEnd>) -> Result<Vec<Settled>, StoreError> {
        let mut unit = self.begin().await?;
        let settled = Self::settle_in(&mut unit, ends).await?;
        unit.commit().await?;
        Ok(settled)
    }

    /// Ends attempts and leases more in the same transaction: one commit a cycle of a busy worker.
    pub async fn settle_and_lease(
        &self,
        ends: Vec<AttemptEnd>,
        request: &LeaseRequest,
    ) -> Result<(Vec<Settled>, Vec<Leased>), StoreError> {
        let mut unit = self.begin().await?;
        let settled = Self::settle_in(&mut unit, ends).await?;
        let leased = Self::lease_in(&mut unit, request).await?;
        unit.commit().await?;
        Ok((settled, leased))
    }

    pub(crate) async fn settle_in(
        unit: &mut Unit,
        mut ends: Vec<AttemptEnd>,
    ) -> Result<Vec<Settled>, StoreError> {
        Self::heed_cancel_requests(unit, &mut ends).await?;
        Self::end_attempts(unit, ends, true).await
    }

    /// Ends attempts whose handler was never called: they leave no trace but the job's outcome.
    pub(crate) async fn settle_unbegun(unit: &mut Unit, ends: Vec<AttemptEnd>) -> Result<(), StoreError> {
        Self::end_attempts(unit, ends, false).await.map(|_| ())
    }

    async fn end_attempts(
        unit: &mut Unit,
        ends: Vec<AttemptEnd>,
        begun: bool,
    ) -> Result<Vec<Settled>, StoreError> {
        if ends.is_empty() {
            return Ok(vec![]);
        }
        // leases are locked in one order everywhere
        let mut order: Vec<usize> = (0..ends.len()).collect();
        order.sort_by_key(|at| (ends[*at].lease.epoch(), ends[*at].lease.ordinal()));
        let mut seen = HashSet::new();
        order.retain(|at| seen.insert((ends[*at].lease.epoch(), ends[*at].lease.ordinal())));
        let mut columns = Columns { begun, ..Columns::default() };
        for at in &order {
            columns.push(&ends[*at]);
        }
        let applied = columns.settle(unit).await?;
        let mut settled = vec![Settled::Stale; ends.len()];
        let mut freed = Vec::new();
        for at in order {
            let end = &ends[at];
            if applied.contains(&(end.lease.epoch(), i16::from(end.lease.ordinal()))) {
                let status = status_after(&end.settlement);
                settled[at] = Settled::Applied(status);
                if end.holds_key && status.is_final() {
                    freed.push((end.lease.job_id(), status));
                }
            }
        }
        unique::free(unit, &freed).await?;
        Ok(settled)
    }

    /// What would run again is cancelled if a user asked for that. The leases are locked first: a wish that comes later finds
    /// the job where we put it.
    async fn heed_cancel_requests(unit: &mut Unit, ends: &mut [AttemptEnd]) -> Result<(), StoreError> {
        let again = || ends.iter().filter(|end| end.settlement.runs_again());
        let mut epochs: Vec<i64> = again().map(|end| end.lease.epoch()).collect();
        if epochs.is_empty() {
            return Ok(());
        }
        epochs.extend(ends.iter().map(|end| end.lease.epoch()));
        sqlx::query!(
            "-- store.settle.lock
            SELECT epoch FROM jobqueue.lease WHERE epoch = ANY ($1) ORDER BY epoch FOR UPDATE",
            &epochs,
        )
        .fetch_all(&mut **unit)
        .await?;
        let jobs: Vec<Uuid> = again().map(|end| end.lease.job_id().as_uuid()).collect();
        let rows = sqlx::query!(
            "-- store.settle.cancel_requests
            SELECT job_id, epoch FROM jobqueue.cancel_request WHERE job_id = ANY ($1)",
            &jobs,
        )
        .fetch_all(&mut **unit)
        .await?;
        let asked: HashMap<Uuid, i64> = rows.into_iter().map(|row| (row.job_id, row.epoch)).collect();
        for end in ends {
            if asked.get(&end.lease.job_id().as_uuid()) == Some(&end.lease.epoch()) {
                end.settlement = end.settlement.clone().after_cancel_request();
            }
        }
        Ok(())
    }
}

/// Where a settlement leads.
fn status_after(settlement: &Settlement) -> Status {
    match settlement {
        Settlement::Complete { .. } => Status::Completed,
        Settlement::Fail { .. } => Status::Failed,
        Settlement::Cancel { .. } => Status::Cancelled,
        Settlement::RetryAfter { .. } | Settlement::Snooze { .. } => Status::Scheduled,
        Settlement::Requeue { .. } => Status::Queued,
    }
}

/// The word of `attempt.ended`; a completed attempt is told by the outcome alone.
fn ended(settlement: &Settlement) -> Option<&'static str> {
    match settlement {
        Settlement::Complete { .. } => None,
        Settlement::Fail { .. } => Some("failed"),
        Settlement::Cancel { .. } => Some("cancelled"),
        Settlement::RetryAfter { .. } => Some("retried"),
        Settlement::Snooze { .. } => Some("snoozed"),
        Settlement::Requeue { failure: None } => Some("released"),
        Settlement::Requeue { failure: Some(_) } => Some("lost"),
    }
}

/// The columns of the ends of one statement.
#[derive(Default)]
struct Columns<'a> {
    begun: bool,
    epochs: Vec<i64>,
    tokens: Vec<Uuid>,
    ordinals: Vec<i16>,
    jobs: Vec<Uuid>,
    statuses: Vec<i16>,
    given_back: Vec<i16>,
    delays: Vec<i64>,
    rans: Vec<Option<i64>>,
    results: Vec<Option<&'a str>>,
    errors: Vec<Option<String>>,
    endeds: Vec<Option<&'static str>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, end: &'a AttemptEnd) {
        let lease = &end.lease;
        self.epochs.push(lease.epoch());
        self.tokens.push(lease.token());
        self.ordinals.push(i16::from(lease.ordinal()));
        self.jobs.push(lease.job_id().as_uuid());
        self.statuses.push(status_number(status_after(&end.settlement)));
        let free =
            matches!(end.settlement, Settlement::Snooze { .. } | Settlement::Requeue { failure: None });
        self.given_back.push(i16::from(free || !self.begun));
        let (delay, failure) = match &end.settlement {
            Settlement::RetryAfter { delay, failure } => (Some(*delay), Some(failure)),
            Settlement::Snooze { delay } => (Some(*delay), None),
            Settlement::Fail { failure } | Settlement::Cancel { failure } => (None, Some(failure)),
            Settlement::Requeue { failure } => (None, failure.as_ref()),
            Settlement::Complete { .. } => (None, None),
        };
        self.delays.push(delay.map_or(0, to_ms));
        self.rans.push(end.ran.map(to_ms));
        let result = match &end.settlement {
            Settlement::Complete { result } => result.as_ref().map(Json::as_str),
            _ => None,
        };
        self.results.push(result);
        self.errors.push(failure.and_then(failure_text));
        self.endeds.push(ended(&end.settlement).filter(|_| self.begun));
    }

    /// Applies what its lease still covers. Answers those as (epoch, ordinal).
    async fn settle(&self, unit: &mut Unit) -> Result<HashSet<(i64, i16)>, StoreError> {
        // the attempt's number is taken from the grant: what a lease's text says of it is for readers
        let rows = sqlx::query!(
            r#"-- store.settle
            WITH held AS MATERIALIZED (
                SELECT i.*, l.open, l.worker_id, l.queue_id, l.leased_at
                FROM unnest($1::bigint[], $2::uuid[], $3::smallint[], $4::uuid[], $5::smallint[], $6::smallint[],
                            $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::text[])
                  AS i (epoch, token, ordinal, job_id, status, given_back, delay_ms, ran_ms, result, error, ended)
                JOIN jobqueue.lease l ON l.epoch = i.epoch AND l.token = i.token
                FOR UPDATE OF l),
            applied AS MATERIALIZED (
                SELECT h.*, j.attempts[h.ordinal + 1] AS attempt, (j.attempts[h.ordinal + 1] - h.given_back)::smallint AS attempt_after,
                       j.lanes[h.ordinal + 1] AS lane, j.kinds[h.ordinal + 1] AS kind,
                       CASE WHEN $12 THEN greatest(h.leased_at, jobqueue.now() - h.ran_ms * interval '1 ms') END AS started_at
                FROM held h JOIN jobqueue.lease_jobs j ON j.epoch = h.epoch
                WHERE (h.open >> h.ordinal::int) & 1 = 1 AND j.job_ids[h.ordinal + 1] = h.job_id),
            rest AS MATERIALIZED (
                SELECT epoch, open & ~bit_or(1::bigint << ordinal::int) AS open FROM applied GROUP BY epoch, open),
            kept AS (UPDATE jobqueue.lease l SET open = r.open FROM rest r WHERE l.epoch = r.epoch AND r.open <> 0),
            gone AS (DELETE FROM jobqueue.lease WHERE epoch = ANY (ARRAY(SELECT epoch FROM rest WHERE open = 0))),
            gone_jobs AS (DELETE FROM jobqueue.lease_jobs WHERE epoch = ANY (ARRAY(SELECT epoch FROM rest WHERE open = 0))),
            outcome AS (
                INSERT INTO jobqueue.outcome (job_id, status, attempt, started_at, finished_at, worker_id, epoch, result, error)
                SELECT job_id, status, attempt_after, started_at, jobqueue.now(), worker_id, epoch, result::json, error::json
                FROM applied WHERE status >= 5),
            later AS (
                INSERT INTO jobqueue.scheduled (job_id, run_at, lane, kind, attempt)
                SELECT job_id, jobqueue.now() + delay_ms * interval '1 ms', lane, kind, attempt_after
                FROM applied WHERE status = 2),
            ready AS (
                INSERT INTO jobqueue.ready (job_id, lane, kind, attempt)
                SELECT job_id, lane, kind, attempt_after FROM applied WHERE status = 3),
            history AS (
                INSERT INTO jobqueue.attempt (job_id, epoch, attempt, ended, worker_id, started_at, finished_at, error)
                SELECT job_id, epoch, attempt, ended, worker_id, started_at, jobqueue.now(), error::json
                FROM applied WHERE ended IS NOT NULL),
            tally AS (
                INSERT INTO jobqueue.tally (queue_id, completed, failed, cancelled, retried, lost)
                SELECT queue_id, count(*) FILTER (WHERE status = 5)::int, count(*) FILTER (WHERE status = 6)::int,
                       count(*) FILTER (WHERE status = 7)::int, count(*) FILTER (WHERE ended = 'retried')::int,
                       count(*) FILTER (WHERE ended = 'lost')::int
                FROM applied GROUP BY queue_id)
            SELECT epoch AS "epoch!", ordinal AS "ordinal!" FROM applied"#,
            &self.epochs,
            &self.tokens,
            &self.ordinals,
            &self.jobs,
            &self.statuses,
            &self.given_back,
            &self.delays,
            &self.rans as _,
            &self.results as _,
            &self.errors as _,
            &self.endeds as _,
            self.begun,
        )
        .fetch_all(&mut **unit)
        .await?;
        Ok(rows.into_iter().map(|row| (row.epoch, row.ordinal)).collect())
    }
}
