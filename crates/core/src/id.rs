//! Identifiers. A job's id is a UUIDv7: its first 48 bits are the time of submission by the database's clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::name::WorkerName;

/// The id of one job. It never changes, is never reused, and sorts by time of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

/// The id of a worker. A process that is connected to the database creates a new one at each start. The id of a remote worker follows
/// from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(Uuid);

impl JobId {
    /// Wraps a UUID that the store created or read.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// A job id from the time of submission and random bits.
    ///
    /// `ticks` counts units of 1/4096 ms since the Unix epoch (RFC 9562, section 6.2, method 3). Only its lower 60 bits
    /// are used.
    pub fn from_ticks(ticks: u64, random: u64) -> Self {
        let millis = u128::from((ticks >> 12) & 0xFFFF_FFFF_FFFF);
        let fraction = u128::from(ticks & 0xFFF);
        let tail = u128::from(random & 0x3FFF_FFFF_FFFF_FFFF);
        Self(Uuid::from_u128((millis << 80) | (0x7 << 76) | (fraction << 64) | (0x2 << 62) | tail))
    }

    /// The smallest possible id of the millisecond of `at`. A time before 1970 counts as 1970.
    pub fn floor(at: DateTime<Utc>) -> Self {
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
        Self(Uuid::from_u128(u128::from(millis) << 80))
    }

    /// The smallest possible id of the millisecond `duration` before this id was created.
    #[must_use]
    pub fn earlier(self, duration: Duration) -> Self {
        let millis = duration.as_millis();
        Self(Uuid::from_u128((self.0.as_u128() >> 80).saturating_sub(millis) << 80))
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
    /// Wraps a UUID that a worker created when it started.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The id of the remote worker of this name, the same in every process.
    pub fn of_remote(name: &WorkerName) -> Self {
        let hash = Sha256::new().chain_update(b"jobqueue.worker\0").chain_update(name.as_str()).finalize();
        let bytes = hash.first_chunk::<16>().copied().unwrap_or_default();
        Self(Builder::from_custom_bytes(bytes).into_uuid())
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

    /// Accepts only the hyphenated form, so that each job has one URL.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<uuid::fmt::Hyphenated>().map(|id| Self(id.into_uuid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_ticks_and_contain_their_time() {
        let ticks = 1_790_000_000_123_u64 << 12 | 0x7FF;
        let (early, late) = (JobId::from_ticks(ticks, u64::MAX), JobId::from_ticks(ticks + 1, 0));
        assert!(early < late);
        assert_eq!(early.as_uuid().get_version_num(), 7);
        assert_eq!(early.created_at().unwrap().timestamp_millis(), 1_790_000_000_123);
    }

    #[test]
    fn a_name_of_a_remote_worker_has_one_id() {
        let id = |name: &str| WorkerId::of_remote(&name.parse().unwrap());
        assert_eq!(id("a").to_string(), id("a").to_string());
        assert_ne!(id("a"), id("b"));
        assert_eq!(id("a").as_uuid().get_version_num(), 8);
    }

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let id = JobId::from_ticks(1 << 40, 7);
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        assert!(id.as_uuid().simple().to_string().parse::<JobId>().is_err());
        assert!("nonsense".parse::<JobId>().is_err());
    }
}
