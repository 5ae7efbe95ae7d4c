//! The errors of a private server, as sentences that say what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A private server could not be prepared, started, queried or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A system call failed; `what` names the step and the path.
    #[error("{what}: {source}")]
    Io {
        /// The step, with its path.
        what: String,
        /// The error of the system.
        source: io::Error,
    },
    /// This process is root, Postgres refuses to run as root, and no other account was found.
    #[error(
        "Postgres refuses to run as root and /etc/passwd has neither `postgres` nor `nobody` to run it as"
    )]
    NoAccount,
    /// The account that must run the server cannot enter a directory in the path of its data.
    #[error(
        "account `{account}` cannot enter {directory}, which leads to the server's files: choose a data directory outside of it"
    )]
    Unreachable {
        /// The first directory that the account cannot enter.
        directory: PathBuf,
        /// The account's name.
        account: String,
    },
    /// The data directory was created by another major version.
    #[error(
        "{data_dir} was made by Postgres {made_by}, the server found is {found}: set JOBQUEUE_PG_BIN to a {made_by} server, or remove the directory to start afresh"
    )]
    OtherMajor {
        /// The data directory.
        data_dir: PathBuf,
        /// The major version in its `PG_VERSION`.
        made_by: String,
        /// The major version of the binaries.
        found: u32,
    },
    /// `initdb` failed; the end of its output follows.
    #[error("initdb failed: {output}")]
    Initdb {
        /// The last lines of its output.
        output: String,
    },
    /// The server ended before it was ready; the end of its log follows.
    #[error("the Postgres server ended while starting; the end of {log}:\n{tail}")]
    Exited {
        /// The server's log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The server did not become ready, or did not end, in time.
    #[error("the Postgres server was not {state} within {} s; see {log}", limit.as_secs())]
    Timeout {
        /// The expected state: `ready` or `stopped`.
        state: &'static str,
        /// How long this process waited.
        limit: Duration,
        /// The server's log file.
        log: PathBuf,
    },
    /// A database name that is not a plain lower-case identifier.
    #[error("`{0}` is not a plain database name: use a-z, 0-9 and _, at most 63 characters")]
    BadName(String),
    /// The server returned an error for a statement.
    #[error("the Postgres server refused: {message} ({code})")]
    Refused {
        /// SQLSTATE.
        code: String,
        /// The server's message.
        message: String,
    },
}

impl ServerError {
    /// An error of the system, with the step and its path.
    pub(crate) fn io(step: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{step} {}", path.display());
        move |source| Self::Io { what, source }
    }
}
