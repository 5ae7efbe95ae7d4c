//! What all statements need: the URL, connections, errors, cached names and ids, wake-ups, and where a lease starts to scan.

pub(crate) mod acquire;
pub(crate) mod actor;
pub(crate) mod batches;
pub(crate) mod catalog;
pub(crate) mod cause;
pub(crate) mod clock;
pub(crate) mod columns;
pub(crate) mod connect;
pub(crate) mod error;
pub(crate) mod last_cause;
pub(crate) mod limited;
pub(crate) mod low_water;
pub(crate) mod names;
pub(crate) mod pooler;
pub(crate) mod queue_gates;
pub(crate) mod retry_on_conflict;
pub(crate) mod route_cache;
pub(crate) mod sessions;
pub(crate) mod time_limits;
pub(crate) mod url;
pub(crate) mod url_file;
pub(crate) mod wakeup;
