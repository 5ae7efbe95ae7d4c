//! Wire types: the JSON of requests and responses, with their documentation. A request type refuses unknown fields. A response
//! type may get new fields.

pub(crate) mod api_key;
pub(crate) mod audit;
pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod dead_letter;
pub(crate) mod edit;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod job;
pub(crate) mod kind;
pub(crate) mod lease;
pub(crate) mod list;
pub(crate) mod name;
pub(crate) mod patch;
pub(crate) mod problem;
pub(crate) mod queue;
pub(crate) mod redrive;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod schedule;
pub(crate) mod session;
pub(crate) mod settle;
pub(crate) mod statistics;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod tick;
pub(crate) mod worker;
pub(crate) mod worker_command;
pub(crate) mod worker_report;

use serde::{Deserialize, Deserializer};

/// Reads a field that is there, `null` included, as `Some`.
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
