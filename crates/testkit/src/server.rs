//! The servers of the tests: one shared by all tests of a process, and private ones that a test may crash. It never
//! uses a server that it did not start.

use std::env;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use jobqueue_embedded::{PgBin, Server, ServerOptions, StopMode, find_binaries, install};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::spawn_blocking;

/// Every migration, as it was when the tests were compiled.
static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");
/// The directory of other server binaries, for the version matrix.
const BIN_VARIABLE: &str = "JOBQUEUE_TEST_PG_BIN";
/// The database of a [`TestServer`], and on the shared server the one that test databases are copied from.
pub(crate) const MIGRATED: &str = "jobqueue";

/// The server that all tests of this process share. A static is never dropped: the server's guard ends it with us.
static SHARED: OnceLock<Server> = OnceLock::new();

/// The shared server, started and with a migrated database to copy from.
///
/// Starting happens on a blocking thread with a runtime of its own, so that a test that gives up half-way cannot
/// take it along.
pub(crate) async fn shared() -> &'static Server {
    if let Some(server) = SHARED.get() {
        return server;
    }
    spawn_blocking(|| SHARED.get_or_init(|| boot(ServerOptions::throw_away(binaries())))).await.unwrap()
}

/// Applies every migration.
pub(crate) async fn migrate(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("connect in order to migrate");
    MIGRATOR.run(&mut connection).await.expect("apply the migrations");
    connection.close().await.expect("end the migrating connection");
}

/// A server of one test's own, with a migrated database: for crashes, restarts and settings.
#[derive(Debug)]
pub struct TestServer {
    server: Arc<Mutex<Server>>,
    url: String,
}

impl TestServer {
    /// A server that keeps its promises through a crash (fsync on), as in production.
    pub async fn durable() -> Self {
        Self::with_settings(&[]).await
    }

    /// A durable server with further settings, as in `postgresql.conf`.
    pub async fn with_settings(settings: &[(&str, &str)]) -> Self {
        let mut options = ServerOptions { durable: true, ..ServerOptions::throw_away(binaries()) };
        for (name, value) in settings {
            options = options.set(name, value);
        }
        let server = spawn_blocking(move || boot(options)).await.unwrap();
        Self { url: server.database_url(MIGRATED), server: Arc::new(Mutex::new(server)) }
    }

    /// The migrated database; the same address after every restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A small pool of the calling runtime.
    pub fn pool(&self) -> PgPool {
        small_pool().connect_lazy(&self.url).unwrap()
    }

    /// Ends the server as a crash would, whatever it is doing, and returns when it is gone.
    pub async fn stop_immediate(&self) {
        self.blocking(|server| server.stop(StopMode::Immediate).unwrap()).await;
    }

    /// Ends the server cleanly.
    pub async fn stop(&self) {
        self.blocking(|server| server.stop(StopMode::Fast).unwrap()).await;
    }

    /// Starts the stopped server again, on the same port, and returns when it accepts connections.
    pub async fn start(&self) {
        self.blocking(|server| server.resume().unwrap()).await;
    }

    async fn blocking(&self, step: impl FnOnce(&mut Server) + Send + 'static) {
        let server = Arc::clone(&self.server);
        spawn_blocking(move || step(&mut lock(&server))).await.unwrap();
    }
}

/// A pool that leaves connections for the other tests.
pub(crate) fn small_pool() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(8)
}

/// Starts a server and migrates one database; blocks.
fn boot(options: ServerOptions) -> Server {
    let server = Server::start(options.set("max_connections", "200")).expect("start a throw-away Postgres");
    server.create_database(MIGRATED).expect("create the migrated database");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(migrate(&server.database_url(MIGRATED)));
    server
}

/// The binaries to test on: those named for the matrix, those found, or those installed now.
fn binaries() -> PgBin {
    if let Some(dir) = env::var_os(BIN_VARIABLE).filter(|dir| !dir.is_empty()) {
        return PgBin::at(dir).unwrap_or_else(|refused| panic!("{BIN_VARIABLE}: {refused}"));
    }
    find_binaries().unwrap_or_else(|missing| {
        eprintln!("{missing}");
        install(|step| eprintln!("$ {step}")).unwrap_or_else(|error| panic!("{error}"))
    })
}

fn lock(server: &Mutex<Server>) -> MutexGuard<'_, Server> {
    server.lock().expect("no step on the server panicked")
}
