//! Waits for a change of what a command shows: for an event of the API, or, where the API has no stream, for the next time to ask.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Client, Events, ServerEvent};

/// Longest time without a new read, so that values that are no part of events do not become old.
const READ_AT_LEAST_EVERY: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Changes<'a>(Option<Events<'a>>);

impl<'a> Changes<'a> {
    /// Changes that the stream at `path` reports; without a path there is none.
    pub(crate) fn of(client: &'a Client, path: Option<&[&str]>) -> Self {
        Self(path.map(|path| client.events(path, None)))
    }

    /// Waits for an event, then for the rest of `interval`, so that changes that come together are read once.
    pub(crate) async fn wait(&mut self, interval: Duration) {
        let earliest = Instant::now() + interval;
        if self.next(READ_AT_LEAST_EVERY.max(interval), interval).await.is_some() {
            while Instant::now() < earliest {
                let left = earliest.saturating_duration_since(Instant::now());
                self.next(left, left).await;
            }
        }
    }

    /// The next event. `None` after `longest`, or after `pause` if there is no stream.
    pub(crate) async fn next(&mut self, longest: Duration, pause: Duration) -> Option<ServerEvent> {
        let deadline = Instant::now() + longest;
        if let Some(events) = &mut self.0 {
            match timeout_at(deadline, events.next()).await {
                Ok(Ok(Some(event))) if event.name != "end" => return Some(event),
                Ok(Ok(Some(end))) => {
                    self.0 = None;
                    return Some(end);
                }
                Err(_late) => return None,
                // the API has no stream of this, or no place for one more listener
                Ok(Ok(None) | Err(_)) => self.0 = None,
            }
        }
        sleep(pause.min(longest)).await;
        None
    }
}
