//! What can go wrong in a store call, sorted by what the caller can do about it. Owns the meaning of every SQLSTATE; none of them
//! leaves this crate. It matters where an error happened: see [`StoreError::unreachable`] and [`StoreError::of_commit`].

use crate::plumbing::cause::{Cause, Class};
use crate::plumbing::url::UrlError;

/// A failed store call. It changed nothing, except where a variant says that the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database accepts no connection, the connection broke, or the server cannot work for any caller (its disk is full, it is
    /// read-only, a grant is missing). Says nothing about the rows of the call. Whether the change was made is unknown, because the
    /// answer to a COMMIT can be lost; try again later.
    #[error("the database is unreachable: {cause}")]
    Unreachable {
        /// Why.
        cause: Cause,
    },
    /// The database stopped this one statement: a lock or statement timeout, a deadlock, an operator's cancel, an internal error.
    /// Nothing was changed, other calls may succeed, and trying again can help.
    #[error("the database interrupted the statement: {cause}")]
    Interrupted {
        /// Why.
        cause: Cause,
    },
    /// We stopped waiting for the call. Whether the change was made is unknown.
    #[error("the call was abandoned: {0}")]
    Abandoned(String),
    /// The connection URL is not usable.
    #[error("{0}")]
    Url(#[from] UrlError),
    /// The database does not have the schema that this binary was built for.
    #[error("{0}")]
    Schema(String),
    /// The database rejected the data of a row in the call; the same data will be rejected again.
    #[error("the database rejected the data: {0}")]
    Refused(#[source] sqlx::Error),
    /// A statement is wrong, or its answer is not what we expect: a defect of ours.
    #[error("a statement failed: {0}")]
    Defect(#[source] sqlx::Error),
    /// A stored value is invalid, because a user wrote to the tables by hand.
    #[error("corrupt row {row} in {table}.{column}: {what}")]
    Corrupt {
        /// Table, without the schema.
        table: &'static str,
        /// Column, or `*` if the row is missing.
        column: &'static str,
        /// The id of the job that the row belongs to.
        row: String,
        /// What is wrong with the value.
        what: String,
    },
    /// The filter reads more jobs than one request may; a narrower one does not.
    #[error("the filter reads too many jobs")]
    TooBroad,
}

impl StoreError {
    /// An error of opening a connection or of BEGIN. Such an error is never about a row, regardless of its SQLSTATE, because poolers
    /// use all of them.
    pub(crate) fn unreachable(error: &sqlx::Error) -> Self {
        Self::Unreachable { cause: Cause::of_connecting(error) }
    }

    /// An error of COMMIT. Only a collision is known to have changed nothing.
    pub(crate) fn of_commit(error: &sqlx::Error) -> Self {
        match Class::of(error) {
            Class::Interrupted(kind) if kind.is_conflict() => {
                Self::Interrupted { cause: Cause::new(kind, error) }
            }
            _ => Self::unreachable(error),
        }
    }

    /// Whether the same call can succeed later without any change to its data.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Interrupted { .. } | Self::Abandoned(_) | Self::Schema(_)
        )
    }

    /// Whether every other call would fail for the same reason now.
    pub fn concerns_everyone(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Abandoned(_) | Self::Schema(_))
    }

    /// Whether one row of the call may be to blame, so that the other rows succeed without it.
    pub fn may_concern_one_row(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Defect(_) | Self::Corrupt { .. } => true,
            Self::Interrupted { cause } => cause.kind.may_concern_one_row(),
            _ => false,
        }
    }

    /// Whether a call with fewer rows may succeed at once: one row may be to blame, or two transactions collided.
    pub(crate) fn is_helped_by_dividing(&self) -> bool {
        self.may_concern_one_row() || self.is_conflict()
    }

    /// Whether a time limit of the database ended the statement, or an operator cancelled it. The statement was valid but too slow.
    pub fn is_statement_timeout(&self) -> bool {
        matches!(self, Self::Interrupted { cause } if cause.kind.is_statement_timeout())
    }

    /// Whether two transactions collided and this one was rolled back: trying again at once helps.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Interrupted { cause } if cause.kind.is_conflict())
    }

    /// Whether a statement stopped waiting for a lock at its lock timeout.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Interrupted { cause } if cause.kind.is_lock_timeout())
    }

    /// One word for the reason: a label for logs, of a small set.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unreachable { cause } | Self::Interrupted { cause } => cause.word(),
            Self::Abandoned(_) => "abandoned",
            Self::Url(_) => "url",
            Self::Schema(_) => "schema",
            Self::Refused(_) => "refused",
            Self::Defect(_) => "defect",
            Self::Corrupt { .. } => "corrupt",
            Self::TooBroad => "too_broad",
        }
    }

    /// The reason in words that any client may see: it has no name, value or address of this deployment.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { cause } | Self::Interrupted { cause } => cause.sentence(),
            Self::Abandoned(_) => "the database did not answer in time",
            Self::Url(_) => "the connection URL of the database is not usable",
            Self::Schema(_) => "the database does not have the schema of this build",
            Self::Refused(_) => "the database rejected the data",
            Self::Defect(_) => "a statement failed; the log has its error",
            Self::Corrupt { .. } => "a stored row makes no sense; the log says which",
            Self::TooBroad => "the filter reads too many jobs",
        }
    }
}

/// An error of a statement on a connection that works.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match Class::of(&error) {
            Class::Unreachable(kind) => Self::Unreachable { cause: Cause::new(kind, &error) },
            Class::Interrupted(kind) => Self::Interrupted { cause: Cause::new(kind, &error) },
            Class::Schema => Self::Schema(format!(
                "the database lacks a table, column or function that this build needs: run `jobqueue migrate` ({error})"
            )),
            Class::Refused => Self::Refused(error),
            Class::Defect => Self::Defect(error),
        }
    }
}
