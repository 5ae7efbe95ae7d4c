//! enqueue: stores new jobs, those of many requests in one transaction. It returns after the commit.
//!
//! A few plain jobs take one statement. Many take a COPY before it (`enqueue::bulk`). Requests with an idempotency key and
//! jobs with a unique key take more statements (`enqueue::keyed`), and so do jobs of a queue with `max_queued` (`enqueue::admit`).

use std::time::Instant;

use chrono::{DateTime, Utc};
use jobqueue_core::{JobId, NewJob};

use crate::plumbing::batches::Batches;
use crate::plumbing::columns::used;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::retry_on_conflict::retry_on_conflict;
use crate::verbs::snooze;
use keyed::rounds;
use rows::{Batch, JobWithId};
use submission::{Answer, Submission};

mod admit;
mod bulk;
mod keyed;
pub(crate) mod rows;
pub(crate) mod submission;

impl Store {
    /// Stores the jobs of many requests in one transaction. Returns the answers in the order of the requests. A request
    /// that shares a key with an earlier one goes into a later transaction, so that it sees the result of the earlier one.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe. If it is dropped during a COPY, the next user of the connection receives the rest of the COPY's
    /// answer. Run it in a task of its own.
    pub async fn enqueue(&self, submissions: &[Submission]) -> Result<Vec<Answer>, StoreError> {
        let mut answers = vec![None; submissions.len()];
        for round in rounds(submissions) {
            let (places, round): (Vec<usize>, Vec<&Submission>) = round.into_iter().unzip();
            for (at, answer) in places.into_iter().zip(self.enqueue_round(&round).await?) {
                answers[at] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Like [`Store::enqueue`], with an answer or error for each request. A request that the database rejects does not
    /// affect the others.
    ///
    /// # Cancel safety
    ///
    /// As that of [`Store::enqueue`].
    pub async fn enqueue_each<E: From<StoreError> + Clone>(
        &self,
        submissions: &[Submission],
    ) -> Vec<Result<Answer, E>> {
        let mut batches = Batches::default();
        let mut answers: Vec<Option<Result<Answer, E>>> = vec![None; submissions.len()];
        for round in rounds(submissions) {
            let (places, round): (Vec<usize>, Vec<&Submission>) = round.into_iter().unzip();
            let served = batches.run(&round, |part| self.enqueue_round(part)).await;
            for (at, answer) in places.into_iter().zip(served) {
                answers[at] = Some(answer);
            }
        }
        answers.into_iter().flatten().collect()
    }

    /// Stores the jobs of requests that do not share a key, in one transaction.
    async fn enqueue_round(&self, submissions: &[&Submission]) -> Result<Vec<Answer>, StoreError> {
        self.sync_clock().await?;
        for submission in submissions {
            self.learn_names(&submission.jobs).await?;
        }
        if submissions.iter().any(|submission| submission.is_keyed()) || self.is_limited(submissions) {
            return retry_on_conflict(|| self.enqueue_keyed(submissions)).await;
        }
        let jobs = || submissions.iter().flat_map(|s| &s.jobs);
        let several = bulk::is_faster(jobs()) || jobs().any(|job| job.max_snoozes.is_some());
        let mut unit = if several { self.begin().await? } else { self.one().await? };
        // Ids are assigned as late as possible. Scans near the mark of a lane miss jobs whose transaction took long after
        // their ids were assigned (`low_water`).
        let new: Vec<JobWithId<'_>> = jobs().map(|job| self.with_id(job)).collect();
        let scheduled = self.insert(&mut unit, &new).await?;
        unit.commit().await?;
        let mut created = new.iter().map(|new| new.accepted(&scheduled));
        let answer = |s: &&Submission| Answer::Served {
            jobs: created.by_ref().take(s.jobs.len()).collect(),
            replayed: false,
        };
        Ok(submissions.iter().map(answer).collect())
    }

    fn with_id<'a>(&self, job: &'a NewJob) -> JobWithId<'a> {
        JobWithId { id: self.ids.next(), job }
    }

    /// The database's time. Asks the database only if this process has not done so before.
    pub async fn time(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.sync_clock().await?;
        Ok(self.ids.time())
    }

    /// The database's time, computed from its last answer; `None` before the first answer.
    pub fn last_known_time(&self) -> Option<DateTime<Utc>> {
        self.ids.time()
    }

    /// Asks the database for the time unless this process knows it already.
    async fn sync_clock(&self) -> Result<(), StoreError> {
        if self.ids.is_synced() {
            return Ok(());
        }
        let mut unit = self.one().await?;
        let asked = Instant::now();
        let now = sqlx::query_scalar!(r#"SELECT jobqueue.now() - now() + clock_timestamp() AS "now!""#);
        let now = now.fetch_one(&mut *unit).await?;
        self.ids.sync(now, asked);
        unit.commit().await
    }

    /// Inserts bodies and places. Many jobs need a transaction, which the caller begins. Returns the scheduled jobs.
    async fn insert(&self, unit: &mut Unit, jobs: &[JobWithId<'_>]) -> Result<Vec<JobId>, StoreError> {
        let batch = self.batch(jobs).await?;
        let kinds = batch.kinds_of_queues();
        let Batch { copied, rows, queues, created, .. } = batch;
        if !copied.ids.is_empty() {
            bulk::copy(unit, &copied).await?;
        }
        let asked = Instant::now();
        let row = sqlx::query!(
            r#"-- store.enqueue
            WITH input AS MATERIALIZED (
                SELECT i.*, coalesce(i.run_at, CASE WHEN i.delay_ms IS NOT NULL THEN jobqueue.now() + i.delay_ms * interval '1 ms' END) AS start_at
                FROM unnest($1::uuid[], $2::int[], $3::int[], $4::smallint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
                            $9::timestamptz[], $10::bigint[], $11::timestamptz[], $12::text[], $13::text[], $14::text[], $15::text[],
                            $18::uuid[], $19::smallint[], $20::text[], $21::text[])
                  AS i (id, lane, kind, max_attempts, payload, retry, timeout_ms, soft_timeout_ms,
                        run_at, delay_ms, expires_at, unique_key, tags, metadata, traceparent, unique_digest, unique_kept, on_end, on_end_secret)),
            body AS (
                INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload, retry, timeout_ms, soft_timeout_ms,
                                           run_at, expires_at, unique_key, unique_digest, unique_kept, tags, metadata, traceparent, on_end, on_end_secret)
                SELECT id, lane, kind, max_attempts, payload::json, retry::json, timeout_ms, soft_timeout_ms,
                       start_at, expires_at, unique_key, unique_digest, unique_kept, tags::text[], metadata::json, traceparent, on_end::json, on_end_secret FROM input),
            ready AS (
                INSERT INTO jobqueue.ready (job_id, lane, kind, attempt)
                SELECT id, lane, kind, 0 FROM input WHERE start_at IS NULL OR start_at <= (SELECT jobqueue.now())),
            later AS (
                INSERT INTO jobqueue.scheduled (job_id, run_at, lane, kind, attempt)
                SELECT id, start_at, lane, kind, 0 FROM input WHERE start_at > (SELECT jobqueue.now()) RETURNING job_id),
            expiry AS (
                INSERT INTO jobqueue.expiry (job_id, expires_at)
                SELECT id, expires_at FROM input WHERE expires_at IS NOT NULL),
            tally AS (
                INSERT INTO jobqueue.tally (queue_id, created, kinds)
                SELECT t.queue_id, t.created, t.kinds::int[] FROM unnest($16::int[], $17::int[], $22::text[]) AS t (queue_id, created, kinds))
            SELECT jobqueue.now() - now() + clock_timestamp() AS "now!", ARRAY(SELECT job_id FROM later) AS "later!""#,
            &rows.ids,
            &rows.lanes,
            &rows.kinds,
            &rows.max_attempts,
            &rows.payloads as _,
            used(&rows.retries) as _,
            used(&rows.timeouts) as _,
            used(&rows.soft_timeouts) as _,
            used(&rows.run_ats) as _,
            used(&rows.delays) as _,
            used(&rows.expires_ats) as _,
            used(&rows.unique_keys) as _,
            used(&rows.tags) as _,
            used(&rows.metadata) as _,
            used(&rows.traceparents) as _,
            &queues,
            &created,
            used(&rows.unique_digests) as _,
            used(&rows.unique_kepts) as _,
            used(&rows.on_ends) as _,
            used(&rows.on_end_secrets) as _,
            &kinds,
        )
        .fetch_one(&mut **unit)
        .await?;
        self.ids.sync(row.now, asked);
        snooze::bound(unit, jobs).await?;
        Ok(row.later.into_iter().map(JobId::from_uuid).collect())
    }

    /// Looks up the numbers of names, which are cached by now, and decides whether each job goes by COPY or by INSERT.
    async fn batch<'a>(&self, jobs: &[JobWithId<'a>]) -> Result<Batch<'a>, StoreError> {
        let many = bulk::is_faster(jobs.iter().map(|new| new.job));
        let mut batch = Batch::default();
        for new in jobs {
            let lane = self.lane(&new.job.queue, new.job.priority).await?;
            let kind = self.kind(&new.job.kind).await?;
            let columns = if many && bulk::can_copy(new.job) { &mut batch.copied } else { &mut batch.rows };
            columns.push(new, lane.id, kind);
            batch.count(lane.queue_id, kind);
        }
        Ok(batch)
    }
}
