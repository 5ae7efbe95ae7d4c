//! lease: takes runnable jobs for a worker. One statement finds, removes and grants; a second fetches the bodies.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{
    Failure, Job, JobId, KindName, Lease, Outcome, QueueName, Settlement, Status, WorkerId, settle,
};
use uuid::Uuid;

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::low_water::{Choice, Look};
use crate::row::{BodyRow, corrupt, to_ms};
use crate::settle::AttemptEnd;

/// What a worker wants.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The registered worker that will hold the lease; `None` for a remote one, whose lease lives by its time alone.
    pub worker_id: Option<WorkerId>,
    /// Queues in the order in which they are emptied.
    pub queues: Vec<QueueName>,
    /// Only these kinds; empty means all.
    pub kinds: Vec<KindName>,
    /// Most jobs, 1 to 1000.
    pub limit: usize,
    /// How long the lease lasts unless it is renewed.
    pub duration: Duration,
}

/// A job and the right to run it.
#[derive(Debug)]
pub struct Leased {
    /// The job, at its new attempt.
    pub job: Job,
    /// The right; whoever settles needs it.
    pub lease: Lease,
    /// How long it could have run before it was leased, counted from `run_at` if it had one; for a first attempt.
    pub waited: Option<Duration>,
}

/// One granted row: up to 64 jobs of one queue.
struct Grant {
    epoch: i64,
    token: Uuid,
    job_ids: Vec<Uuid>,
    attempts: Vec<i16>,
    lanes: Vec<i32>,
}

impl Store {
    /// Leases up to `limit` jobs: by queue in the order given, inside a queue by priority, inside a priority oldest first.
    /// A busy process may pass by a job that was put back, for a while (`low_water`).
    /// Jobs that expired while they waited are cancelled on the way and not returned.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Leased>, StoreError> {
        let mut unit = self.begin().await?;
        let leased = self.lease_in(&mut unit, request).await?;
        unit.commit().await?;
        Ok(leased)
    }

    /// The same inside a transaction of the caller.
    pub(crate) async fn lease_in(
        &self,
        unit: &mut Unit,
        request: &LeaseRequest,
    ) -> Result<Vec<Leased>, StoreError> {
        let grants = self.grant(unit, request).await?;
        if grants.is_empty() {
            return Ok(vec![]);
        }
        let (leased, stillborn) = self.bodies(unit, grants).await?;
        Self::settle_unbegun(unit, stillborn).await?;
        Ok(leased)
    }

    /// Takes jobs out of their lanes and writes down who holds them.
    async fn grant(&self, unit: &mut Unit, request: &LeaseRequest) -> Result<Vec<Grant>, StoreError> {
        let kinds =
            if request.kinds.is_empty() { None } else { Some(self.kinds(unit, &request.kinds).await?) };
        if kinds.as_ref().is_some_and(Vec::is_empty) {
            // nobody has submitted a job of these kinds yet
            return Ok(vec![]);
        }
        // a queue named twice would be walked twice, and our own locks do not keep us from a row
        let mut seen = HashSet::new();
        let queues: Vec<String> =
            request.queues.iter().filter(|q| seen.insert(*q)).map(ToString::to_string).collect();
        let choice = Choice::new(&queues, kinds);
        let look = self.low_water.look(&choice);
        let grants = self.grant_from(unit, request, (&queues, &choice), look).await?;
        if grants.is_empty() && self.low_water.look_again(&choice, look) {
            return self.grant_from(unit, request, (&queues, &choice), Look::Front).await;
        }
        Ok(grants)
    }

    async fn grant_from(
        &self,
        unit: &mut Unit,
        request: &LeaseRequest,
        (queues, choice): (&[String], &Choice),
        look: Look,
    ) -> Result<Vec<Grant>, StoreError> {
        let most = request.limit.min(MAX_BATCH);
        let limit = i64::try_from(most).unwrap_or(1);
        let (lanes, starts): (Vec<i32>, Vec<Uuid>) = self.low_water.starts(choice, look).into_iter().unzip();
        let began = Instant::now();
        // lanes come in order and a nested loop keeps it; an outer ORDER BY would lock every candidate before the limit.
        // `at` is the row's address: locked by us, so it cannot move before the delete.
        // array_agg gathers in the order of the pick; an ORDER BY in each of the four would sort four times.
        let grants = sqlx::query_as!(
            Grant,
            r#"-- store.lease
            WITH pick AS MATERIALIZED (
                SELECT lane.queue_id, lane.id AS lane, r.at, r.job_id, r.attempt, r.kind
                FROM (SELECT l.id, l.queue_id, coalesce(s.after, '00000000-0000-0000-0000-000000000000') AS after
                      FROM unnest($1::text[]) WITH ORDINALITY AS want (name, place)
                      JOIN jobqueue.queue q ON q.name = want.name AND q.paused_at IS NULL
                      JOIN jobqueue.lane l ON l.queue_id = q.id
                      LEFT JOIN unnest($4::int[], $5::uuid[]) AS s (lane, after) ON s.lane = l.id
                      ORDER BY want.place, l.priority DESC) AS lane
                CROSS JOIN LATERAL (
                      SELECT w.ctid AS at, w.job_id, w.attempt, w.kind FROM jobqueue.ready w
                      WHERE w.lane = lane.id AND w.job_id > lane.after AND ($3::int[] IS NULL OR w.kind = ANY ($3))
                      ORDER BY w.job_id LIMIT $2 FOR UPDATE SKIP LOCKED) AS r
                LIMIT $2),
            gone AS (DELETE FROM jobqueue.ready WHERE ctid = ANY (ARRAY(SELECT at FROM pick))),
            numbered AS (SELECT *, row_number() OVER () - 1 AS nth FROM pick),
            granted AS MATERIALIZED (
                SELECT (SELECT nextval('jobqueue.lease_epoch')) + min(nth) AS epoch, gen_random_uuid() AS token, queue_id,
                       array_agg(job_id) AS job_ids, array_agg((attempt + 1)::smallint) AS attempts,
                       array_agg(lane) AS lanes, array_agg(kind) AS kinds, count(*)::int AS n
                FROM numbered GROUP BY queue_id, nth / 64),
            lease AS (
                INSERT INTO jobqueue.lease (epoch, token, worker_id, queue_id, leased_at, expires_at, open)
                SELECT epoch, token, $6, queue_id, jobqueue.now(), jobqueue.now() + $7::bigint * interval '1 ms',
                       CASE n WHEN 64 THEN -1 ELSE ~(-1::bigint << n) END FROM granted),
            jobs AS (
                INSERT INTO jobqueue.lease_jobs (epoch, job_ids, attempts, lanes, kinds)
                SELECT epoch, job_ids, attempts, lanes, kinds FROM granted),
            tally AS (INSERT INTO jobqueue.tally (queue_id, leased) SELECT queue_id, sum(n)::int FROM granted GROUP BY queue_id)
            SELECT epoch AS "epoch!", token AS "token!", job_ids AS "job_ids!", attempts AS "attempts!", lanes AS "lanes!"
            FROM granted ORDER BY epoch"#,
            queues,
            limit,
            choice.kinds(),
            &lanes,
            &starts,
            request.worker_id.map(WorkerId::as_uuid),
            to_ms(request.duration),
        )
        .fetch_all(&mut **unit)
        .await?;
        let jobs = grants.iter().flat_map(|grant| grant.lanes.iter().zip(&grant.job_ids));
        let jobs = jobs.map(|(lane, id)| (*lane, JobId::from_uuid(*id)));
        let full = jobs.clone().count() >= most;
        self.low_water.looked(choice, (look, began.elapsed()), jobs, full);
        Ok(grants)
    }

    /// The granted jobs in the order of the grants, and the ends of those that must not start: expired while they waited, or
    /// unreadable because somebody wrote to the tables by hand. One bad row must not stop a queue.
    async fn bodies(
        &self,
        unit: &mut Unit,
        grants: Vec<Grant>,
    ) -> Result<(Vec<Leased>, Vec<AttemptEnd>), StoreError> {
        let ids: Vec<Uuid> = grants.iter().flat_map(|grant| grant.job_ids.iter().copied()).collect();
        let mut bodies = self.body_rows(unit, &ids).await?;
        let (mut leased, mut stillborn) = (Vec::with_capacity(ids.len()), Vec::new());
        for grant in grants {
            for (place, (job_id, attempt)) in grant.job_ids.into_iter().zip(grant.attempts).enumerate() {
                let lease = granted(grant.epoch, grant.token, job_id, place, attempt)?;
                let body = bodies.remove(&job_id);
                let holds_key = body.as_ref().is_some_and(|body| body.stored.unique_key.is_some());
                let (overdue, waited) =
                    body.as_ref().map_or((false, None), |body| (body.stored.overdue, body.waited()));
                let settlement = match readable(lease.job_id(), body, attempt) {
                    Ok(job) if !overdue => {
                        let waited = waited.filter(|_| job.attempt == 1);
                        leased.push(Leased { job, lease, waited });
                        continue;
                    }
                    Ok(job) => settle(&job, Outcome::Expired, 0.0),
                    Err(unreadable) => unreadable,
                };
                stillborn.push(AttemptEnd { lease, settlement, ran: None, holds_key });
            }
        }
        Ok((leased, stillborn))
    }
}

/// The right to the job at a place of a grant.
pub(crate) fn granted(
    epoch: i64,
    token: Uuid,
    id: Uuid,
    place: usize,
    attempt: i16,
) -> Result<Lease, StoreError> {
    let job_id = JobId::from_uuid(id);
    let ordinal = u8::try_from(place).map_err(|e| corrupt(job_id, "lease.place", e))?;
    let attempt = u16::try_from(attempt).map_err(|e| corrupt(job_id, "lease.attempt", e))?;
    Lease::grant(epoch, token, job_id, ordinal, attempt)
        .ok_or_else(|| corrupt(job_id, "lease.place", Status::Running))
}

/// The job, or its end as a dead letter if its body makes no sense.
pub(crate) fn readable(job_id: JobId, body: Option<BodyRow>, attempt: i16) -> Result<Job, Settlement> {
    let job =
        body.ok_or_else(|| corrupt(job_id, "body", "there is none")).and_then(|body| body.into_job(attempt));
    job.map_err(|error| {
        tracing::error!(job_id = %job_id, %error, "a job cannot be read: it becomes a dead letter");
        Settlement::Fail { failure: Failure::new("corrupt", error.to_string()) }
    })
}
