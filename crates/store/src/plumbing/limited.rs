//! A connection of a pool on which no statement waits without limit. Owns the time limit of each statement, and what becomes of the
//! connection afterwards: the pool gets it back only if its last statement has an answer.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{BoxStream, Stream};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTransactionManager, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, Postgres, TransactionManager as _};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};

use crate::plumbing::time_limits;

/// See the module. Statements run on `&mut LimitedConnection`.
#[derive(Debug)]
pub(crate) struct LimitedConnection {
    connection: PoolConnection<Postgres>,
    /// How long to wait for the answer to a statement.
    limit: Duration,
    /// Whether a statement has no answer yet. It stays so if the call was dropped or its limit has passed. The answer may
    /// arrive later or never, and a transaction may be open, so no other call may use this connection.
    unanswered: bool,
}

impl LimitedConnection {
    pub(crate) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self { connection, limit: time_limits::answer(time_limits::STATEMENT), unanswered: false }
    }

    /// Waits for answers as long as a statement needs that the server allows this time.
    pub(crate) const fn set_statement_limit(&mut self, allowed: Duration) {
        self.limit = time_limits::answer(allowed);
    }

    /// Whether a transaction is open.
    pub(crate) fn is_in_transaction(&self) -> bool {
        PgTransactionManager::get_transaction_depth(&self.connection) > 0
    }

    /// Begins a transaction. It is rolled back if this connection is dropped before a commit.
    pub(crate) async fn begin(&mut self, statement: Cow<'static, str>) -> sqlx::Result<()> {
        let Self { connection, limit, unanswered } = self;
        let beginning = PgTransactionManager::begin(connection, Some(statement));
        answered(beginning, *limit, unanswered).await
    }

    /// Commits the transaction, if there is one.
    pub(crate) async fn commit(&mut self) -> sqlx::Result<()> {
        let Self { connection, limit, unanswered } = self;
        answered(PgTransactionManager::commit(connection), *limit, unanswered).await
    }

    /// Rolls the transaction back, if there is one.
    pub(crate) async fn rollback(&mut self) -> sqlx::Result<()> {
        let Self { connection, limit, unanswered } = self;
        answered(PgTransactionManager::rollback(connection), *limit, unanswered).await
    }

    /// Sends rows for a `COPY … FROM STDIN`.
    pub(crate) async fn copy_in(&mut self, statement: &str, rows: Vec<u8>) -> sqlx::Result<u64> {
        let Self { connection, limit, unanswered } = self;
        let copying = async {
            let mut copy = connection.copy_in_raw(statement).await?;
            copy.send(rows).await?;
            copy.finish().await
        };
        answered(copying, *limit, unanswered).await
    }
}

/// Waits for the answer of one exchange with the server, within the limit.
async fn answered<T>(
    exchange: impl Future<Output = sqlx::Result<T>>,
    limit: Duration,
    unanswered: &mut bool,
) -> sqlx::Result<T> {
    *unanswered = true;
    match timeout(limit, exchange).await {
        Ok(answer) => {
            *unanswered = false;
            answer
        }
        Err(_late) => Err(no_answer(limit)),
    }
}

impl Drop for LimitedConnection {
    fn drop(&mut self) {
        if self.unanswered {
            self.connection.close_on_drop();
        } else if let Ok(runtime) = Handle::try_current() {
            PgTransactionManager::start_rollback(&mut self.connection);
            // what sqlx would do, without a limit, when the connection is dropped: it waits for the answer to a ping
            let returning = self.connection.return_to_pool();
            let _detached = runtime.spawn(timeout(time_limits::RETURN, returning));
        }
    }
}

fn no_answer(limit: Duration) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("no answer within {} s, the connection is closed", limit.as_secs_f64()),
    ))
}

impl<'c> Executor<'c> for &'c mut LimitedConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let LimitedConnection { connection, limit, unanswered } = self;
        let (rows, late) = (connection.fetch_many(query), Box::pin(sleep(*limit)));
        Box::pin(LimitedRows { rows, late, limit: *limit, unanswered })
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> Pin<Box<dyn Future<Output = sqlx::Result<Option<PgRow>>> + Send + 'e>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let LimitedConnection { connection, limit, unanswered } = self;
        Box::pin(answered(connection.fetch_optional(query), *limit, unanswered))
    }

    fn prepare_with<'e, 'q: 'e>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> Pin<Box<dyn Future<Output = sqlx::Result<PgStatement<'q>>> + Send + 'e>>
    where
        'c: 'e,
    {
        let LimitedConnection { connection, limit, unanswered } = self;
        Box::pin(answered(connection.prepare_with(sql, parameters), *limit, unanswered))
    }

    fn describe<'e, 'q: 'e>(
        self,
        sql: &'q str,
    ) -> Pin<Box<dyn Future<Output = sqlx::Result<Describe<Postgres>>> + Send + 'e>>
    where
        'c: 'e,
    {
        let LimitedConnection { connection, limit, unanswered } = self;
        Box::pin(answered(connection.describe(sql), *limit, unanswered))
    }
}

/// The rows of one statement, as long as its limit has not passed.
struct LimitedRows<'e, T> {
    rows: BoxStream<'e, sqlx::Result<T>>,
    late: Pin<Box<Sleep>>,
    limit: Duration,
    /// See [`LimitedConnection`].
    unanswered: &'e mut bool,
}

impl<T> Stream for LimitedRows<'_, T> {
    type Item = sqlx::Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // an answer that has arrived counts, even if this process was stopped in the meantime
        match self.rows.as_mut().poll_next(context) {
            Poll::Ready(item) => {
                *self.unanswered = matches!(item, Some(Ok(_)));
                Poll::Ready(item)
            }
            Poll::Pending => {
                *self.unanswered = true;
                self.late.as_mut().poll(context).map(|()| Some(Err(no_answer(self.limit))))
            }
        }
    }
}
