//! Waiting for an event that can only be seen by looking. The limit is for broken code; it is not an expectation.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The first pause between two looks; each one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Looks again and again until `look` returns `Ok`, and returns its value.
///
/// When `limit` has passed it panics with `what` and the last thing that was seen instead.
#[track_caller]
pub fn eventually<T, Seen: Debug>(
    limit: Duration,
    what: &str,
    look: impl AsyncFnMut() -> Result<T, Seen>,
) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    let mut look = look;
    async move {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            match look().await {
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
