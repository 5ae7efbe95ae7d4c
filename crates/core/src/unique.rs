//! Unique keys: at most one job holds a key at a time, while the job is in one of the listed statuses.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::name::{KindName, QueueName};
use crate::status::Status;

/// The set of jobs in which a key must be unique.
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

/// What happens to a submission if another job holds its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// It is answered with the job that holds the key.
    #[default]
    Return,
    /// It replaces the holder, which is cancelled if it has not started. If the holder runs, it behaves like `return`.
    Replace,
    /// It is refused with a conflict.
    Reject,
}

/// The checked unique key of a new job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// The key that the submitter sent.
    pub key: String,
    /// The set of jobs in which the key must be unique.
    pub scope: UniqueScope,
    /// Final statuses in which the job holds the key until it is pruned. In other statuses it always holds the key.
    pub also_final: Vec<Status>,
    /// What happens if another job holds the key.
    pub on_conflict: OnConflict,
}

impl UniqueScope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Kind, Self::Queue, Self::Global];

    /// Identifies a key in this scope: the first 128 bits of a SHA-256.
    pub fn digest(self, queue: &QueueName, kind: &KindName, key: &str) -> Uuid {
        let (scope, within) = match self {
            Self::Kind => ("kind", kind.as_str()),
            Self::Queue => ("queue", queue.as_str()),
            Self::Global => ("global", ""),
        };
        digest(&[scope, within, key])
    }
}

/// The digest of a stored key after its job moved to another queue. A job stores its digest and not its scope, so the scope is found by the digest.
pub fn moved_digest(stored: Uuid, key: &str, kind: &KindName, from: &QueueName, to: &QueueName) -> Uuid {
    let scope = UniqueScope::ALL.into_iter().find(|scope| scope.digest(from, kind, key) == stored);
    scope.map_or(stored, |scope| scope.digest(to, kind, key))
}

impl Unique {
    /// Identifies the key and its scope: the first 128 bits of a SHA-256.
    pub fn digest(&self, queue: &QueueName, kind: &KindName) -> Uuid {
        self.scope.digest(queue, kind, &self.key)
    }

    /// Whether the holder frees the key when it reaches `status`.
    pub fn freed_by(&self, status: Status) -> bool {
        status.is_final() && !self.also_final.contains(&status)
    }
}

/// The first 128 bits of a SHA-256 over the parts. Each part is preceded by its length, so `["ab", "c"]` and
/// `["a", "bc"]` differ.
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
    fn equal_keys_collide_only_inside_their_scope() {
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
        for scope in UniqueScope::ALL {
            assert_eq!(moved_digest(by(scope, &a, &x), "k", &x, &a, &b), by(scope, &b, &x), "{scope:?}");
        }
    }
}
