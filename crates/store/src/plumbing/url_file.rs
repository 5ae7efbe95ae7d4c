//! A file with the connection URL. Its password may change while the process runs, for example when a secret is rotated. Keeps the
//! last content; never closes a connection.

use std::fmt;
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;

use crate::plumbing::url::{DatabaseUrl, connect_options};

/// The file is read at most this often while connections succeed.
const INTERVAL: Duration = Duration::from_secs(1);

/// The file and its last content.
pub(crate) struct UrlFile {
    url: DatabaseUrl,
    last: Mutex<Last>,
}

struct Last {
    text: String,
    read_at: Instant,
}

impl fmt::Debug for UrlFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl UrlFile {
    /// A file whose content is `text` now.
    pub(crate) fn new(url: DatabaseUrl, text: String) -> Self {
        Self { url, last: Mutex::new(Last { text, read_at: Instant::now() }) }
    }

    /// The same file for another pool, which uses the same content now.
    pub(crate) fn for_pool(&self) -> Self {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Self::new(self.url.clone(), last.text.clone())
    }

    /// The new options, if the file has changed since it was last read. Reads the file at most once a second, or at once if the
    /// server has just refused a connection. If the new content is not usable, that is logged and the old content stays in use.
    pub(crate) fn changed(&self, was_refused: bool) -> Option<PgConnectOptions> {
        let mut last = match self.last.try_lock() {
            Ok(last) => last,
            // another call reads it
            Err(TryLockError::WouldBlock) => return None,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        if !was_refused && last.read_at.elapsed() < INTERVAL {
            return None;
        }
        last.read_at = Instant::now();
        let text = match self.url.read() {
            Ok(text) if text == last.text => return None,
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(%error, "DATABASE_URL_FILE cannot be read again; its last content stays in use");
                return None;
            }
        };
        let options = connect_options(&text);
        last.text = text;
        match options {
            Ok(options) => {
                tracing::info!("DATABASE_URL_FILE has changed; new connections use its new content");
                Some(options)
            }
            Err(error) => {
                tracing::error!(%error, "DATABASE_URL_FILE has changed to a URL that is not usable; the old one stays in use");
                None
            }
        }
    }
}
