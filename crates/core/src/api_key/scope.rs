//! Scopes of keys. Each route of the API needs one.

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read jobs, queues and statistics.
    Read,
    /// Submit jobs, and act on single jobs.
    Write,
    /// Act on queues and on many jobs at once, and manage keys.
    Admin,
    /// Lease jobs and settle them.
    Worker,
}

impl Scope {
    /// Every scope.
    pub const ALL: &[Self] = &[Self::Read, Self::Write, Self::Admin, Self::Worker];

    /// The name of the scope in requests, in problems and in the API document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Worker => "worker",
        }
    }

    /// The scope with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scope| scope.as_str() == name)
    }
}
