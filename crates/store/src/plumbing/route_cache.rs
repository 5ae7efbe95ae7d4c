//! The routes that a process keeps in memory, so that a submission costs no statement for them. `readers::route_table` fills it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jobqueue_core::RouteTable;
use tokio::sync::Mutex;

use crate::plumbing::cause::Cause;

/// How long the routes in memory are used without a check.
const TRUSTED_FOR: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    kept: RwLock<Kept>,
    /// Held by the one submission that reads for all that wait, with the time and the cause of the last failure.
    pub(crate) reading: Mutex<Option<(Instant, Cause)>>,
}

#[derive(Debug, Default)]
struct Kept {
    cached: Option<Cached>,
    /// What a check found that began earlier is not kept.
    not_before: Option<Instant>,
}

/// The routes, as a check found them.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    /// Counts the changes of routes.
    pub(crate) version: i64,
    /// A time before the statement of the last check was sent: what was committed before it is known.
    pub(crate) checked_at: Instant,
    pub(crate) table: Arc<RouteTable>,
}

impl RouteCache {
    /// What the last check found.
    pub(crate) fn last(&self) -> Option<Cached> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).cached.clone()
    }

    /// The routes, if they were checked recently.
    pub(crate) fn recent(&self) -> Option<Arc<RouteTable>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let recent = kept.cached.as_ref().filter(|cached| cached.checked_at.elapsed() < TRUSTED_FOR);
        recent.map(|cached| cached.table.clone())
    }

    /// Removes the routes, also those of a check that runs now, so that the next submission reads them.
    pub(crate) fn clear(&self) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        *kept = Kept { cached: None, not_before: Some(Instant::now()) };
    }

    /// Keeps what a check found, unless another check that began later has ended already. The version alone does not say which is newer,
    /// because a failover may set it back.
    pub(crate) fn keep(&self, found: Cached) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.not_before.is_none_or(|earliest| earliest <= found.checked_at) {
            *kept = Kept { not_before: Some(found.checked_at), cached: Some(found) };
        }
    }
}
