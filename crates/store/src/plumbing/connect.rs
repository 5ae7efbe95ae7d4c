//! Connections: how they are opened, and how a unit of work gets one.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool};

use crate::plumbing::actor::ActingAs;
use crate::plumbing::catalog::Catalog;
use crate::plumbing::cause::Cause;
use crate::plumbing::clock::IdClock;
use crate::plumbing::error::StoreError;
use crate::plumbing::last_cause::LastCause;
use crate::plumbing::limited::LimitedConnection;
use crate::plumbing::low_water::{LowWaterMarks, ScanBudget};
use crate::plumbing::pooler::{Pooler, Sharing};
use crate::plumbing::queue_gates::QueueGates;
use crate::plumbing::route_cache::RouteCache;
use crate::plumbing::sessions::{Sessions, pooled, prepare};
use crate::plumbing::url::{DatabaseUrl, UrlError};
use crate::plumbing::url_file::UrlFile;

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The `postgresql://…` URL, or the file that contains it.
    pub url: DatabaseUrl,
    /// Application name in `pg_stat_activity`, unless the URL sets another.
    pub application_name: String,
    /// Maximum number of connections of this process, without the one for wake-ups.
    pub max_connections: u32,
    /// How long a call waits for a connection before the database counts as unreachable.
    pub connect_timeout: Duration,
    /// The connection pooler, which the operator configures.
    pub pooler: Pooler,
}

/// The queue in one Postgres database. Cheap to clone; all clones share connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) ids: Arc<IdClock>,
    pub(crate) low_water: Arc<LowWaterMarks>,
    pub(crate) routes: Arc<RouteCache>,
    pub(crate) queue_gates: Arc<QueueGates>,
    /// The last scan of the census from the front of all lanes.
    pub(crate) front_scan: Arc<Mutex<ScanBudget>>,
    pub(crate) pooler: Pooler,
    pub(crate) last_cause: Arc<LastCause>,
    /// Whether a pooler shares sessions although the options say that there is none.
    pub(crate) sharing: Arc<Sharing>,
    /// The file that the URL was read from, if any.
    pub(crate) url_file: Option<Arc<UrlFile>>,
    pub(crate) application_name: Arc<str>,
    /// Who makes the changes of this clone. `None`: no caller of the API, for example the reaper.
    pub(crate) actor: Option<Arc<ActingAs>>,
}

impl Store {
    /// Opens connections when they are needed. Succeeds even while the database is unreachable.
    ///
    /// # Errors
    /// The URL is not usable, or its file cannot be read.
    pub fn connect_lazy(options: &StoreOptions) -> Result<Self, UrlError> {
        let (text, connect) = options.url.resolve()?;
        let application_name: Arc<str> = options.application_name.as_str().into();
        let pooler = options.pooler;
        let connect = for_pool(connect, pooler, &application_name);
        let (sharing, first) = (Arc::<Sharing>::default(), connect.clone());
        let url_file = match &options.url {
            DatabaseUrl::Text(_) => None,
            file @ DatabaseUrl::File(_) => Some(Arc::new(UrlFile::new(file.clone(), text))),
        };
        let sessions = Arc::new(Sessions::new(pooler));
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.connect_timeout)
            .idle_timeout(Duration::from_mins(5))
            // sqlx would ping before each use; `is_usable` checks only connections that were idle
            .test_before_acquire(false)
            .before_acquire({
                let sessions = sessions.clone();
                move |connection, state| {
                    let sessions = sessions.clone();
                    Box::pin(async move { Ok(sessions.is_usable(connection, &state).await) })
                }
            })
            .after_connect({
                let sharing = sharing.clone();
                move |connection, _| {
                    let (sharing, first, sessions) = (sharing.clone(), first.clone(), sessions.clone());
                    Box::pin(async move {
                        // behind such a pooler the settings would apply to other clients
                        let shares = pooler == Pooler::None && sharing.check(connection, &first).await?;
                        prepare(connection, if shares { Pooler::Transaction } else { pooler }).await?;
                        sessions.opened(connection).await
                    })
                }
            })
            .connect_lazy_with(connect);
        Ok(Self { pooler, sharing, url_file, application_name, ..Self::from_pool(pool) })
    }

    /// Uses a pool that the caller configured. For tests that set the clock.
    pub fn from_pool(pool: PgPool) -> Self {
        Self {
            pool,
            catalog: Arc::default(),
            ids: Arc::default(),
            low_water: Arc::default(),
            routes: Arc::default(),
            queue_gates: Arc::default(),
            front_scan: Arc::default(),
            pooler: Pooler::None,
            last_cause: Arc::default(),
            sharing: Arc::default(),
            url_file: None,
            application_name: "".into(),
            actor: None,
        }
    }

    /// Sends one trivial statement. An error means that the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!("-- store.ping\nSELECT 1 AS one").fetch_one(&mut *unit).await?;
        unit.commit().await
    }

    /// The number of connections in use and of open ones, for metrics.
    pub fn connections(&self) -> (usize, u32) {
        let open = self.pool.size();
        (usize::try_from(open).unwrap_or(usize::MAX).saturating_sub(self.pool.num_idle()), open)
    }

    /// Closes all connections after the calls in flight have ended.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A pool of one connection, which the caller keeps for long.
    pub(crate) fn side_pool(&self) -> PgPool {
        self.reread_url(true);
        let options = self.pool.options().clone().max_connections(1).max_lifetime(None).idle_timeout(None);
        options.connect_lazy_with(self.pool.connect_options().as_ref().clone())
    }

    /// A connection for one statement, or for reads that need no common snapshot. Behind a pooler in transaction mode, and if someone
    /// acts, it begins a transaction.
    pub(crate) async fn one(&self) -> Result<Unit, StoreError> {
        if self.pooler == Pooler::Transaction || self.actor.is_some() {
            return self.begin().await;
        }
        self.outside_transaction().await
    }

    /// A connection without a transaction, even behind a pooler in transaction mode.
    pub(crate) async fn outside_transaction(&self) -> Result<Unit, StoreError> {
        self.unit(None).await
    }

    /// A transaction. It is rolled back if it is dropped without a commit.
    pub(crate) async fn begin(&self) -> Result<Unit, StoreError> {
        self.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await
    }

    /// A read-only transaction with one snapshot.
    pub(crate) async fn begin_snapshot(&self) -> Result<Unit, StoreError> {
        self.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await
    }

    async fn begin_with(&self, begin: &'static str) -> Result<Unit, StoreError> {
        let mut statement: Cow<'static, str> = match self.pooler {
            Pooler::None => begin.into(),
            Pooler::Transaction => format!("{begin}; {}", pooled()).into(),
        };
        if let Some(actor) = &self.actor {
            // in the same round trip
            statement = format!("{statement}; {}", actor.setting()).into();
        }
        self.unit(Some(statement)).await
    }

    async fn unit(&self, begin: Option<Cow<'static, str>>) -> Result<Unit, StoreError> {
        self.reread_url(false);
        let opened = match self.open_unit(begin.clone()).await {
            Err(error) if self.is_outdated(&error) => self.open_unit(begin).await,
            opened => opened,
        };
        match opened {
            Ok(unit) if !self.sharing.found() => Ok(unit),
            Ok(_) => Err(StoreError::Unreachable { cause: Cause::shared_sessions() }),
            Err(error) => Err(self.no_connection(error).await),
        }
    }

    async fn open_unit(&self, begin: Option<Cow<'static, str>>) -> sqlx::Result<Unit> {
        let mut connection = LimitedConnection::new(self.pool.acquire().await?);
        if let Some(begin) = begin {
            connection.begin(begin).await?;
        }
        Ok(Unit(connection))
    }

    /// Whether the server refused a connection and the file with the URL has changed, so that the next try may succeed.
    fn is_outdated(&self, error: &sqlx::Error) -> bool {
        matches!(error, sqlx::Error::Database(_)) && self.reread_url(true)
    }

    /// Uses a changed URL for new connections. Open connections stay. Returns whether the URL has changed.
    pub(crate) fn reread_url(&self, was_refused: bool) -> bool {
        let Some(changed) = self.url_file.as_ref().and_then(|file| file.changed(was_refused)) else {
            return false;
        };
        self.pool.set_connect_options(for_pool(changed, self.pooler, &self.application_name));
        true
    }
}

/// The options that all connections of the pool share.
fn for_pool(options: PgConnectOptions, pooler: Pooler, application_name: &str) -> PgConnectOptions {
    let options = options.disable_statement_logging();
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name(application_name),
    };
    match pooler {
        Pooler::None => options,
        Pooler::Transaction => options.statement_cache_capacity(0),
    }
}

/// A unit of work on one connection: a transaction, or statements each of which is its own transaction.
pub(crate) struct Unit(LimitedConnection);

impl Unit {
    /// Commits. An error means that the outcome is unknown.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        self.0.commit().await.map_err(|error| StoreError::of_commit(&error))
    }

    /// Undoes what a transaction has done.
    pub(crate) async fn rollback(mut self) -> Result<(), StoreError> {
        Ok(self.0.rollback().await?)
    }
}

impl Deref for Unit {
    type Target = LimitedConnection;

    fn deref(&self) -> &LimitedConnection {
        &self.0
    }
}

impl DerefMut for Unit {
    fn deref_mut(&mut self) -> &mut LimitedConnection {
        &mut self.0
    }
}
