//! The lease: the right to run and settle one attempt of one job.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::id::JobId;
use crate::limits::MAX_LEASE_JOBS;
use crate::ties::Ties;

/// Length of the encoded lease, in bytes: epoch, token, job id, ordinal, attempt.
const WIRE_BYTES: usize = 8 + 16 + 16 + 1 + 2;

/// Proof that its holder may settle one attempt. The store compares epoch *and* random token. The epoch alone is not
/// enough, because it can be issued twice after an asynchronous failover. The attempt number is not either, because it
/// repeats after a snooze.
///
/// Not `Clone`, because a lease is settled once. Remote workers hold its text form. It does not contain the ties, because
/// a worker could change them.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    epoch: i64,
    token: Uuid,
    job_id: JobId,
    ordinal: u8,
    attempt: u16,
    ties: Ties,
    waited: Option<Duration>,
}

impl Lease {
    /// Creates a lease with unknown ties. Only the store calls this, and decoding. `None` if `ordinal` exceeds the jobs of
    /// one grant.
    pub fn grant(epoch: i64, token: Uuid, job_id: JobId, ordinal: u8, attempt: u16) -> Option<Self> {
        let ties = Ties::UNKNOWN;
        (usize::from(ordinal) < MAX_LEASE_JOBS).then_some(Self {
            epoch,
            token,
            job_id,
            ordinal,
            attempt,
            ties,
            waited: None,
        })
    }

    /// The same lease with these ties of its job.
    #[must_use]
    pub const fn with_ties(self, ties: Ties) -> Self {
        Self { ties, ..self }
    }

    /// The same lease with this wait of its job.
    #[must_use]
    pub const fn with_waited(self, waited: Option<Duration>) -> Self {
        Self { waited, ..self }
    }

    /// A copy, to repeat a settle whose result is unknown. If the first one was committed, the repeated one changes nothing.
    #[must_use]
    pub const fn copy_to_repeat(&self) -> Self {
        Self {
            epoch: self.epoch,
            token: self.token,
            job_id: self.job_id,
            ordinal: self.ordinal,
            attempt: self.attempt,
            ties: self.ties,
            waited: self.waited,
        }
    }

    /// Increases with every grant, so a later lease of the same job has a larger epoch.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Random for every grant.
    pub const fn token(&self) -> Uuid {
        self.token
    }

    /// The job whose attempt this is.
    pub const fn job_id(&self) -> JobId {
        self.job_id
    }

    /// The position of the job in its grant, 0 to 63.
    pub const fn ordinal(&self) -> u8 {
        self.ordinal
    }

    /// Number of the attempt, from 1. For display only; it is not part of the fence.
    pub const fn attempt(&self) -> u16 {
        self.attempt
    }

    /// What the end of the job may free. Set by the store when it reads the job's body.
    pub const fn ties(&self) -> Ties {
        self.ties
    }

    /// How long the job was runnable before this lease, for statistics. Set by the store when it reads the body of a job whose first
    /// attempt this is. `None` if it is not known. Like the ties it is not part of the text.
    pub const fn waited(&self) -> Option<Duration> {
        self.waited
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut wire = Vec::with_capacity(WIRE_BYTES);
        wire.extend(self.epoch.to_be_bytes());
        wire.extend(self.token.as_bytes());
        wire.extend(self.job_id.as_uuid().as_bytes());
        wire.push(self.ordinal);
        wire.extend(self.attempt.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(wire))
    }
}

/// The text is not an encoded lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a lease")]
pub struct NotALease;

impl FromStr for Lease {
    type Err = NotALease;

    fn from_str(text: &str) -> Result<Self, NotALease> {
        let wire = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotALease)?;
        let wire: [u8; WIRE_BYTES] = wire.try_into().map_err(|_| NotALease)?;
        let (epoch, rest) = wire.split_first_chunk::<8>().ok_or(NotALease)?;
        let (token, rest) = rest.split_first_chunk::<16>().ok_or(NotALease)?;
        let (job_id, rest) = rest.split_first_chunk::<16>().ok_or(NotALease)?;
        let [ordinal, high, low] = rest else { return Err(NotALease) };
        Self::grant(
            i64::from_be_bytes(*epoch),
            Uuid::from_bytes(*token),
            JobId::from_uuid(Uuid::from_bytes(*job_id)),
            *ordinal,
            u16::from_be_bytes([*high, *low]),
        )
        .ok_or(NotALease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_round_trips_and_rejects_the_rest() {
        let lease = Lease::grant(7, Uuid::from_u128(42), JobId::from_ticks(9, 9), 63, 3).unwrap();
        let text = lease.to_string();
        assert_eq!(text.parse::<Lease>().unwrap(), lease);
        assert_eq!(lease.with_ties(Ties::NONE).to_string(), text, "ties are not part of the text");
        assert!(text[1..].parse::<Lease>().is_err());
        assert!("".parse::<Lease>().is_err());
        assert!(Lease::grant(7, Uuid::nil(), JobId::from_ticks(9, 9), 64, 3).is_none());
    }
}
