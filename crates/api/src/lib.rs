//! The REST API: a request becomes one call of the store. Owns routes, wire types, status codes and problem documents.
//! Decisions about jobs are in `jobqueue_core`, SQL is in `jobqueue_store`.
//!
//! [`run`] is the binary. A program that embeds the API creates an [`ApiState`] and serves [`router`] itself.

mod acting;
pub mod args;
mod body_memory;
mod census;
mod coalesce;
mod cursor;
mod extract;
mod keys;
mod long_poll;
mod metrics;
mod middleware;
pub mod openapi;
mod presence;
mod probe;
mod problem;
mod remote;
mod router;
mod routes;
mod routing;
mod scope;
mod session;
mod state;
mod store_access;
mod storing;
mod streams;
mod submissions;
mod submitter;
mod table;
mod wait;
mod wire;

use jobqueue_runtime::admin::{self, Admin};
use jobqueue_runtime::{ConfigError, DatabaseArgs, HttpLimits, PoolerArg, Shutdown, http, listen};
use jobqueue_store::{DatabaseUrl, Store, StoreError, StoreOptions};
use prometheus::Registry;

use crate::args::{ApiArgs, MigrateArgs};

pub use keys::{ProxyGrant, ProxySettings};
pub use middleware::accepts::Accepts;
pub use probe::probe;
pub use problem::refuse;
pub use router::router;
pub use scope::{Access, Scope};
pub use state::{ApiState, Settings};
pub use table::{Route, table};
pub use wait::wait;

/// Serves the API until the shutdown. It starts even if the database is unreachable; `/ready` says so until it answers.
pub async fn run(args: ApiArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let settings = args.settings()?;
    let store = connect(&args.database, "jobqueue-api")?;
    refuse_unknown_schema(&store).await?;
    let registry = Registry::new();
    admin::register_process_metrics(&registry)?;
    let state = ApiState::start(&store, &settings, &shutdown, &registry)?;
    let readiness = state.readiness().clone();
    let metrics = router::admin_routes(&state);
    admin::serve_with(args.admin.admin_addr, Admin { registry, readiness }, metrics, &shutdown)?;
    let listener = listen(args.api_addr, "API_ADDR")?;
    let addr = listener.local_addr()?;
    tracing::info!(api.addr = %addr, api.insecure = args.insecure, "listening for API requests");
    shutdown.force_after(args.api_shutdown_grace);
    shutdown.spawn_service("api", {
        let (router, limits, shutdown) = (router(state), affordable(&args), shutdown.clone());
        async move {
            http::serve(listener, router, limits, shutdown).await;
            Ok(())
        }
    });
    Ok(())
}

/// The limits of the public port. They leave enough open files for the database and the admin port.
fn affordable(args: &ApiArgs) -> HttpLimits {
    let limits = args.http_limits();
    let database = usize::try_from(args.database.database_max_connections).unwrap_or(usize::MAX);
    let reserved = admin::MAX_CONNECTIONS.saturating_add(database);
    let max_connections = http::affordable_connections(limits.max_connections, reserved);
    if max_connections < limits.max_connections {
        tracing::warn!(
            http.max_connections = max_connections,
            api.max_connections = limits.max_connections,
            "API_MAX_CONNECTIONS is reduced to fit the limit of open files of this process"
        );
    }
    HttpLimits { max_connections, ..limits }
}

/// Applies the missing migrations and prints their names.
pub async fn migrate(args: MigrateArgs) -> anyhow::Result<()> {
    let url = DatabaseUrl::new(args.database.url(), args.database.url_file());
    let migrated = Store::migrate(url).await.map_err(|error| match error {
        StoreError::Url(reason) => ConfigError(reason.to_string()).into(),
        StoreError::Schema(reason) => ConfigError(reason).into(),
        other => anyhow::Error::from(other),
    })?;
    for name in &migrated.now {
        println!("applied {name}");
    }
    println!("{} applied now, {} in all", migrated.now.len(), migrated.total);
    Ok(())
}

/// The store for the database that the arguments name. It connects at its first call.
fn connect(args: &DatabaseArgs, application_name: &str) -> Result<Store, ConfigError> {
    let options = StoreOptions {
        url: DatabaseUrl::new(args.url(), args.url_file()),
        application_name: application_name.to_owned(),
        max_connections: args.database_max_connections,
        connect_timeout: args.database_connect_timeout,
        pooler: match args.database_pooler {
            PoolerArg::None => jobqueue_store::Pooler::None,
            PoolerArg::Transaction => jobqueue_store::Pooler::Transaction,
        },
    };
    Store::connect_lazy(&options).map_err(|error| ConfigError(error.to_string()))
}

/// Fails if the database has a schema that this build does not know: waiting would not help.
async fn refuse_unknown_schema(store: &Store) -> anyhow::Result<()> {
    match store.check_schema().await {
        Err(error @ StoreError::Schema(_)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(
                cause = error.word(), %error,
                "the database is unreachable; the API is not ready until it answers"
            );
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
