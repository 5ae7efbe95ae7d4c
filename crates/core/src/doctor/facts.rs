//! What the rules of the doctor look at, and what they return.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Everything that the rules look at, read at one time.
#[derive(Clone, Debug, Default)]
pub struct HealthFacts {
    /// `server_version_num` of the server, for example 160014.
    pub server_version: u32,
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// How far the clock of the API's host is ahead of the database's, in seconds; `None` if no API was asked.
    pub api_ahead_seconds: Option<f64>,
    /// Why the API did not answer a request, if one was asked.
    pub api_refusal: Option<String>,
    /// Why this build refuses the schema; `None` if it fits.
    pub schema_refusal: Option<String>,
    /// The number of the schema that this build needs.
    pub schema_version: i64,
    /// Whether the server is a standby or the database is set to read-only.
    pub read_only: bool,
    /// Settings of the server, by name.
    pub settings: Vec<ServerSetting>,
    /// Whether this role sees the sessions of other roles.
    pub sees_sessions: bool,
    /// Sessions of all databases, of the role's view.
    pub sessions: u32,
    /// `max_connections`.
    pub max_connections: u32,
    /// Connections that only superusers may use.
    pub reserved_connections: u32,
    /// The transaction that has been open for longest, without the one that reads this.
    pub oldest_transaction: Option<OpenTransaction>,
    /// Age of the oldest prepared transaction.
    pub oldest_prepared: Option<Duration>,
    /// Age of the oldest transaction id of the database, in transactions.
    pub frozen_age: u64,
    /// The tables in which every job inserts and deletes rows.
    pub tables: Vec<TableHealth>,
    /// Indexes of jobqueue that a failed build left invalid.
    pub invalid_indexes: Vec<String>,
    /// Tables of jobqueue that do not belong to the owner of the others.
    pub foreign_tables: Vec<String>,
    /// Connected standbys.
    pub standbys: Vec<StandbyLag>,
    /// Replication slots.
    pub slots: Vec<SlotBacklog>,
    /// The queue's own facts; `None` if the schema does not fit or they cannot be read.
    pub queue: Option<QueueHealth>,
}

/// A setting of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSetting {
    /// Its name in `pg_settings`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A transaction that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// Process id of its session.
    pub pid: i32,
    /// Name of the program.
    pub application: String,
    /// Since when it is open.
    pub age: Duration,
}

/// Sizes and dead rows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableHealth {
    /// Its name, without the schema.
    pub name: String,
    /// Live rows, as estimated by Postgres.
    pub live: u64,
    /// Dead rows, as estimated by Postgres.
    pub dead: u64,
    /// Size of the table.
    pub bytes: u64,
    /// Size of its indexes.
    pub index_bytes: u64,
    /// Whether autovacuum is on for it.
    pub autovacuum: bool,
}

/// How far a standby is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyLag {
    /// Name of the standby.
    pub name: String,
    /// Bytes of the log that it has not replayed; `None` if this role may not see it.
    pub bytes: Option<u64>,
}

/// A replication slot and the log that it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotBacklog {
    /// Name of the slot.
    pub name: String,
    /// Whether a receiver is connected.
    pub active: bool,
    /// Bytes of the log that are kept for it.
    pub bytes: u64,
}

/// Facts about queues and workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueHealth {
    /// Age of the reaper's last count; `None` if it never counted.
    pub census_age: Option<Duration>,
    /// Every queue.
    pub queues: Vec<QueueDemand>,
    /// Live workers.
    pub workers: u64,
    /// Names of workers without a heartbeat for longer than they allow, which did not end properly.
    pub stale_workers: Vec<String>,
}

/// What waits in a queue, and whether it is served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueDemand {
    /// Name of the queue.
    pub name: String,
    /// Jobs that can start.
    pub queued: u64,
    /// How long the oldest of them has waited.
    pub oldest: Option<Duration>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether a live worker leases from it.
    pub served: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It may become a problem.
    Warning,
    /// Jobs are lost, late or do not run, or will be soon.
    Error,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Name of the check; it never changes.
    pub check: &'static str,
    /// What was seen.
    pub seen: String,
    /// What to do; empty if it is as it should be.
    pub advice: String,
}

impl Finding {
    pub(super) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, check, seen: seen.into(), advice: String::new() }
    }

    pub(super) fn warning(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, check, seen: seen.into(), advice: advice.into() }
    }

    pub(super) fn error(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Error, check, seen: seen.into(), advice: advice.into() }
    }
}

/// A duration in the largest unit that has at least two of it.
pub(super) fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}
