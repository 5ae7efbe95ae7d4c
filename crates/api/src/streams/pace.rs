//! How often the process reads for its listeners.

use std::time::Duration;

/// Pause between two reads.
pub(crate) const READ_EVERY: Duration = Duration::from_secs(1);
/// Longest additional pause while the database is unavailable.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);
