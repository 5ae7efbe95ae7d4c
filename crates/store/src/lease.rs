//! lease: takes runnable jobs for a worker. One statement finds and removes them, one writes the leases, one fetches the bodies.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jobqueue_core::limits::{MAX_BATCH, MAX_LEASE_JOBS};
use jobqueue_core::{
    Failure, Job, JobId, KindName, Lease, Outcome, QueueName, Settlement, Status, WorkerId, settle,
};
use uuid::Uuid;

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::low_water::Look;
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

/// A row taken out of its lane.
struct Picked {
    epoch: i64,
    queue_id: i32,
    lane: i32,
    kind: i32,
    job_id: Uuid,
    attempt: i16,
}

/// Neighbours in the pick that share one lease: of one queue, at most 64.
struct Grant {
    epoch: i64,
    token: Uuid,
    picked: Vec<Picked>,
}

impl Store {
    /// Leases up to `limit` jobs: by queue in the order given, inside a queue by priority, inside a priority oldest first.
    /// A busy process may pass by a job that was put back, for a while (`low_water`).
    /// Jobs that expired while they waited are cancelled on the way and not returned.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Leased>, StoreError> {
        let leased = async {
            let mut unit = self.begin().await?;
            let leased = self.lease_in(&mut unit, request).await?;
            unit.commit().await?;
            Ok(leased)
        };
        leased.await.inspect_err(|_| self.low_water.forget())
    }

    /// The same inside a transaction of the caller.
    pub(crate) async fn lease_in(
        &self,
        unit: &mut Unit,
        request: &LeaseRequest,
    ) -> Result<Vec<Leased>, StoreError> {
        let kinds =
            if request.kinds.is_empty() { None } else { Some(self.kinds(unit, &request.kinds).await?) };
        let mut look = self.low_water.look(kinds.as_deref());
        let mut picked = self.pick(unit, request, kinds.as_deref(), look).await?;
        if picked.is_empty() && self.low_water.look_again(kinds.as_deref(), look) {
            look = Look::Front;
            picked = self.pick(unit, request, kinds.as_deref(), look).await?;
        }
        if picked.is_empty() {
            return Ok(vec![]);
        }
        let grants = grants(picked);
        Self::grant(unit, request, &grants).await?;
        let (leased, stillborn) = self.bodies(unit, grants).await?;
        Self::settle_unbegun(unit, stillborn).await?;
        Ok(leased)
    }

    /// Takes rows out of their lanes, in the order in which they shall run.
    async fn pick(
        &self,
        unit: &mut Unit,
        request: &LeaseRequest,
        kinds: Option<&[i32]>,
        look: Look,
    ) -> Result<Vec<Picked>, StoreError> {
        // a queue named twice would be walked twice, and our own locks do not keep us from a row
        let mut seen = HashSet::new();
        let queues: Vec<String> =
            request.queues.iter().filter(|q| seen.insert(*q)).map(ToString::to_string).collect();
        let limit = i64::try_from(request.limit.min(MAX_BATCH)).unwrap_or(1);
        let (lanes, starts): (Vec<i32>, Vec<Uuid>) = self.low_water.starts(kinds, look).into_iter().unzip();
        let began = Instant::now();
        // lanes come in order and a nested loop keeps it; an outer ORDER BY would lock every candidate before the limit.
        // `at` is the row's address: locked by us, so it cannot move before the delete.
        let picked = sqlx::query_as!(
            Picked,
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
            gone AS (DELETE FROM jobqueue.ready WHERE ctid = ANY (ARRAY(SELECT at FROM pick)))
            SELECT (SELECT nextval('jobqueue.lease_epoch')) AS "epoch!", queue_id AS "queue_id!", lane AS "lane!", kind AS "kind!",
                   job_id AS "job_id!", (attempt + 1)::smallint AS "attempt!"
            FROM pick"#,
            &queues,
            limit,
            kinds,
            &lanes,
            &starts,
        )
        .fetch_all(&mut **unit)
        .await?;
        let jobs = picked.iter().map(|row| (row.lane, JobId::from_uuid(row.job_id)));
        self.low_water.looked(kinds, look, began.elapsed(), jobs);
        Ok(picked)
    }

    /// Writes down who holds what was picked.
    async fn grant(unit: &mut Unit, request: &LeaseRequest, grants: &[Grant]) -> Result<(), StoreError> {
        let picked = || grants.iter().flat_map(|grant| &grant.picked);
        let mut high = 0;
        let (lows, highs): (Vec<i32>, Vec<i32>) = grants
            .iter()
            .map(|grant| {
                let low = high + 1;
                high += i32::from(grant.size());
                (low, high)
            })
            .unzip();
        sqlx::query!(
            "-- store.lease.grant
            WITH granted AS MATERIALIZED (
                SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::bigint[], $5::int[], $6::int[])
                           AS g (epoch, token, queue_id, open, low, high)),
            lease AS (
                INSERT INTO jobqueue.lease (epoch, token, worker_id, queue_id, leased_at, expires_at, open)
                SELECT epoch, token, $11, queue_id, jobqueue.now(), jobqueue.now() + $12::bigint * interval '1 ms', open FROM granted),
            jobs AS (
                INSERT INTO jobqueue.lease_jobs (epoch, job_ids, attempts, lanes, kinds)
                SELECT epoch, ($7::uuid[])[low:high], ($8::smallint[])[low:high], ($9::int[])[low:high], ($10::int[])[low:high]
                FROM granted)
            INSERT INTO jobqueue.tally (queue_id, leased) SELECT queue_id, sum(high - low + 1)::int FROM granted GROUP BY queue_id",
            &grants.iter().map(|grant| grant.epoch).collect::<Vec<_>>(),
            &grants.iter().map(|grant| grant.token).collect::<Vec<_>>(),
            &grants.iter().map(Grant::queue_id).collect::<Vec<_>>(),
            &grants.iter().map(|grant| all_open(grant.size())).collect::<Vec<_>>(),
            &lows,
            &highs,
            &picked().map(|row| row.job_id).collect::<Vec<_>>(),
            &picked().map(|row| row.attempt).collect::<Vec<_>>(),
            &picked().map(|row| row.lane).collect::<Vec<_>>(),
            &picked().map(|row| row.kind).collect::<Vec<_>>(),
            request.worker_id.map(WorkerId::as_uuid),
            to_ms(request.duration),
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }

    /// The granted jobs in the order of the grants, and the ends of those that must not start: expired while they waited, or
    /// unreadable because somebody wrote to the tables by hand. One bad row must not stop a queue.
    async fn bodies(
        &self,
        unit: &mut Unit,
        grants: Vec<Grant>,
    ) -> Result<(Vec<Leased>, Vec<AttemptEnd>), StoreError> {
        let ids: Vec<Uuid> = grants.iter().flat_map(|grant| &grant.picked).map(|row| row.job_id).collect();
        let mut bodies = self.body_rows(unit, &ids).await?;
        let (mut leased, mut stillborn) = (Vec::with_capacity(ids.len()), Vec::new());
        for grant in grants {
            for (place, Picked { job_id, attempt, .. }) in grant.picked.into_iter().enumerate() {
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

impl Grant {
    fn size(&self) -> u8 {
        u8::try_from(self.picked.len()).unwrap_or(u8::MAX)
    }

    fn queue_id(&self) -> i32 {
        self.picked.first().map_or(0, |row| row.queue_id)
    }
}

/// Splits a pick into leases. One number was drawn for the whole pick; the sequence leaves room behind it for a lease a job.
fn grants(picked: Vec<Picked>) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    for row in picked {
        match grants.last_mut() {
            Some(last) if last.queue_id() == row.queue_id && last.picked.len() < MAX_LEASE_JOBS => {
                last.picked.push(row);
            }
            last => {
                let epoch = last.map_or(row.epoch, |last| last.epoch + 1);
                grants.push(Grant { epoch, token: Uuid::from_u128(rand::random()), picked: vec![row] });
            }
        }
    }
    grants
}

/// One bit a job.
fn all_open(jobs: u8) -> i64 {
    !(-1_i64).checked_shl(jobs.into()).unwrap_or(0)
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
