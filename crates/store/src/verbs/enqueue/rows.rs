//! New jobs as rows and columns, before they are inserted.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use jobqueue_core::on_end::WebhookSecret;
use jobqueue_core::{JobId, Json, NewJob, OnConflict, OnEnd, Start, Status, TraceParent};
use uuid::Uuid;

use super::submission::Accepted;
use crate::readers::row::to_ms;
use crate::verbs::unique::{KeyRequest, kept_bits};

/// A new job and its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobWithId<'a> {
    pub(crate) id: JobId,
    pub(crate) job: &'a NewJob,
}

impl<'a> JobWithId<'a> {
    /// The result for the client. `scheduled` has the jobs that wait for their time.
    pub(crate) fn accepted(&self, scheduled: &[JobId]) -> Accepted {
        let status = if scheduled.contains(&self.id) { Status::Scheduled } else { Status::Queued };
        Accepted::Created { id: self.id, status }
    }

    /// The unique key that the job asks for.
    pub(crate) fn key_request(&self) -> Option<KeyRequest<'a>> {
        let job: &'a NewJob = self.job;
        let unique = job.unique.as_ref()?;
        Some(KeyRequest { digest: unique.digest(&job.queue, &job.kind), job_id: self.id, unique })
    }

    /// Another job that holds this job's key, and this job's `on_conflict`.
    pub(super) fn other_holder(&self, holders: &HashMap<Uuid, JobId>) -> Option<(JobId, OnConflict)> {
        let request = self.key_request()?;
        let holder = holders.get(&request.digest).copied().filter(|holder| *holder != self.id)?;
        Some((holder, request.unique.on_conflict))
    }
}

/// The rows that one call stores.
#[derive(Default)]
pub(super) struct Batch<'a> {
    /// Jobs that are stored by COPY.
    pub(super) copied: Columns<'a>,
    /// Jobs that are stored by the INSERT statement.
    pub(super) rows: Columns<'a>,
    /// The queues of the jobs. `created` has the number of new jobs of each.
    pub(super) queues: Vec<i32>,
    pub(super) created: Vec<i32>,
    /// The kind of each new job, for each queue.
    kinds: Vec<Vec<i32>>,
}

impl Batch<'_> {
    /// Counts a new job.
    pub(super) fn count(&mut self, queue_id: i32, kind: i32) {
        if let Some(at) = self.queues.iter().position(|queue| *queue == queue_id) {
            self.created[at] += 1;
            self.kinds[at].push(kind);
        } else {
            self.queues.push(queue_id);
            self.created.push(1);
            self.kinds.push(vec![kind]);
        }
    }

    /// The kinds of the new jobs of each queue, as array literals: one kind if all jobs have the same, otherwise one for each job.
    pub(super) fn kinds_of_queues(&self) -> Vec<String> {
        let literal = |kinds: &Vec<i32>| match kinds.as_slice() {
            [first, rest @ ..] if rest.iter().all(|kind| kind == first) => format!("{{{first}}}"),
            all => format!("{{{}}}", all.iter().map(i32::to_string).collect::<Vec<_>>().join(",")),
        };
        self.kinds.iter().map(literal).collect()
    }
}

/// Jobs as columns, one entry a job in each.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) ids: Vec<Uuid>,
    pub(super) lanes: Vec<i32>,
    pub(super) kinds: Vec<i32>,
    pub(super) max_attempts: Vec<i16>,
    pub(super) payloads: Vec<&'a str>,
    pub(super) retries: Vec<Option<String>>,
    pub(super) timeouts: Vec<Option<i64>>,
    pub(super) soft_timeouts: Vec<Option<i64>>,
    pub(super) run_ats: Vec<Option<DateTime<Utc>>>,
    pub(super) delays: Vec<Option<i64>>,
    pub(super) expires_ats: Vec<Option<DateTime<Utc>>>,
    pub(super) unique_keys: Vec<Option<&'a str>>,
    pub(super) unique_digests: Vec<Option<Uuid>>,
    pub(super) unique_kepts: Vec<Option<i16>>,
    pub(super) tags: Vec<Option<String>>,
    pub(super) metadata: Vec<Option<&'a str>>,
    pub(super) traceparents: Vec<Option<&'a str>>,
    pub(super) on_ends: Vec<Option<String>>,
    pub(super) on_end_secrets: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    pub(super) fn push(&mut self, new: &JobWithId<'a>, lane: i32, kind: i32) {
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
            Start::At(run_at) => (Some(run_at), None),
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
        self.on_ends.push(job.on_end.as_ref().map(OnEnd::target));
        self.on_end_secrets.push(match job.on_end.as_ref().map(|on_end| &on_end.secret) {
            Some(WebhookSecret::Own(secret)) => Some(secret.as_str()),
            _ => None,
        });
    }
}

/// A Postgres array literal. `unnest` cannot take an array of arrays of different lengths.
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
