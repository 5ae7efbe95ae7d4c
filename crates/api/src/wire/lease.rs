//! Leases of remote workers: asked for and renewed.

use std::fmt;

use chrono::{DateTime, Utc};
use jobqueue_core::limits::MAX_PROGRESS_BYTES;
use jobqueue_core::{FieldError, Json, KindName, Lease, QueueName};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::job::JobCore;
use crate::extract::Wire;
use crate::extract::json::BATCH_BYTES;

/// Jobs of one request.
pub(crate) const MAX_LEASES: usize = 100;
const DEFAULT_SECONDS: i64 = 30;
const SECONDS: std::ops::RangeInclusive<i64> = 5..=3600;
const WAIT_SECONDS: std::ops::RangeInclusive<f64> = 0.0..=30.0;

/// What a remote worker wants.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcquireBody {
    /// 1 to 100 queues in the order in which they are emptied.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 100)]
    pub(crate) queues: Vec<QueueName>,
    /// Only these kinds; default all.
    #[serde(default)]
    #[schema(value_type = Vec<String>, required = false)]
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

/// What was asked for, in numbers that are in bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) limit: usize,
    pub(crate) lease_seconds: u32,
    pub(crate) wait: std::time::Duration,
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
        let wait = self.wait.unwrap_or(0.0);
        if !WAIT_SECONDS.contains(&wait) {
            errors.push(FieldError::new("/wait", "out_of_range", "must be between 0 and 30 seconds"));
        }
        match (limit, lease_seconds, errors.is_empty()) {
            (Some(limit), Some(lease_seconds), true) => {
                let wait = std::time::Duration::try_from_secs_f64(wait).unwrap_or_default();
                Ok(Terms { limit, lease_seconds, wait })
            }
            _ => Err(errors),
        }
    }
}

fn lease_seconds(given: Option<i64>) -> Result<u32, FieldError> {
    let seconds = given.unwrap_or(DEFAULT_SECONDS);
    let usable = u32::try_from(seconds).ok().filter(|_| SECONDS.contains(&seconds));
    usable.ok_or_else(|| FieldError::new("/lease_seconds", "out_of_range", "must be between 5 and 3600"))
}

/// Leased jobs; empty if there was none within `wait`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcquiredView {
    pub(crate) leases: Vec<LeasedView>,
}

/// A job and the right to run it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeasedView {
    /// Opaque: settle and heartbeat need it.
    pub(crate) lease: String,
    /// How long the lease lasts unless it is renewed, counted from this answer. A span, because clocks differ.
    pub(crate) expires_in_seconds: u32,
    pub(crate) job: JobCore,
}

/// Leases to renew.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeartbeatBody {
    /// 1 to 1000 leases; each as its text alone, or as an object with what its handler reports.
    #[schema(value_type = Vec<HeartbeatItemBody>, min_items = 1, max_items = 1000)]
    pub(crate) leases: Vec<HeartbeatItem>,
    /// How long they last from now on, 5 to 3600; default 30.
    #[schema(minimum = 5, maximum = 3600)]
    lease_seconds: Option<i64>,
}

impl Wire for HeartbeatBody {
    const MAX_BYTES: usize = BATCH_BYTES;
}

impl HeartbeatBody {
    /// How long the leases shall last from now on.
    pub(crate) fn lease_seconds(&self) -> Result<u32, FieldError> {
        lease_seconds(self.lease_seconds)
    }
}

/// A lease to renew, with what its handler reports.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeartbeatItemBody {
    lease: String,
    /// The latest progress value: any JSON up to 4 KiB.
    #[schema(value_type = Option<serde_json::Value>)]
    progress: Option<Json>,
    /// Log text to append, lines with their newline; the last 16 KiB of an attempt are kept.
    #[serde(default)]
    #[schema(required = false)]
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
        f.write_str("a lease, or an object with one")
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

/// One answer a lease, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeartbeatView {
    pub(crate) leases: Vec<RenewedView>,
}

/// What became of one lease.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RenewedView {
    /// `ok`, `cancel_requested` (renewed; a user wants the job stopped: settle it as `cancelled`) or `stale` (lost or used:
    /// stop, its job is another's).
    pub(crate) status: &'static str,
    /// The new end, by the database's clock.
    pub(crate) expires_at: Option<DateTime<Utc>>,
}
