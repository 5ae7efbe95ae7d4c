//! Who may call a route: scopes of keys and the access of routes. Owns the terms; does not check a key.

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read jobs, queues and statistics.
    Read,
    /// Submit jobs, and act on single jobs.
    Write,
    /// Act on queues and on many jobs at once.
    Admin,
    /// Lease jobs and settle them.
    Worker,
}

impl Scope {
    /// Every scope.
    pub const ALL: &[Self] = &[Self::Read, Self::Write, Self::Admin, Self::Worker];

    /// The name of the scope in problems and in the API document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Worker => "worker",
        }
    }
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every caller, without a key: probes, metrics, documentation.
    Public,
    /// Callers whose key has this scope.
    Needs(Scope),
}
