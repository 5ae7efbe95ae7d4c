//! Waits for a condition that can only be polled. The time limit is reached only if the test fails.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The first pause between two checks; each pause is twice as long as the one before, up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Calls `check` until it returns `Ok`, and returns the value.
///
/// If `limit` passes, it panics with `what` and the last error.
#[track_caller]
pub fn eventually<T, Seen: Debug>(
    limit: Duration,
    what: &str,
    check: impl AsyncFnMut() -> Result<T, Seen>,
) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    let mut check = check;
    async move {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            match check().await {
                Ok(value) => return value,
                Err(seen) if Instant::now() >= deadline => {
                    panic!("{place}: not within {limit:?}: {what}; last seen: {seen:?}");
                }
                Err(_) => sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
