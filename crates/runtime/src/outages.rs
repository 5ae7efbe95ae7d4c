//! Logs failures of a dependency of the process: one line per cause and minute, however often it fails. Owns
//! the lines and their counts; does not decide how to handle a failure.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::shutdown::Shutdown;

/// The shortest time between two lines about the same cause.
const ONCE_PER: Duration = Duration::from_mins(1);
/// How often to check for counts whose cause has stopped.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The log of failures of one process. Causes are words of a small set, so it stays small.
#[derive(Debug, Default)]
pub struct OutageLog(Mutex<BTreeMap<&'static str, Seen>>);

#[derive(Debug)]
struct Seen {
    line_at: Instant,
    /// The number of failures since that line.
    repeats: u64,
}

impl OutageLog {
    /// Records a failure: `during` is what was tried, `cause` is a word for the reason, `error` has the
    /// details and no secret. Logs at most one line per cause and minute; its field `repeats` counts the
    /// failures since the last line.
    pub fn failed(&self, during: &str, cause: &'static str, error: &dyn Display) {
        if let Some(repeats) = self.count(cause) {
            tracing::error!(cause, during, %error, repeats, "the database cannot be used");
        }
    }

    /// Logs the counts of causes that have stopped, until the soft shutdown. The caller owns the task.
    pub async fn run(&self, shutdown: &Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.soft().cancelled() => return,
                () = tokio::time::sleep(CHECK_EVERY) => {}
            }
            for (cause, repeats) in self.overdue() {
                tracing::error!(cause, repeats, "the database could not be used");
            }
        }
    }

    /// Counts a failure. Returns the number of repeats since the last line if a new line is due.
    fn count(&self, cause: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut seen = self.lock();
        let Some(known) = seen.get_mut(cause) else {
            seen.insert(cause, Seen { line_at: now, repeats: 0 });
            return Some(0);
        };
        if now - known.line_at < ONCE_PER {
            known.repeats += 1;
            return None;
        }
        known.line_at = now;
        Some(std::mem::take(&mut known.repeats))
    }

    /// Removes and returns the counts that are a minute old, and drops causes without failures since then.
    fn overdue(&self) -> Vec<(&'static str, u64)> {
        let now = Instant::now();
        let mut counts = Vec::new();
        self.lock().retain(|cause, seen| {
            let is_old = now - seen.line_at >= ONCE_PER;
            if is_old && seen.repeats > 0 {
                counts.push((*cause, std::mem::take(&mut seen.repeats)));
                seen.line_at = now;
                return true;
            }
            !is_old
        });
        counts
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cause_has_one_line_a_minute_with_the_number_of_repeats() {
        let log = OutageLog::default();
        assert_eq!(log.count("password"), Some(0));
        assert_eq!(log.count("disk_full"), Some(0), "another cause has its own line");
        for _ in 0..1000 {
            assert_eq!(log.count("password"), None);
        }
        tokio::time::advance(ONCE_PER).await;
        assert_eq!(log.count("password"), Some(1000));
        assert_eq!(log.count("password"), None);
        assert_eq!(log.overdue(), []);
        tokio::time::advance(ONCE_PER).await;
        assert_eq!(
            log.overdue(),
            [("password", 1)],
            "the last count is logged although nothing fails any more"
        );
        tokio::time::advance(ONCE_PER).await;
        assert_eq!(log.overdue(), []);
        assert_eq!(log.count("password"), Some(0));
    }
}
