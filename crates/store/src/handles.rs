//! Handles for administration: `store.queues().pause(…)`. The verbs of the hot path (enqueue, lease, settle, …) are methods of `Store`. Each
//! verb is in its own file; this module only groups them.

use crate::plumbing::connect::Store;

/// What operators do with jobs.
#[derive(Clone, Copy, Debug)]
pub struct Jobs<'a>(pub(crate) &'a Store);

/// What operators see and set on queues.
#[derive(Clone, Copy, Debug)]
pub struct Queues<'a>(pub(crate) &'a Store);

/// What operators see and set on kinds.
#[derive(Clone, Copy, Debug)]
pub struct Kinds<'a>(pub(crate) &'a Store);

/// Schedules: what users set, and what became of their ticks.
#[derive(Clone, Copy, Debug)]
pub struct Schedules<'a>(pub(crate) &'a Store);

/// Routes: what users set.
#[derive(Clone, Copy, Debug)]
pub struct Routes<'a>(pub(crate) &'a Store);

/// API keys: what users set.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeys<'a>(pub(crate) &'a Store);

/// Dead letters: jobs that are `failed`, and what operators do with them.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetters<'a>(pub(crate) &'a Store);

/// The audit log: who changed what.
#[derive(Clone, Copy, Debug)]
pub struct AuditLog<'a>(pub(crate) &'a Store);

/// Periodic maintenance, which the reaper runs.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep<'a>(pub(crate) &'a Store);

impl Store {
    /// Cancel, retry, promote, edit and delete jobs.
    pub const fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }

    /// Read, create, pause, configure and purge queues.
    pub const fn queues(&self) -> Queues<'_> {
        Queues(self)
    }

    /// Read, create, pause and configure kinds.
    pub const fn kinds(&self) -> Kinds<'_> {
        Kinds(self)
    }

    /// Create, read, pause and delete schedules.
    pub const fn schedules(&self) -> Schedules<'_> {
        Schedules(self)
    }

    /// Create, read and delete routes.
    pub const fn routes(&self) -> Routes<'_> {
        Routes(self)
    }

    /// Create, read, change, rotate and revoke API keys.
    pub const fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys(self)
    }

    /// Read, purge, replace and redrive dead letters.
    pub const fn dead_letters(&self) -> DeadLetters<'_> {
        DeadLetters(self)
    }

    /// Read the audit log.
    pub const fn audit_log(&self) -> AuditLog<'_> {
        AuditLog(self)
    }

    /// Retention, vacuum, and stuck sessions.
    pub const fn upkeep(&self) -> Upkeep<'_> {
        Upkeep(self)
    }
}
