//! Finds out why no connection could be acquired. sqlx reports "timed out" both if the server refuses connections and if
//! all connections of the pool are in use. Operators need to know which.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::timeout;

use crate::plumbing::cause::{Cause, Kind};
use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::plumbing::sessions::{is_read_only, prepare};

/// Time limit of the connection that is opened to find the cause.
const TRY_WITHIN: Duration = Duration::from_secs(1);
/// How long a readiness check waits for a connection. With [`TRY_WITHIN`] it is below the 3 s that a probe is answered within.
const READY_WITHIN: Duration = Duration::from_millis(1500);

impl Store {
    /// Whether jobs can be stored: this build knows the schema, and the database accepts writes. Readiness checks call it,
    /// and need the cause of a failure within their own time limit. sqlx retries some errors until `connect_timeout`.
    pub async fn check_ready(&self) -> Result<(), StoreError> {
        let unit = match timeout(READY_WITHIN, self.one()).await {
            Ok(unit) => unit,
            Err(_late) => Err(self.no_connection(sqlx::Error::PoolTimedOut).await),
        };
        let mut unit = self.check_schema_on(unit).await?;
        let read_only = is_read_only(&mut *unit).await?;
        unit.commit().await?;
        if read_only { Err(StoreError::Unreachable { cause: Cause::read_only() }) } else { Ok(()) }
    }

    /// Stores a job and rolls it back. Its payload of about 100 kB needs new space on the disk, as new jobs do. For readiness
    /// checks after a job could not be stored.
    pub async fn try_storing(&self) -> Result<(), StoreError> {
        let mut unit = self.begin().await?;
        sqlx::query_scalar!(
            "-- store.try_storing
            SELECT jobqueue.enqueue('jobqueue.readiness', to_json(string_agg(md5(random()::text), '')), delay_seconds => 1)
            FROM generate_series(1, 3000)"
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.rollback().await
    }

    /// The error of a call that could not get a connection or begin a transaction.
    pub(crate) async fn no_connection(&self, error: sqlx::Error) -> StoreError {
        if !matches!(error, sqlx::Error::PoolTimedOut) {
            return StoreError::unreachable(&error);
        }
        if let Some(cause) = self.last_cause.recent() {
            return StoreError::Unreachable { cause };
        }
        // set before the attempt, so that other calls that time out now do not connect as well
        self.last_cause.set(Cause::new(Kind::NoAnswer, &error));
        let cause = match timeout(TRY_WITHIN, self.open_one()).await {
            Ok(Ok(())) => Cause::new(Kind::AllInUse, &error),
            Ok(Err(reason)) => Cause::of_connecting(&reason),
            Err(_late) => Cause::new(Kind::NoAnswer, &error),
        };
        self.last_cause.set(cause.clone());
        StoreError::Unreachable { cause }
    }

    /// Opens a connection outside of the pool and closes it again.
    async fn open_one(&self) -> Result<(), sqlx::Error> {
        let options = self.pool.connect_options();
        let mut connection = options.connect().await?;
        prepare(&mut connection, self.pooler).await?;
        connection.close().await
    }
}
