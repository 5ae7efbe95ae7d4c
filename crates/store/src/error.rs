//! What can go wrong in the store, by what the caller should do about it.

use jobqueue_core::JobId;

/// A failed store call. Nothing was changed, except where [`StoreError::Unavailable`] says that it is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, overloaded or in recovery: try again later. After a lost connection during COMMIT it is
    /// unknown whether the change was made; an idempotency key resolves it.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// The database does not have the schema that this binary was built for.
    #[error("{0}")]
    Schema(String),
    /// A stored row does not make sense; somebody wrote to the tables by hand.
    #[error("corrupt row: job {job_id}: {what}")]
    Corrupt {
        /// The job whose row it is.
        job_id: JobId,
        /// Which column, and what is wrong with it.
        what: String,
    },
    /// The filter walks more jobs than one request may; a narrower one does not.
    #[error("the filter walks too many jobs")]
    TooBroad,
    /// The database refused a statement for a reason that trying again will not cure: our defect.
    #[error("the database refused a statement: {0}")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether trying again later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether two transactions met and this one gave way: trying again at once helps.
    pub(crate) fn is_collision(&self) -> bool {
        let Self::Unavailable(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| code == "40001" || code == "40P01")
    }

    /// Whether a statement gave up waiting for a lock, as it was told to.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        let Self::Unavailable(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| code == "55P03")
    }

    /// The class of the SQLSTATE (two characters) or a word, for a metric's label.
    pub fn class(&self) -> String {
        match self {
            Self::Unavailable(sqlx::Error::Database(error)) | Self::Refused(sqlx::Error::Database(error)) => {
                error.code().map_or_else(|| "unknown".to_owned(), |code| code.chars().take(2).collect())
            }
            Self::Unavailable(_) => "connection".to_owned(),
            Self::Schema(_) => "schema".to_owned(),
            Self::TooBroad => "too_broad".to_owned(),
            Self::Corrupt { .. } => "corrupt".to_owned(),
            Self::Refused(_) => "client".to_owned(),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let transient = match &error {
            // 08 connection, 25006 read-only (a demoted primary), 26 a statement lost by a pooler, 40 collision,
            // 53 resources, 55P03 lock timeout, 57 operator intervention (shutdown, statement timeout), 58 system
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                ["08", "26", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                    || code == "25006"
                    || code == "55P03"
            }),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            _ => false,
        };
        if transient { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}
