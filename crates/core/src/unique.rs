//! Uniqueness: at most one job for a key while it is in one of the listed statuses.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::name::{KindName, QueueName};
use crate::status::Status;

/// Inside which jobs the key counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UniqueScope {
    /// Jobs of the same kind, in any queue.
    #[default]
    Kind,
    /// Jobs of the same queue, of any kind.
    Queue,
    /// All jobs.
    Global,
}

/// What a submission does that finds its key taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Answers with the job that holds the key.
    #[default]
    Return,
    /// Cancels the holder if it still waits and takes its place; if it is running already, behaves like `return`.
    Replace,
    /// Refused with a conflict.
    Reject,
}

/// A checked wish for uniqueness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// The user's key.
    pub key: String,
    /// Inside which jobs it counts.
    pub scope: UniqueScope,
    /// Final statuses in which the holder keeps the key until it is pruned. The live ones always keep it.
    pub also_final: Vec<Status>,
    /// What a conflict does.
    pub on_conflict: OnConflict,
}

impl Unique {
    /// The identity of the key inside its scope: the first 128 bits of a SHA-256.
    pub fn digest(&self, queue: &QueueName, kind: &KindName) -> Uuid {
        let (scope, within) = match self.scope {
            UniqueScope::Kind => ("kind", kind.as_str()),
            UniqueScope::Queue => ("queue", queue.as_str()),
            UniqueScope::Global => ("global", ""),
        };
        digest(&[scope, within, &self.key])
    }

    /// Whether the holder gives the key free when it reaches `status`.
    pub fn freed_by(&self, status: Status) -> bool {
        status.is_final() && !self.also_final.contains(&status)
    }
}

/// The first 128 bits of a SHA-256 over the parts; no two lists of parts collide by concatenation.
pub fn digest(parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.first_chunk::<16>().map_or(Uuid::nil(), |half| Uuid::from_bytes(*half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_meet_only_inside_their_scope() {
        let unique =
            |scope| Unique { key: "k".into(), scope, also_final: vec![], on_conflict: OnConflict::Return };
        let (a, b): (QueueName, QueueName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (x, y): (KindName, KindName) = ("x".parse().unwrap(), "y".parse().unwrap());
        let by = |scope, q: &QueueName, k: &KindName| unique(scope).digest(q, k);
        assert_eq!(by(UniqueScope::Kind, &a, &x), by(UniqueScope::Kind, &b, &x));
        assert_ne!(by(UniqueScope::Kind, &a, &x), by(UniqueScope::Kind, &a, &y));
        assert_eq!(by(UniqueScope::Queue, &a, &x), by(UniqueScope::Queue, &a, &y));
        assert_eq!(by(UniqueScope::Global, &a, &x), by(UniqueScope::Global, &b, &y));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
