//! What a key grants: scopes, patterns for queues and kinds, what it hides, and its rate.

use super::{Hide, Scope};
use crate::name::{KindName, QueueName};
use crate::route::Glob;

/// What the holder of a key may do, and with which queues and kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The routes that it may call. A scope includes no other.
    pub scopes: Vec<Scope>,
    /// Patterns for queues. A queue must match one of them.
    pub queues: Vec<Glob>,
    /// Patterns for kinds. A kind must match one of them.
    pub kinds: Vec<Glob>,
    /// What responses do not show.
    pub hide: Hide,
    /// Most requests; `None`: no limit.
    pub rate: Option<Rate>,
}

/// A number of requests in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Number of requests, at least 1.
    pub requests: u32,
    /// Length of the period in seconds, at least 1.
    pub per_seconds: u32,
}

impl Rate {
    /// Whether the other rate allows no more, neither at once nor over time.
    pub fn covers(self, other: Self) -> bool {
        let per_second = |a: Self, b: Self| u64::from(a.requests) * u64::from(b.per_seconds);
        other.requests <= self.requests && per_second(other, self) <= per_second(self, other)
    }
}

impl Grant {
    /// Everything: the grant of the root key.
    pub fn everything() -> Self {
        Self {
            scopes: Scope::ALL.to_vec(),
            queues: vec![Glob::everything()],
            kinds: vec![Glob::everything()],
            hide: Hide::default(),
            rate: None,
        }
    }

    /// Whether routes of this scope may be called.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the grant includes this queue.
    pub fn has_queue(&self, queue: &QueueName) -> bool {
        matches_one(&self.queues, queue.as_str())
    }

    /// Whether the grant includes this kind.
    pub fn has_kind(&self, kind: &KindName) -> bool {
        matches_one(&self.kinds, kind.as_str())
    }

    /// Whether the grant includes every queue.
    pub fn has_all_queues(&self) -> bool {
        self.queues.iter().any(Glob::is_everything)
    }

    /// Whether the grant includes every kind.
    pub fn has_all_kinds(&self) -> bool {
        self.kinds.iter().any(Glob::is_everything)
    }

    /// Whether the grant includes all queues and kinds.
    pub fn has_everything(&self) -> bool {
        self.has_all_queues() && self.has_all_kinds()
    }

    /// Whether the grant includes everything that `other` grants, and hides no more than it.
    pub fn covers(&self, other: &Self) -> bool {
        let below = |ours: &[Glob], theirs: &[Glob]| {
            theirs.iter().all(|their| ours.iter().any(|our| our.covers(their)))
        };
        other.scopes.iter().all(|scope| self.has(*scope))
            && below(&self.queues, &other.queues)
            && below(&self.kinds, &other.kinds)
            && other.hide.covers(&self.hide)
            && self.rate.is_none_or(|rate| other.rate.is_some_and(|other| rate.covers(other)))
    }
}

fn matches_one(globs: &[Glob], name: &str) -> bool {
    globs.iter().any(|glob| glob.is_everything() || glob.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(texts: &[&str]) -> Vec<Glob> {
        texts.iter().map(|text| Glob::try_from((*text).to_owned()).unwrap()).collect()
    }

    fn grant(scopes: &[Scope], queues: &[&str], kinds: &[&str]) -> Grant {
        Grant { scopes: scopes.to_vec(), queues: globs(queues), kinds: globs(kinds), ..Grant::everything() }
    }

    #[test]
    fn a_grant_covers_only_what_it_grants() {
        let team = grant(&[Scope::Read, Scope::Admin], &["mail", "mail-*"], &["*"]);
        for (less, expected) in [
            (grant(&[Scope::Read], &["mail-eu"], &["a.*"]), true),
            (grant(&[Scope::Read], &["mail-?u", "mail"], &["*"]), true),
            (grant(&[Scope::Read], &["mail*"], &["*"]), false),
            (grant(&[Scope::Read], &["mail-eu", "other"], &["*"]), false),
            (grant(&[Scope::Write], &["mail"], &["*"]), false),
            (team.clone(), true),
            (Grant::everything(), false),
        ] {
            assert_eq!(team.covers(&less), expected, "{less:?}");
            assert!(Grant::everything().covers(&less));
        }
        let by_kind = grant(&[Scope::Read], &["*"], &["a.?"]);
        assert!(!by_kind.covers(&grant(&[Scope::Read], &["*"], &["a.*"])));
        let slow = Grant { rate: Some(Rate { requests: 10, per_seconds: 60 }), ..Grant::everything() };
        for (requests, per_seconds, expected) in
            [(10, 60, true), (5, 30, true), (5, 20, false), (20, 600, false)]
        {
            let other = Grant { rate: Some(Rate { requests, per_seconds }), ..Grant::everything() };
            assert_eq!(slow.covers(&other), expected, "{requests} per {per_seconds} s");
        }
        assert!(!slow.covers(&Grant::everything()));
        let blind = Grant { hide: Hide::parse(&["payload".to_owned()]).unwrap(), ..Grant::everything() };
        assert!(Grant::everything().covers(&blind) && !blind.covers(&Grant::everything()));
    }
}
