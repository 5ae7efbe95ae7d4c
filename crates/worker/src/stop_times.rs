//! How long the steps of a shutdown may take. The parts of the worker keep to these limits, and the settings are
//! checked against their sum. Owns no clock.

use std::time::Duration;

/// How long stopping and releasing jobs may take after the grace period.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(6);
/// The same limit after a second signal.
pub(crate) const FORCED_WITHIN: Duration = Duration::from_secs(4);
/// How long unregistering the worker may take.
pub(crate) const UNREGISTER_LIMIT: Duration = Duration::from_secs(2);
/// How long the worker waits at the end for handlers that cannot be stopped.
pub(crate) const ABANDON_AFTER: Duration = Duration::from_millis(500);
/// The longest time that the shutdown takes after the grace period: handlers are stopped and their jobs
/// released, the worker is unregistered, and handlers that cannot be stopped are abandoned.
pub(crate) const AFTER_GRACE: Duration =
    STOP_WITHIN.saturating_add(UNREGISTER_LIMIT).saturating_add(ABANDON_AFTER);
