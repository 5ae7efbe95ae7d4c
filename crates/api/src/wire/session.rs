//! The session of the dashboard.

use serde::{Deserialize, Serialize};

use crate::extract::Wire;

/// A key to sign in with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionBody {
    /// The key.
    pub(crate) key: String,
}

impl Wire for SessionBody {
    const MAX_BYTES: usize = 8 * 1024;
}

impl std::fmt::Debug for SessionBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionBody").finish_non_exhaustive()
    }
}

/// What the page may do.
#[derive(Debug, Serialize)]
pub(crate) struct SessionView {
    /// Whether requests of this browser have a valid key, or need none.
    pub(crate) authenticated: bool,
    /// Whether a key is needed.
    pub(crate) key_required: bool,
    /// Name of the key.
    pub(crate) name: Option<String>,
    /// Scopes of the key.
    pub(crate) scopes: Vec<&'static str>,
    /// Whether the key includes only some queues or kinds. Then it does not see workers that also lease from other queues.
    pub(crate) limited: bool,
    /// URL of a trace, with `{trace_id}` in place of its id.
    pub(crate) trace_url: Option<String>,
    /// Version of the API.
    pub(crate) version: &'static str,
}
