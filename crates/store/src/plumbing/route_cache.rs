//! The routes that a process keeps in memory, so that a submission costs no statement for them. `readers::route_table` fills it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jobqueue_core::RouteTable;

/// How long the routes in memory are used without a check.
const TRUSTED_FOR: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RouteCache(RwLock<Option<Cached>>);

/// The routes, as a check found them.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    /// Counts the changes of routes.
    pub(crate) version: i64,
    /// When the statement of the last check was sent.
    pub(crate) checked_at: Instant,
    pub(crate) table: Arc<RouteTable>,
}

impl RouteCache {
    /// What the last check found.
    pub(crate) fn last(&self) -> Option<Cached> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The routes, if they were checked recently.
    pub(crate) fn recent(&self) -> Option<Arc<RouteTable>> {
        let cached = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let recent = cached.as_ref().filter(|cached| cached.checked_at.elapsed() < TRUSTED_FOR);
        recent.map(|cached| cached.table.clone())
    }

    /// Keeps what a check found. Of two checks at the same time, the one that began later knows more.
    pub(crate) fn keep(&self, found: Cached) {
        let mut cached = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if cached.as_ref().is_none_or(|cached| cached.checked_at <= found.checked_at) {
            *cached = Some(found);
        }
    }
}
