//! Why a private server could not be run, in sentences a person can act on. It decides nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A private server could not be prepared, started, asked or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The operating system refused a step; `what` names the step and the path.
    #[error("{what}: {source}")]
    Io {
        /// The step, with its path.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// This process is root, Postgres refuses root, and no account was found to run it as.
    #[error(
        "Postgres refuses to run as root and /etc/passwd has neither `postgres` nor `nobody` to run it as"
    )]
    NoAccount,
    /// The account that must run the server cannot enter a directory on the way to its data.
    #[error(
        "account `{account}` cannot enter {directory}, which leads to the server's files: choose a data directory outside of it"
    )]
    Unreachable {
        /// The first directory that stops the account.
        directory: PathBuf,
        /// The account's name.
        account: String,
    },
    /// The data directory was made by another major version.
    #[error(
        "{data_dir} was made by Postgres {made_by}, the server found is {found}: set JOBQUEUE_PG_BIN to a {made_by} server, or remove the directory to start afresh"
    )]
    OtherMajor {
        /// The data directory.
        data_dir: PathBuf,
        /// The major version in its `PG_VERSION`.
        made_by: String,
        /// The major version of the binaries at hand.
        found: u32,
    },
    /// `initdb` failed; its last words follow.
    #[error("initdb failed: {output}")]
    Initdb {
        /// The last lines of its output.
        output: String,
    },
    /// The server ended before it was ready; its last words follow.
    #[error("the Postgres server ended while starting; the end of {log}:\n{tail}")]
    Exited {
        /// The server's log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The server neither got ready, nor ended, in time.
    #[error("the Postgres server was not {state} within {} s; see {log}", limit.as_secs())]
    Timeout {
        /// What was waited for: `ready` or `stopped`.
        state: &'static str,
        /// How long was waited.
        limit: Duration,
        /// The server's log file.
        log: PathBuf,
    },
    /// A database name that is not a plain lower-case identifier.
    #[error("`{0}` is not a plain database name: use a-z, 0-9 and _, at most 63 characters")]
    BadName(String),
    /// The server answered a statement with an error.
    #[error("the Postgres server refused: {message} ({code})")]
    Refused {
        /// SQLSTATE.
        code: String,
        /// The server's message.
        message: String,
    },
}

impl ServerError {
    /// Names the step and its path in front of the system's reason.
    pub(crate) fn io(step: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{step} {}", path.display());
        move |source| Self::Io { what, source }
    }
}
