//! The clock of a test. Sets the session setting that `jobqueue.now()` adds to `now()`, and changes no other
//! clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::PgConnection;

/// A clock that is ahead of the real time by a duration that only the test changes. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_us: Arc<AtomicU64>,
}

impl Clock {
    /// A clock that shows the real time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the time forward for every connection that is acquired from a pool with this clock after this
    /// call.
    pub fn advance(&self, by: Duration) {
        let by_us = u64::try_from(by.as_micros()).expect("a test does not last 500,000 years");
        self.ahead_us.fetch_add(by_us, Ordering::SeqCst);
    }

    /// How far ahead of the real time the clock is.
    pub fn ahead(&self) -> Duration {
        Duration::from_micros(self.ahead_us.load(Ordering::SeqCst))
    }

    /// Moves one session to the time of this clock.
    pub async fn apply(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let offset = format!("{} microseconds", self.ahead_us.load(Ordering::SeqCst));
        sqlx::query("select set_config('jobqueue.clock_offset', $1, false)")
            .bind(offset)
            .execute(connection)
            .await
            .map(|_| ())
    }
}
