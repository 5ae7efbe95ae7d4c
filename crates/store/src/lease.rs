//! lease: takes runnable jobs for a worker. One statement finds, removes and grants; a second fetches the bodies.

use std::collections::HashMap;
use std::time::Duration;

use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{Job, JobId, KindName, Lease, Outcome, QueueName, Status, WorkerId, settle};
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
        let kinds = if request.kinds.is_empty() { None } else { Some(Self::kinds(unit, &request.kinds).await?) };
        let grants = Self::grant(unit, request, kinds.as_deref()).await?;
        if grants.is_empty() {
            return Ok(vec![]);
        }
        let leased = Self::bodies(unit, grants).await?;
        let (leased, overdue): (Vec<_>, Vec<_>) = leased.into_iter().partition(|(_, overdue)| !overdue);
        let ends = overdue.into_iter().map(|(late, _)| {
            let settlement = settle(&late.job, Outcome::Expired, 0.0);
            AttemptEnd { holds_key: late.job.unique_key.is_some(), lease: late.lease, settlement, ran: None }
        });
        Self::settle_in(unit, ends.collect()).await?;
        Ok(leased.into_iter().map(|(leased, _)| leased).collect())
    }

    async fn grant(unit: &mut Unit, request: &LeaseRequest, kinds: Option<&[i32]>) -> Result<Vec<Grant>, StoreError> {
        let queues: Vec<String> = request.queues.iter().map(ToString::to_string).collect();
        let limit = i64::try_from(request.limit.min(MAX_BATCH)).unwrap_or(1);
        // lanes come in order and a nested loop keeps it; an outer ORDER BY would lock every candidate before the limit.
        // `at` is the row's address: locked by us, so it cannot move before the delete.
        Ok(sqlx::query_as!(
            Grant,
            r#"-- store.lease
            WITH pick AS MATERIALIZED (
                SELECT lane.queue_id, r.at, r.job_id, r.attempt
                FROM (SELECT l.id, l.queue_id
                      FROM unnest($1::text[]) WITH ORDINALITY AS want (name, place)
                      JOIN jobqueue.queue q ON q.name = want.name AND q.paused_at IS NULL
                      JOIN jobqueue.lane l ON l.queue_id = q.id
                      ORDER BY want.place, l.priority DESC) AS lane
                CROSS JOIN LATERAL (
                      SELECT w.ctid AS at, w.job_id, w.attempt FROM jobqueue.ready w
                      WHERE w.lane = lane.id AND ($3::int[] IS NULL OR w.kind = ANY ($3))
                      ORDER BY w.job_id LIMIT $2 FOR UPDATE SKIP LOCKED) AS r
                LIMIT $2),
            gone AS (DELETE FROM jobqueue.ready WHERE ctid = ANY (ARRAY(SELECT at FROM pick))),
            numbered AS (
                SELECT queue_id, job_id, (attempt + 1)::smallint AS attempt,
                       (row_number() OVER (PARTITION BY queue_id) - 1) / 64 AS part FROM pick),
            granted AS MATERIALIZED (
                SELECT nextval('jobqueue.lease_epoch') AS epoch, gen_random_uuid() AS token, queue_id,
                       array_agg(job_id) AS job_ids, array_agg(attempt) AS attempts, count(*)::int AS n
                FROM numbered GROUP BY queue_id, part),
            lease AS (
                INSERT INTO jobqueue.lease (epoch, token, worker_id, queue_id, leased_at, expires_at, open)
                SELECT epoch, token, $4, queue_id, jobqueue.now(), jobqueue.now() + $5::bigint * interval '1 ms',
                       CASE n WHEN 64 THEN -1 ELSE (1::bigint << n) - 1 END FROM granted),
            jobs AS (
                INSERT INTO jobqueue.lease_jobs (epoch, job_ids, attempts) SELECT epoch, job_ids, attempts FROM granted),
            tally AS (INSERT INTO jobqueue.tally (queue_id, leased) SELECT queue_id, sum(n)::int FROM granted GROUP BY queue_id)
            SELECT epoch AS "epoch!", token AS "token!", job_ids AS "job_ids!", attempts AS "attempts!" FROM granted"#,
            &queues,
            limit,
            kinds,
            request.worker_id.map(WorkerId::as_uuid),
            to_ms(request.duration),
        )
        .fetch_all(&mut **unit)
        .await?)
    }

    /// The granted jobs in the order of the grants, each with whether it expired while it waited.
    async fn bodies(unit: &mut Unit, grants: Vec<Grant>) -> Result<Vec<(Leased, bool)>, StoreError> {
        let ids: Vec<Uuid> = grants.iter().flat_map(|grant| grant.job_ids.iter().copied()).collect();
        let mut bodies = Self::body_rows(unit, &ids).await?;
        let mut leased = Vec::with_capacity(ids.len());
        for grant in grants {
            for (place, (id, attempt)) in grant.job_ids.into_iter().zip(grant.attempts).enumerate() {
                let job_id = JobId::from_uuid(id);
                let Some(body) = bodies.remove(&id) else {
                    return Err(StoreError::Corrupt { job_id, what: "queued without a body".to_owned() });
                };
                let (overdue, waited) = (body.overdue, body.waited());
                let job = body.into_job(attempt)?;
                let ordinal = u8::try_from(place).map_err(|e| corrupt(job_id, "lease.place", e))?;
                let lease = Lease::grant(grant.epoch, grant.token, job_id, ordinal, job.attempt)
                    .ok_or_else(|| corrupt(job_id, "lease.place", Status::Running))?;
                let waited = waited.filter(|_| job.attempt == 1);
                leased.push((Leased { job, lease, waited }, overdue));
            }
        }
        Ok(leased)
    }

    /// Bodies with their names, by id.
    pub(crate) async fn body_rows(unit: &mut Unit, ids: &[Uuid]) -> Result<HashMap<Uuid, BodyRow>, StoreError> {
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
