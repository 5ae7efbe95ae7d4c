//! lease: takes runnable jobs for a worker. One statement finds, removes and grants; a second fetches the bodies.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{
    Failure, Job, JobId, KindName, Lease, Outcome, QueueName, Settlement, Status, WorkerId, settle,
};
use uuid::Uuid;

use crate::connect::{Store, Unit};
use crate::error::StoreError;
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
}

impl Store {
    /// Leases up to `limit` jobs: by queue in the order given, inside a queue by priority, inside a priority oldest first.
    /// Jobs that expired while they waited are cancelled on the way and not returned.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Leased>, StoreError> {
        let mut unit = self.begin().await?;
        let leased = Self::lease_in(&mut unit, request).await?;
        unit.commit().await?;
        Ok(leased)
    }

    /// The same inside a transaction of the caller.
    pub(crate) async fn lease_in(unit: &mut Unit, request: &LeaseRequest) -> Result<Vec<Leased>, StoreError> {
        let kinds =
            if request.kinds.is_empty() { None } else { Some(Self::kinds(unit, &request.kinds).await?) };
        let grants = Self::grant(unit, request, kinds.as_deref()).await?;
        if grants.is_empty() {
            return Ok(vec![]);
        }
        let (leased, stillborn) = Self::bodies(unit, grants).await?;
        Self::settle_unbegun(unit, stillborn).await?;
        Ok(leased)
    }

    async fn grant(
        unit: &mut Unit,
        request: &LeaseRequest,
        kinds: Option<&[i32]>,
    ) -> Result<Vec<Grant>, StoreError> {
        // a queue named twice would be walked twice, and our own locks do not keep us from a row
        let mut seen = HashSet::new();
        let queues: Vec<String> =
            request.queues.iter().filter(|q| seen.insert(*q)).map(ToString::to_string).collect();
        let limit = i64::try_from(request.limit.min(MAX_BATCH)).unwrap_or(1);
        // lanes come in order and a nested loop keeps it; an outer ORDER BY would lock every candidate before the limit.
        // `at` is the row's address: locked by us, so it cannot move before the delete.
        Ok(sqlx::query_as!(
            Grant,
            r#"-- store.lease
            WITH pick AS MATERIALIZED (
                SELECT lane.queue_id, lane.id AS lane, r.at, r.job_id, r.attempt, r.kind
                FROM (SELECT l.id, l.queue_id
                      FROM unnest($1::text[]) WITH ORDINALITY AS want (name, place)
                      JOIN jobqueue.queue q ON q.name = want.name AND q.paused_at IS NULL
                      JOIN jobqueue.lane l ON l.queue_id = q.id
                      ORDER BY want.place, l.priority DESC) AS lane
                CROSS JOIN LATERAL (
                      SELECT w.ctid AS at, w.job_id, w.attempt, w.kind FROM jobqueue.ready w
                      WHERE w.lane = lane.id AND ($3::int[] IS NULL OR w.kind = ANY ($3))
                      ORDER BY w.job_id LIMIT $2 FOR UPDATE SKIP LOCKED) AS r
                LIMIT $2),
            gone AS (DELETE FROM jobqueue.ready WHERE ctid = ANY (ARRAY(SELECT at FROM pick))),
            ordered AS (SELECT *, row_number() OVER () AS nth FROM pick),
            numbered AS (SELECT *, (row_number() OVER (PARTITION BY queue_id ORDER BY nth) - 1) / 64 AS part FROM ordered),
            granted AS MATERIALIZED (
                SELECT nextval('jobqueue.lease_epoch') AS epoch, gen_random_uuid() AS token, queue_id, min(nth) AS first,
                       array_agg(job_id ORDER BY nth) AS job_ids, array_agg((attempt + 1)::smallint ORDER BY nth) AS attempts,
                       array_agg(lane ORDER BY nth) AS lanes, array_agg(kind ORDER BY nth) AS kinds, count(*)::int AS n
                FROM numbered GROUP BY queue_id, part),
            lease AS (
                INSERT INTO jobqueue.lease (epoch, token, worker_id, queue_id, leased_at, expires_at, open)
                SELECT epoch, token, $4, queue_id, jobqueue.now(), jobqueue.now() + $5::bigint * interval '1 ms',
                       CASE n WHEN 64 THEN -1 ELSE (1::bigint << n) - 1 END FROM granted),
            jobs AS (
                INSERT INTO jobqueue.lease_jobs (epoch, job_ids, attempts, lanes, kinds)
                SELECT epoch, job_ids, attempts, lanes, kinds FROM granted),
            tally AS (INSERT INTO jobqueue.tally (queue_id, leased) SELECT queue_id, sum(n)::int FROM granted GROUP BY queue_id)
            SELECT epoch AS "epoch!", token AS "token!", job_ids AS "job_ids!", attempts AS "attempts!"
            FROM granted ORDER BY first"#,
            &queues,
            limit,
            kinds,
            request.worker_id.map(WorkerId::as_uuid),
            to_ms(request.duration),
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    /// The granted jobs in the order of the grants, and the ends of those that must not start: expired while they waited, or
    /// unreadable because somebody wrote to the tables by hand. One bad row must not stop a queue.
    async fn bodies(
        unit: &mut Unit,
        grants: Vec<Grant>,
    ) -> Result<(Vec<Leased>, Vec<AttemptEnd>), StoreError> {
        let ids: Vec<Uuid> = grants.iter().flat_map(|grant| grant.job_ids.iter().copied()).collect();
        let mut bodies = Self::body_rows(unit, &ids).await?;
        let (mut leased, mut stillborn) = (Vec::with_capacity(ids.len()), Vec::new());
        for grant in grants {
            for (place, (id, attempt)) in grant.job_ids.into_iter().zip(grant.attempts).enumerate() {
                let lease = granted(grant.epoch, grant.token, id, place, attempt)?;
                let body = bodies.remove(&id);
                let holds_key = body.as_ref().is_some_and(|body| body.unique_key.is_some());
                let (overdue, waited) =
                    body.as_ref().map_or((false, None), |body| (body.overdue, body.waited()));
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

    /// Bodies with their names, by id.
    pub(crate) async fn body_rows(
        unit: &mut Unit,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, BodyRow>, StoreError> {
        let rows = sqlx::query_as!(
            BodyRow,
            r#"-- store.bodies
            SELECT b.id, q.name AS queue, k.name AS kind, l.priority, b.max_attempts, b.payload::text AS "payload!",
                   b.retry::text AS retry, b.timeout_ms, b.soft_timeout_ms, b.run_at, b.expires_at, b.unique_key, b.tags,
                   b.metadata::text AS metadata, b.traceparent,
                   coalesce(b.expires_at <= jobqueue.now(), false) AS "overdue!", jobqueue.now() AS "now!"
            FROM jobqueue.body b
            JOIN jobqueue.lane l ON l.id = b.lane JOIN jobqueue.queue q ON q.id = l.queue_id
            JOIN jobqueue.kind k ON k.id = b.kind
            WHERE b.id = ANY ($1)"#,
            ids,
        )
        .fetch_all(&mut **unit)
        .await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
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
