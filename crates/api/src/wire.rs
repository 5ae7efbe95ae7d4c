//! The shapes on the wire: serde and documentation, nothing else. A request type refuses unknown fields; a response type may
//! gain fields.

pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod history;
pub(crate) mod job;
pub(crate) mod lease;
pub(crate) mod list;
pub(crate) mod problem;
pub(crate) mod queue;
pub(crate) mod retry;
pub(crate) mod settle;
pub(crate) mod stats;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use serde::{Deserialize, Deserializer};

use crate::extract::Object;

/// Reads an existing RFC 3339 moment between 1970 and 9999, the years that ids and Postgres agree about.
pub(crate) fn moment(text: &str) -> Option<DateTime<Utc>> {
    let moment = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    ((1970..=9999).contains(&moment.year()) && moment.nanosecond() < 1_000_000_000).then_some(moment)
}

/// Reads a field that is there, `null` included, as `Some`.
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Reads structs that must be written as objects; serde alone takes arrays as well.
pub(crate) fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|object| object.0).collect())
}

/// The same for one that may be absent.
pub(crate) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|object| object.0))
}
