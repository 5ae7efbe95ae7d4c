//! Connections: how they are made, how a unit of work gets one, and what every session is told.

use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool, Postgres, Transaction,
};

use crate::catalog::Catalog;
use crate::census::front::Front;
use crate::clock::IdClock;
use crate::error::StoreError;
use crate::low_water::LowWaters;

/// Plans must not follow statistics: the hot tables swing between empty and millions of rows within a minute, and a plan
/// cached at the wrong moment would walk all of them. Every hot statement has exactly one index to use, so it is planned once: left to choose,
/// Postgres plans a lease or a settle of few jobs at each call, which takes longer than to run it (`before_walk` has filters planned
/// each time). Neither timeout ends a COPY that waits
/// for a host that is gone; the keepalives do, after a minute.
const SESSION: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; \
     SET enable_mergejoin = off; SET jit = off; SET plan_cache_mode = force_generic_plan; SET statement_timeout = '30s'; \
     SET idle_in_transaction_session_timeout = '60s'; \
     SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

/// The same for one transaction, for poolers that share sessions. They also share prepared statements, so every
/// transaction starts by forgetting those of the session's last user; each statement is planned anew then, and better for what is asked.
const POOLED: &str = "DEALLOCATE ALL; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
     SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off; \
     SET LOCAL statement_timeout = '30s'";

/// A connection that was not used for so long is asked whether it lives before it is used again.
const RESTED: Duration = Duration::from_secs(1);

/// What stands between us and Postgres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing, or a pooler in session mode.
    #[default]
    None,
    /// A pooler in transaction mode, such as PgBouncer: no session state survives a transaction.
    Transaction,
}

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `postgresql://…` URL.
    pub url: String,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
    /// Most connections of this process, wake-ups excluded.
    pub max_connections: u32,
    /// How long a call waits for a connection before the database counts as unavailable.
    pub connect_timeout: Duration,
    /// What stands between.
    pub pooler: Pooler,
}

/// The queue in one Postgres database. Cheap to clone; all clones share connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) ids: Arc<IdClock>,
    pub(crate) low_water: Arc<LowWaters>,
    pub(crate) front: Arc<Front>,
    pub(crate) pooler: Pooler,
}

impl Store {
    /// Opens connections as they are needed; succeeds even while the database is away. Fails on a URL that is none.
    pub fn connect_lazy(options: &StoreOptions) -> Result<Self, StoreError> {
        let mut connect = PgConnectOptions::from_str(&options.url)?
            .application_name(&options.application_name)
            .disable_statement_logging();
        if options.pooler == Pooler::Transaction {
            connect = connect.statement_cache_capacity(0);
        }
        let pooler = options.pooler;
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.connect_timeout)
            .idle_timeout(Duration::from_mins(5))
            // one round trip less; a connection that rested may have been cut off without a word
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move { Ok(state.idle_for < RESTED || connection.ping().await.is_ok()) })
            })
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if pooler == Pooler::None {
                        connection.execute(SESSION).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(connect);
        Ok(Self { pooler, ..Self::from_pool(pool) })
    }

    /// Works on a pool that somebody else configured; for tests that hold the clock.
    pub fn from_pool(pool: PgPool) -> Self {
        Self {
            pool,
            catalog: Arc::default(),
            ids: Arc::default(),
            low_water: Arc::default(),
            front: Arc::default(),
            pooler: Pooler::None,
        }
    }

    /// Whether the database answers; what readiness asks.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!("-- store.ping\nSELECT 1 AS one").fetch_one(&mut *unit).await?;
        unit.commit().await
    }

    /// Connections in use and open, for metrics.
    pub fn connections(&self) -> (usize, u32) {
        let open = self.pool.size();
        (usize::try_from(open).unwrap_or(usize::MAX).saturating_sub(self.pool.num_idle()), open)
    }

    /// Closes all connections, after the calls in flight.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A connection for one statement, or for reads that need not be of one moment. Behind a pooler in transaction mode it comes with a transaction.
    pub(crate) async fn one(&self) -> Result<Unit, StoreError> {
        match self.pooler {
            Pooler::None => Ok(Unit::Bare(self.pool.acquire().await?)),
            Pooler::Transaction => self.begin().await,
        }
    }

    /// A transaction. Dropped without commit, it is rolled back.
    pub(crate) async fn begin(&self) -> Result<Unit, StoreError> {
        self.begin_with("BEGIN").await
    }

    /// A transaction that reads, and all of it at the same moment.
    pub(crate) async fn begin_snapshot(&self) -> Result<Unit, StoreError> {
        self.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await
    }

    async fn begin_with(&self, begin: &'static str) -> Result<Unit, StoreError> {
        Ok(Unit::Transaction(match self.pooler {
            Pooler::None => self.pool.begin_with(begin).await?,
            Pooler::Transaction => self.pool.begin_with(format!("{begin}; {POOLED}")).await?,
        }))
    }
}

/// A unit of work on one connection.
pub(crate) enum Unit {
    /// Each statement is its own transaction.
    Bare(PoolConnection<Postgres>),
    /// Several statements.
    Transaction(Transaction<'static, Postgres>),
}

impl Unit {
    /// Makes it true. An error means that the outcome is unknown.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Bare(_) => Ok(()),
            Self::Transaction(transaction) => Ok(transaction.commit().await?),
        }
    }
}

impl Deref for Unit {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::Bare(connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }
}

impl DerefMut for Unit {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Bare(connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }
}
