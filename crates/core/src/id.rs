//! Identifiers. A job's id is a UUIDv7: its first 48 bits are the moment of submission by the database's clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identifies one job for ever. Ordered by submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

/// Identifies one run of one worker process; a restarted process is another worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(Uuid);

impl JobId {
    /// Wraps an id that the store made or read.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// A job id from its two meaningful parts: the moment of submission and random bits.
    ///
    /// `ticks` counts 1/4096 ms since the Unix epoch (RFC 9562, section 6.2, method 3), of which 60 bits are kept.
    pub fn from_ticks(ticks: u64, random: u64) -> Self {
        let millis = u128::from((ticks >> 12) & 0xFFFF_FFFF_FFFF);
        let fraction = u128::from(ticks & 0xFFF);
        let tail = u128::from(random & 0x3FFF_FFFF_FFFF_FFFF);
        Self(Uuid::from_u128((millis << 80) | (0x7 << 76) | (fraction << 64) | (0x2 << 62) | tail))
    }

    /// The smallest id of a moment, in its millisecond; what is before 1970 counts as 1970.
    pub fn floor(at: DateTime<Utc>) -> Self {
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
        Self(Uuid::from_u128(u128::from(millis) << 80))
    }

    /// The smallest id of the moment `span` before this one was made.
    #[must_use]
    pub fn earlier(self, span: Duration) -> Self {
        let span = span.as_millis();
        Self(Uuid::from_u128((self.0.as_u128() >> 80).saturating_sub(span) << 80))
    }

    /// The bare UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// When the job was submitted, by the database's clock; millisecond precision. `None` if the id is not a UUIDv7.
    pub fn created_at(self) -> Option<DateTime<Utc>> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    }
}

impl WorkerId {
    /// Wraps an id that a worker made at its start.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The bare UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = uuid::Error;

    /// Accepts the hyphenated form alone, so that one job has one address.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<uuid::fmt::Hyphenated>().map(|id| Self(id.into_uuid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_order_by_ticks_and_tell_their_moment() {
        let ticks = 1_790_000_000_123_u64 << 12 | 0x7FF;
        let (early, late) = (JobId::from_ticks(ticks, u64::MAX), JobId::from_ticks(ticks + 1, 0));
        assert!(early < late);
        assert_eq!(early.as_uuid().get_version_num(), 7);
        assert_eq!(early.created_at().unwrap().timestamp_millis(), 1_790_000_000_123);
    }

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let id = JobId::from_ticks(1 << 40, 7);
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        assert!(id.as_uuid().simple().to_string().parse::<JobId>().is_err());
        assert!("nonsense".parse::<JobId>().is_err());
    }
}
