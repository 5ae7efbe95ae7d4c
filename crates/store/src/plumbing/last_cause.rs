//! The cause of the last connection timeout, which many calls share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::plumbing::cause::Cause;

/// How long a cause is reused, because many calls time out at the same time.
const REUSED_FOR: Duration = Duration::from_secs(1);

/// The last known cause of a connection timeout.
#[derive(Debug, Default)]
pub(crate) struct LastCause(Mutex<Option<(Instant, Cause)>>);

impl LastCause {
    /// The cause, if it is recent enough to be used again.
    pub(crate) fn recent(&self) -> Option<Cause> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < REUSED_FOR).map(|(_, cause)| cause.clone())
    }

    pub(crate) fn set(&self, cause: Cause) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), cause));
    }
}
