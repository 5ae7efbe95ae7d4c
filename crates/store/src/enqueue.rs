//! enqueue: new jobs into the queue, many requests in one transaction. An answer means that it is committed.
//!
//! A few plain jobs cost one statement, many a COPY before it (`enqueue::bulk`). Only requests with an idempotency key, and jobs
//! with a unique key, take the longer road in `enqueue::keyed`.

use std::time::Instant;

use jobqueue_core::{JobId, Json, NewJob, Start, Status, TraceParent};
use serde::{Deserialize, Serialize};

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::idempotency::Idempotency;
use crate::row::to_ms;
use crate::unique::kept_bits;

mod bulk;
mod keyed;

/// One request: jobs that are answered together.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The jobs, in order.
    pub jobs: Vec<NewJob>,
    /// If set, one job that is rejected rejects them all.
    pub atomic: bool,
    /// The client's key for this request.
    pub idempotency: Option<Idempotency>,
}

/// What became of one submitted job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accepted {
    /// It is stored now.
    Created {
        /// Its id.
        id: JobId,
        /// `queued`, or `scheduled` if its time is still to come.
        status: Status,
    },
    /// Another job holds its unique key; nothing was stored.
    Existing(JobId),
    /// Another job holds its unique key and the job asked to be rejected then; nothing was stored.
    Rejected(JobId),
    /// Nothing was stored because a neighbour in an atomic request was rejected.
    NotTried,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One entry a job.
    Served {
        /// In the order of the request.
        jobs: Vec<Accepted>,
        /// The idempotency key was seen before: this is what it was answered with, and nothing new was stored.
        replayed: bool,
    },
    /// The idempotency key belongs to another request.
    KeyReused,
}

/// A job that got its id and awaits the insert.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh<'a> {
    pub(crate) id: JobId,
    pub(crate) job: &'a NewJob,
}

impl Store {
    /// Stores the jobs of many requests in one transaction; answers in the order of the requests.
    ///
    /// # Cancel safety
    ///
    /// None: dropped in the middle of a COPY, it leaves its connection to the next caller with an answer too many. Give it a task of its own.
    pub async fn enqueue(&self, submissions: &[Submission]) -> Result<Vec<Answer>, StoreError> {
        self.tell_time().await?;
        self.learn_names(submissions.iter().flat_map(|s| &s.jobs)).await?;
        let keyed =
            submissions.iter().any(|s| s.idempotency.is_some() || s.jobs.iter().any(|job| !job.is_plain()));
        if keyed {
            return self.enqueue_keyed(submissions).await;
        }
        let jobs = || submissions.iter().flat_map(|s| &s.jobs);
        let mut unit = if bulk::pays(jobs()) { self.begin().await? } else { self.one().await? };
        // ids at the last moment: those of a transaction that takes longer than others are looked for later (`low_water`)
        let fresh: Vec<Fresh<'_>> = jobs().map(|job| self.fresh(job)).collect();
        let later = self.insert(&mut unit, &fresh).await?;
        unit.commit().await?;
        let mut created = fresh.iter().map(|fresh| fresh.accepted(&later));
        let answer = |s: &Submission| Answer::Served {
            jobs: created.by_ref().take(s.jobs.len()).collect(),
            replayed: false,
        };
        Ok(submissions.iter().map(answer).collect())
    }

    pub(crate) fn fresh<'a>(&self, job: &'a NewJob) -> Fresh<'a> {
        Fresh { id: self.ids.next(), job }
    }

    /// Asks the database for the time if this process has not heard it yet.
    async fn tell_time(&self) -> Result<(), StoreError> {
        if self.ids.is_told() {
            return Ok(());
        }
        let mut unit = self.one().await?;
        let asked = Instant::now();
        let now = sqlx::query_scalar!(r#"SELECT jobqueue.now() - now() + clock_timestamp() AS "now!""#);
        let now = now.fetch_one(&mut *unit).await?;
        self.ids.tell(now, asked);
        unit.commit().await
    }

    /// Inserts bodies and places, many in a transaction of the caller's.
    /// Answers which of the jobs have to wait for their time.
    pub(crate) async fn insert(
        &self,
        unit: &mut Unit,
        fresh: &[Fresh<'_>],
    ) -> Result<Vec<JobId>, StoreError> {
        let Batch { copied, rows, queues, created } = self.batch(fresh).await?;
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
                            $18::uuid[], $19::smallint[])
                  AS i (id, lane, kind, max_attempts, payload, retry, timeout_ms, soft_timeout_ms,
                        run_at, delay_ms, expires_at, unique_key, tags, metadata, traceparent, unique_digest, unique_kept)),
            body AS (
                INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload, retry, timeout_ms, soft_timeout_ms,
                                           run_at, expires_at, unique_key, unique_digest, unique_kept, tags, metadata, traceparent)
                SELECT id, lane, kind, max_attempts, payload::json, retry::json, timeout_ms, soft_timeout_ms,
                       start_at, expires_at, unique_key, unique_digest, unique_kept, tags::text[], metadata::json, traceparent FROM input),
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
                INSERT INTO jobqueue.tally (queue_id, created) SELECT * FROM unnest($16::int[], $17::int[]))
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
        )
        .fetch_one(&mut **unit)
        .await?;
        self.ids.tell(row.now, asked);
        Ok(row.later.into_iter().map(JobId::from_uuid).collect())
    }

    /// Looks up the numbers of names, which are known by now, and decides which way each job goes.
    async fn batch<'a>(&self, fresh: &[Fresh<'a>]) -> Result<Batch<'a>, StoreError> {
        let many = bulk::pays(fresh.iter().map(|new| new.job));
        let mut batch = Batch::default();
        for new in fresh {
            let lane = self.lane(&new.job.queue, new.job.priority).await?;
            let columns = if many && bulk::takes(new.job) { &mut batch.copied } else { &mut batch.rows };
            columns.push(new, lane.id, self.kind(&new.job.kind).await?);
            if let Some(at) = batch.queues.iter().position(|queue| *queue == lane.queue_id) {
                batch.created[at] += 1;
            } else {
                batch.queues.push(lane.queue_id);
                batch.created.push(1);
            }
        }
        Ok(batch)
    }
}

impl Fresh<'_> {
    pub(crate) fn accepted(&self, later: &[JobId]) -> Accepted {
        let status = if later.contains(&self.id) { Status::Scheduled } else { Status::Queued };
        Accepted::Created { id: self.id, status }
    }
}

/// What one call stores.
#[derive(Default)]
struct Batch<'a> {
    /// By COPY.
    copied: Columns<'a>,
    /// By the statement for all jobs.
    rows: Columns<'a>,
    /// Queues, and how many jobs each gets.
    queues: Vec<i32>,
    created: Vec<i32>,
}

/// The columns of jobs that go one way.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<uuid::Uuid>,
    lanes: Vec<i32>,
    kinds: Vec<i32>,
    max_attempts: Vec<i16>,
    payloads: Vec<&'a str>,
    retries: Vec<Option<String>>,
    timeouts: Vec<Option<i64>>,
    soft_timeouts: Vec<Option<i64>>,
    run_ats: Vec<Option<chrono::DateTime<chrono::Utc>>>,
    delays: Vec<Option<i64>>,
    expires_ats: Vec<Option<chrono::DateTime<chrono::Utc>>>,
    unique_keys: Vec<Option<&'a str>>,
    unique_digests: Vec<Option<uuid::Uuid>>,
    unique_kepts: Vec<Option<i16>>,
    tags: Vec<Option<String>>,
    metadata: Vec<Option<&'a str>>,
    traceparents: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, new: &Fresh<'a>, lane: i32, kind: i32) {
        let job = new.job;
        self.ids.push(new.id.as_uuid());
        self.lanes.push(lane);
        self.kinds.push(kind);
        self.max_attempts.push(i16::try_from(job.max_attempts).unwrap_or(i16::MAX));
        self.payloads.push(job.payload.as_str());
        self.retries.push(job.retry.as_ref().and_then(|policy| serde_json::to_string(policy).ok()));
        self.timeouts.push(job.timeout.map(to_ms));
        self.soft_timeouts.push(job.soft_timeout.map(to_ms));
        let (run_at, delay) = match job.start {
            Start::Now => (None, None),
            Start::At(moment) => (Some(moment), None),
            Start::After(delay) => (None, Some(to_ms(delay))),
        };
        self.run_ats.push(run_at);
        self.delays.push(delay);
        self.expires_ats.push(job.expires_at);
        self.unique_keys.push(job.unique.as_ref().map(|unique| unique.key.as_str()));
        self.unique_digests.push(job.unique.as_ref().map(|unique| unique.digest(&job.queue, &job.kind)));
        self.unique_kepts.push(job.unique.as_ref().map(kept_bits));
        self.tags.push((!job.tags.is_empty()).then(|| array_literal(&job.tags)));
        self.metadata.push(job.metadata.as_ref().map(Json::as_str));
        self.traceparents.push(job.traceparent.as_ref().map(TraceParent::as_str));
    }
}

/// A column that no job uses is sent empty: unnest fills it up with nulls, and a plain job pays only for what it has.
pub(crate) fn used<T>(column: &[Option<T>]) -> &[Option<T>] {
    if column.iter().all(Option::is_none) { &[] } else { column }
}

/// A Postgres array literal: unnest cannot take an array of arrays of different lengths.
fn array_literal(words: &[String]) -> String {
    let quoted: Vec<String> =
        words.iter().map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    format!("{{{}}}", quoted.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_escape_what_postgres_reads() {
        let words = ["a".to_owned(), "b\"c".to_owned(), "d\\e,{}".to_owned()];
        assert_eq!(array_literal(&words), r#"{"a","b\"c","d\\e,{}"}"#);
    }
}
