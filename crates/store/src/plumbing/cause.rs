//! Why the database cannot be used, or stopped a statement: SQLSTATEs and errors of the connection, in words.

use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind as Io;

use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Why the database cannot be used, or stopped a statement. Its text has no password and no URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub(crate) kind: Kind,
    text: String,
}

impl Cause {
    pub(crate) fn new(kind: Kind, error: &sqlx::Error) -> Self {
        Self { kind, text: error.to_string() }
    }

    /// A pooler was found that needs another setting.
    pub(crate) fn shared_sessions() -> Self {
        Self { kind: Kind::SharedSessions, text: "found by its first connection".to_owned() }
    }

    /// The server said so when it was asked.
    pub(crate) fn read_only() -> Self {
        Self { kind: Kind::ReadOnly, text: "transaction_read_only is on".to_owned() }
    }

    /// The cause of an error on the way to the database.
    pub(crate) fn of_connecting(error: &sqlx::Error) -> Self {
        let kind = match (Class::of(error), state(error).as_deref()) {
            (_, Some("08P01")) if error.to_string().contains("startup parameter") => Kind::StartupParameter,
            (_, Some("55000" | "55006")) => Kind::NotAccepting,
            (_, Some("XX000" | "XX001" | "XX002")) => Kind::Pooler,
            (Class::Unreachable(kind) | Class::Interrupted(kind), _) => kind,
            (_, Some(_)) => Kind::Pooler,
            (_, None) => Kind::Connection,
        };
        Self::new(kind, error)
    }

    /// One word, of a small set: a label.
    pub fn word(&self) -> &'static str {
        self.kind.words().0
    }

    /// One sentence without names or values of this deployment.
    pub fn sentence(&self) -> &'static str {
        self.kind.words().1
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.sentence(), self.text)
    }
}

/// The sorts of causes that an operator can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Refused,
    Connection,
    Name,
    NoAnswer,
    AllInUse,
    Password,
    NoDatabase,
    NotAccepting,
    Grant,
    Certificate,
    ReadOnly,
    DiskFull,
    Resources,
    TooMany,
    Stopping,
    System,
    Pooler,
    SharedSessions,
    StartupParameter,
    Lock,
    Stopped,
    Collision,
    Internal,
}

impl Kind {
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Refused => {
                ("connection_refused", "the database refuses the connection: no server listens there")
            }
            Self::Connection => ("connection", "the connection to the database broke or cannot be made"),
            Self::Name => ("host", "the host of the database cannot be found"),
            Self::NoAnswer => ("no_answer", "the database does not answer"),
            Self::AllInUse => ("all_in_use", "all connections of this process are in use"),
            Self::Password => ("password", "the database refuses the user or the password"),
            Self::NoDatabase => ("no_database", "the database does not exist"),
            Self::NotAccepting => ("not_accepting", "the database does not accept connections"),
            Self::Grant => ("missing_grant", "the database user lacks a grant"),
            Self::Certificate => ("tls", "no trusted TLS connection to the database can be made"),
            Self::ReadOnly => ("read_only", "the database is read-only"),
            Self::DiskFull => ("disk_full", "the disk of the database is full"),
            Self::Resources => ("resources", "the database is short of memory or another resource"),
            Self::TooMany => ("too_many_connections", "the database has too many connections"),
            Self::Stopping => ("not_up", "the database is starting, stopping or in recovery"),
            Self::System => ("system", "the database reports an error of its operating system"),
            Self::Pooler => ("pooler", "the database or its pooler refuses the connection"),
            Self::SharedSessions => ("shared_sessions", crate::plumbing::pooler::ADVICE),
            Self::StartupParameter => (
                "startup_parameter",
                "the pooler refuses a start-up parameter: remove `options` from DATABASE_URL, or add it to ignore_startup_parameters of PgBouncer",
            ),
            Self::Lock => ("lock", "a lock in the database was not released in time"),
            Self::Stopped => ("statement_stopped", "a statement took too long or was cancelled"),
            Self::Collision => ("collision", "two transactions collided"),
            Self::Internal => ("internal", "the database or its pooler reports an internal error"),
        }
    }

    pub(crate) const fn is_conflict(self) -> bool {
        matches!(self, Self::Collision)
    }

    pub(crate) const fn is_lock_timeout(self) -> bool {
        matches!(self, Self::Lock)
    }

    pub(crate) const fn is_statement_timeout(self) -> bool {
        matches!(self, Self::Stopped)
    }

    /// An internal error can come from the pages of one row.
    pub(crate) const fn may_concern_one_row(self) -> bool {
        matches!(self, Self::Internal)
    }
}

/// What an error of a statement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// No statement gets through.
    Unreachable(Kind),
    /// This statement did not get through this time.
    Interrupted(Kind),
    /// Tables are missing or different.
    Schema,
    /// A value is at fault.
    Refused,
    /// The statement is at fault.
    Defect,
}

impl Class {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(database) => {
                let fatal = database
                    .try_downcast_ref::<PgDatabaseError>()
                    .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic));
                match (Self::of_state(&database.code().unwrap_or_default()), fatal) {
                    (Self::Unreachable(kind), _) => Self::Unreachable(kind),
                    // the session has ended, regardless of the statement
                    (_, true) => Self::Unreachable(Kind::Connection),
                    (class, false) => class,
                }
            }
            sqlx::Error::Io(error) => Self::Unreachable(of_io(error)),
            sqlx::Error::Tls(_) => Self::Unreachable(Kind::Certificate),
            sqlx::Error::PoolTimedOut => Self::Unreachable(Kind::NoAnswer),
            sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unreachable(Kind::Connection),
            sqlx::Error::Encode(_) => Self::Refused,
            _ => Self::Defect,
        }
    }

    /// By the SQLSTATE of an error of severity ERROR.
    fn of_state(code: &str) -> Self {
        match code {
            "28P01" | "28000" => Self::Unreachable(Kind::Password),
            "3D000" => Self::Unreachable(Kind::NoDatabase),
            "42501" => Self::Unreachable(Kind::Grant),
            "25006" => Self::Unreachable(Kind::ReadOnly),
            "53100" => Self::Unreachable(Kind::DiskFull),
            "53300" => Self::Unreachable(Kind::TooMany),
            "57014" => Self::Interrupted(Kind::Stopped),
            "55P03" => Self::Interrupted(Kind::Lock),
            // a prepared statement that another client of the same session has made or dropped
            "26000" | "42P05" => Self::Interrupted(Kind::SharedSessions),
            // undefined table, column, function, object or schema
            "42P01" | "42703" | "42883" | "42704" | "3F000" => Self::Schema,
            // raised by a trigger or a function that a user added
            "P0001" => Self::Refused,
            _ => match code.get(..2).unwrap_or_default() {
                "08" => Self::Unreachable(Kind::Connection),
                "53" => Self::Unreachable(Kind::Resources),
                "57" => Self::Unreachable(Kind::Stopping),
                "58" => Self::Unreachable(Kind::System),
                "40" => Self::Interrupted(Kind::Collision),
                "22" | "23" => Self::Refused,
                "0A" | "21" | "2B" | "42" | "P0" => Self::Defect,
                // among them: 25, a session that a pooler mixed up; 54, no transaction ids left; XX, internal errors
                _ => Self::Interrupted(Kind::Internal),
            },
        }
    }
}

fn of_io(error: &std::io::Error) -> Kind {
    match error.kind() {
        // a socket file that is missing has no server either
        Io::ConnectionRefused | Io::NotFound => Kind::Refused,
        Io::TimedOut | Io::HostUnreachable | Io::NetworkUnreachable => Kind::NoAnswer,
        // rustls reports a certificate that it does not trust like this
        Io::InvalidData => Kind::Certificate,
        // the kind of a failed look-up of a name is unstable
        _ if error.to_string().contains("lookup") => Kind::Name,
        _ => Kind::Connection,
    }
}

fn state(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_are_refused_and_only_broken_statements_are_defects() {
        use Class::{Defect, Interrupted, Refused, Schema, Unreachable};
        for (codes, class) in [
            (&["22P05", "22023", "23505", "23514", "P0001"][..], Refused),
            (&["42601", "0A000", "21000"], Defect),
            (&["42P01", "42703", "3F000"], Schema),
            (&["42501"], Unreachable(Kind::Grant)),
            (&["25006"], Unreachable(Kind::ReadOnly)),
            (&["53100"], Unreachable(Kind::DiskFull)),
            (&["57P01", "57P02", "57P03"], Unreachable(Kind::Stopping)),
            (&["08006", "08P01"], Unreachable(Kind::Connection)),
            (&["57014"], Interrupted(Kind::Stopped)),
            (&["55P03"], Interrupted(Kind::Lock)),
            (&["40001", "40P01"], Interrupted(Kind::Collision)),
            // not even an unknown code may cost a job its result
            (&["XX000", "54000", "25P02", "ZZ999", ""], Interrupted(Kind::Internal)),
            (&["26000", "42P05"], Interrupted(Kind::SharedSessions)),
        ] {
            for code in codes {
                assert_eq!(Class::of_state(code), class, "{code}");
            }
        }
    }

    #[test]
    fn an_error_of_connecting_is_never_about_the_data() {
        let broken = |kind| sqlx::Error::Io(std::io::Error::from(kind));
        for (error, kind) in [
            (broken(Io::ConnectionRefused), Kind::Refused),
            (broken(Io::NotFound), Kind::Refused),
            (broken(Io::ConnectionReset), Kind::Connection),
            (sqlx::Error::Tls("untrusted".into()), Kind::Certificate),
            (sqlx::Error::Encode("too long".into()), Kind::Connection),
            (sqlx::Error::RowNotFound, Kind::Connection),
        ] {
            assert_eq!(Cause::of_connecting(&error).kind, kind, "{error}");
        }
    }
}
