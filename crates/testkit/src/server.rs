//! The Postgres servers of the tests: one that all tests of a process share, and private ones that a test may
//! crash. Never uses a server that it did not start.

use std::env;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use jobqueue_embedded::{PgBin, Server, ServerOptions, StopMode, find_binaries, install};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::spawn_blocking;

use crate::apply;

/// The directory of the server binaries to use, for tests with other versions.
const BIN_VARIABLE: &str = "JOBQUEUE_TEST_PG_BIN";
/// The database of a [`TestServer`], and on the shared server the one that test databases are copied from.
pub(crate) const MIGRATED: &str = "jobqueue";

/// The server that all tests of this process share. A static is never dropped, so the server's guard ends it
/// when the process ends.
static SHARED: OnceLock<Server> = OnceLock::new();

/// The shared server, with a migrated database to copy from.
///
/// It is started on a blocking thread with its own runtime, so that it still starts if the test that began it
/// is aborted.
pub(crate) async fn shared() -> &'static Server {
    if let Some(server) = SHARED.get() {
        return server;
    }
    spawn_blocking(|| SHARED.get_or_init(|| boot(ServerOptions::temporary(binaries())))).await.unwrap()
}

/// Applies every migration that existed when the tests were compiled.
pub(crate) async fn migrate(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("connect in order to migrate");
    apply::apply(&mut connection).await.expect("apply the migrations");
    connection.close().await.expect("end the migrating connection");
}

/// A server for one test, with a migrated database: for crashes, restarts and settings.
#[derive(Debug)]
pub struct TestServer {
    server: Arc<Mutex<Server>>,
    url: String,
}

impl TestServer {
    /// A server that loses no data in a crash (fsync on), as in production.
    pub async fn durable() -> Self {
        Self::with_settings(&[]).await
    }

    /// A durable server with further settings, as in `postgresql.conf`.
    pub async fn with_settings(settings: &[(&str, &str)]) -> Self {
        let mut options = ServerOptions { durable: true, ..ServerOptions::temporary(binaries()) };
        for (name, value) in settings {
            options = options.set(name, value);
        }
        let server = spawn_blocking(move || boot(options)).await.unwrap();
        Self { url: server.database_url(MIGRATED), server: Arc::new(Mutex::new(server)) }
    }

    /// The URL of the migrated database; it does not change after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A small pool; it belongs to the calling runtime.
    pub fn pool(&self) -> PgPool {
        small_pool().connect_lazy(&self.url).unwrap()
    }

    /// Ends the server at once, as in a crash, and returns when it has ended.
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

/// The server binaries: those of the variable, those that are found, or those that are installed now.
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
