//! Time limits of statements, all in one place: what the server allows a statement, and how long this process waits for its answer.
//!
//! The server ends a slow statement. Only this process can end a call whose server has vanished: if packets are lost, no error
//! arrives, and sqlx sets no TCP keepalive. So this process waits longer than the server lets a statement run, and what it
//! gives up has certainly no answer. `docs/operations.md` has the table.

use std::time::Duration;

/// `statement_timeout` of every session.
pub(crate) const STATEMENT: Duration = Duration::from_secs(30);
/// `statement_timeout` of scans by filter; `before_walk` sets it in the database.
pub(crate) const WALK: Duration = Duration::from_secs(5);
/// `statement_timeout` of maintenance that changes whole days.
pub(crate) const MAINTENANCE: Duration = Duration::from_mins(10);
/// How much longer than the server's limit this process waits.
const MARGIN: Duration = Duration::from_secs(5);
/// Time limit of the check of an idle connection before it is used. It is below the time that a call waits for a connection.
pub(crate) const CHECK: Duration = Duration::from_secs(2);
/// Time limit of the last exchange of a connection before the pool takes it back. It includes the ROLLBACK of a failed
/// transaction.
pub(crate) const RETURN: Duration = Duration::from_secs(10);
/// A connection that listens for wake-ups is checked when it has received none for this long.
pub(crate) const LISTENER_QUIET: Duration = Duration::from_secs(15);
/// Time limit of that check.
pub(crate) const LISTENER_CHECK: Duration = Duration::from_secs(5);

/// How long this process waits for the answer to a statement that the server allows this time.
pub(crate) const fn answer(statement: Duration) -> Duration {
    statement.saturating_add(MARGIN)
}
