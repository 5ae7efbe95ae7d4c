//! Leases of remote workers: asked for and renewed.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::limits::MAX_PROGRESS_BYTES;
use jobqueue_core::time;
use jobqueue_core::{FieldError, Json, KindName, Lease, QueueName, WorkerName};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::job::JobCore;
use super::worker_report::{DeliveredView, WorkerReportBody};
use crate::extract::Wire;
use crate::extract::json::BATCH_BYTES;

/// Jobs of one request.
pub(crate) const MAX_LEASES: usize = 100;
const DEFAULT_SECONDS: i64 = 30;
const SECONDS: std::ops::RangeInclusive<i64> = 5..=3600;
const MAX_WAIT: Duration = Duration::from_secs(30);

/// A request for jobs by a remote worker.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcquireBody {
    /// The name of the worker, under which `GET /v1/workers` lists it. Give each process its own, for example its host and process id.
    /// Default: a name made from the client's address, which all unnamed workers of that address share.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 253, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
    pub(crate) worker: Option<WorkerName>,
    /// 1 to 100 queues. Jobs of the first one are taken first.
    #[schema(value_type = Vec<super::name::QueueText>, min_items = 1, max_items = 100)]
    pub(crate) queues: Vec<QueueName>,
    /// Take only jobs of these kinds, at most 1000. Default: all kinds.
    #[serde(default)]
    #[schema(max_items = 1000, value_type = Vec<super::name::KindText>, required = false)]
    pub(crate) kinds: Vec<KindName>,
    /// Most jobs, 1 to 100; default 1. Take no more than can be started soon.
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    /// How long the leases last unless they are renewed, 5 to 3600; default 30. Renew at a third of it.
    #[schema(minimum = 5, maximum = 3600)]
    lease_seconds: Option<i64>,
    /// If there is no job: how long to wait for one, 0 to 30 seconds; default 0.
    #[schema(minimum = 0, maximum = 30)]
    wait: Option<f64>,
}

impl Wire for AcquireBody {}

/// The checked numbers of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) limit: usize,
    pub(crate) lease_seconds: u32,
    pub(crate) wait: Duration,
}

impl AcquireBody {
    /// The checked numbers, or every error.
    pub(crate) fn terms(&self) -> Result<Terms, Vec<FieldError>> {
        let mut errors = Vec::new();
        let limit = usize::try_from(self.limit.unwrap_or(1)).ok().filter(|n| (1..=MAX_LEASES).contains(n));
        if limit.is_none() {
            errors.push(FieldError::new(
                "/limit",
                "out_of_range",
                format!("must be between 1 and {MAX_LEASES}"),
            ));
        }
        if !(1..=MAX_LEASES).contains(&self.queues.len()) {
            errors.push(FieldError::new(
                "/queues",
                "out_of_range",
                format!("must have 1 to {MAX_LEASES} entries"),
            ));
        }
        if self.kinds.len() > 1000 {
            errors.push(FieldError::new("/kinds", "too_long", "must have at most 1000 entries"));
        }
        let lease_seconds = lease_seconds(self.lease_seconds).map_err(|error| errors.push(error)).ok();
        let wait = checked_wait(self.wait).map_err(|error| errors.push(error)).ok();
        match (limit, lease_seconds, wait, errors.is_empty()) {
            (Some(limit), Some(lease_seconds), Some(wait), true) => Ok(Terms { limit, lease_seconds, wait }),
            _ => Err(errors),
        }
    }
}

fn lease_seconds(given: Option<i64>) -> Result<u32, FieldError> {
    let seconds = given.unwrap_or(DEFAULT_SECONDS);
    let usable = u32::try_from(seconds).ok().filter(|_| SECONDS.contains(&seconds));
    usable.ok_or_else(|| FieldError::new("/lease_seconds", "out_of_range", "must be between 5 and 3600"))
}

fn checked_wait(given: Option<f64>) -> Result<Duration, FieldError> {
    time::seconds(given.unwrap_or(0.0), Duration::ZERO..=MAX_WAIT)
        .ok_or_else(|| FieldError::new("/wait", "out_of_range", "must be between 0 and 30 seconds"))
}

/// Leased jobs; empty if there was none within `wait`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcquiredView {
    /// The leased jobs.
    pub(crate) leases: Vec<LeasedView>,
}

/// A job and the right to run it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeasedView {
    /// Opaque token. Heartbeat and settle need it.
    pub(crate) lease: String,
    /// How long the lease lasts unless it is renewed, counted from this response. A duration, because clocks differ.
    pub(crate) expires_in_seconds: u32,
    /// The job to run.
    pub(crate) job: JobCore,
}

/// Leases to renew.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeartbeatBody {
    /// 1 to 1000 leases, or none if `worker` is given; each as its text alone, or as an object with what its handler reports.
    #[serde(default)]
    #[schema(value_type = Vec<HeartbeatItemBody>, required = false, max_items = 1000)]
    pub(crate) leases: Vec<HeartbeatItem>,
    /// What the worker reports of itself. With it the response has the commands for the worker.
    pub(crate) worker: Option<WorkerReportBody>,
    /// How long they last from now on, 5 to 3600; default 30. A lease is never shortened.
    #[schema(minimum = 5, maximum = 3600)]
    lease_seconds: Option<i64>,
    /// If there is nothing to act on: how long to wait until a job should stop or a command is sent, 0 to 30 seconds; default 0. With leases
    /// at most half of `lease_seconds`. They are renewed at the beginning and at the end.
    #[schema(minimum = 0, maximum = 30)]
    wait: Option<f64>,
}

impl Wire for HeartbeatBody {
    const MAX_BYTES: usize = BATCH_BYTES;
}

impl HeartbeatBody {
    /// How long the leases shall last from now on, and how long to wait; or every error.
    pub(crate) fn times(&self) -> Result<(Duration, Duration), Vec<FieldError>> {
        match (lease_seconds(self.lease_seconds), checked_wait(self.wait)) {
            (Ok(seconds), Ok(wait)) => {
                let lease_for = Duration::from_secs(seconds.into());
                if !self.leases.is_empty() && wait > lease_for / 2 {
                    let message = "must be at most half of `lease_seconds`, because leases are renewed only before and after it";
                    return Err(vec![FieldError::new("/wait", "out_of_range", message)]);
                }
                Ok((lease_for, wait))
            }
            (seconds, wait) => Err(seconds.err().into_iter().chain(wait.err()).collect()),
        }
    }
}

/// A lease to renew, with what its handler reports.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeartbeatItemBody {
    /// The lease, as it was returned with the job.
    #[schema(min_length = 1)]
    lease: String,
    /// The latest progress value: any JSON up to 4 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    progress: Option<Json>,
    /// Log text to append, lines with their newline; the last 16 KiB of an attempt are kept.
    #[serde(default)]
    #[schema(required = false, min_length = 0)]
    log: String,
}

/// Either form of an item.
#[derive(Debug)]
pub(crate) struct HeartbeatItem(HeartbeatItemBody);

impl<'de> Deserialize<'de> for HeartbeatItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor).map(Self)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = HeartbeatItemBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a lease, or an object with a lease")
    }

    fn visit_str<E>(self, lease: &str) -> Result<HeartbeatItemBody, E> {
        Ok(HeartbeatItemBody { lease: lease.to_owned(), progress: None, log: String::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HeartbeatItemBody, A::Error> {
        HeartbeatItemBody::deserialize(MapAccessDeserializer::new(map))
    }
}

/// A lease and what its handler reports.
pub(crate) struct Renewal {
    pub(crate) lease: Lease,
    pub(crate) progress: Option<Json>,
    pub(crate) log: String,
}

impl HeartbeatItem {
    /// The checked item; `at` is its index.
    pub(crate) fn renewal(self, at: usize) -> Result<Renewal, FieldError> {
        let HeartbeatItemBody { lease, progress, log } = self.0;
        if progress.as_ref().is_some_and(|progress| progress.len() > MAX_PROGRESS_BYTES) {
            let message = format!("must have at most {MAX_PROGRESS_BYTES} bytes of JSON");
            return Err(FieldError::new(format!("/leases/{at}/progress"), "too_long", message));
        }
        let refuse = |_| FieldError::new(format!("/leases/{at}"), "invalid", "is not a lease");
        Ok(Renewal { lease: lease.parse().map_err(refuse)?, progress, log })
    }
}

/// The results of a heartbeat.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeartbeatView {
    /// One result per lease, in the order of the request.
    pub(crate) leases: Vec<RenewedView>,
    /// Commands that the worker has not acknowledged, oldest first; empty if the request has no `worker`. A command is returned again until
    /// its answer arrives: carry out each id once.
    pub(crate) commands: Vec<DeliveredView>,
}

/// The result of one renewal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RenewedView {
    /// `ok`; `cancel_requested`: renewed, but a user wants the job stopped: settle it as `cancelled`; `timed_out`: the job's timeout has
    /// passed, stop: 5 seconds later the attempt fails with the error type `timeout`; `stale`: lost or settled before, stop.
    pub(crate) status: &'static str,
    /// The new end, by the database's clock. Never earlier than before; at most 5 seconds after the end of the job's timeout.
    pub(crate) expires_at: Option<DateTime<Utc>>,
}
