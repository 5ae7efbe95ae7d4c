//! The REST API: HTTP in, one store verb, HTTP out. Owns routes, wire types, status codes and problem documents; never a
//! decision about a job (that is `jobqueue_core`) and never SQL (that is `jobqueue_store`).
//!
//! [`run`] is the binary. A program that embeds the API (the demo) makes a [`ApiState`] and serves [`router`] itself.

pub mod args;
mod census;
mod coalesce;
mod cursor;
mod extract;
mod long_poll;
mod metrics;
mod middleware;
pub mod openapi;
mod probe;
mod problem;
mod remote;
mod router;
mod routes;
mod state;
mod submitter;
mod wait;
mod wire;

use anyhow::Context as _;
use jobqueue_runtime::admin::{self, Admin};
use jobqueue_runtime::{DatabaseArgs, Pooler, Shutdown, http};
use jobqueue_store::{Store, StoreError, StoreOptions};
use prometheus::Registry;
use tokio::net::TcpListener;

use crate::args::{ApiArgs, MigrateArgs};

pub use probe::probe;
pub use problem::refuse;
pub use router::{Access, Route, Scope, router, table};
pub use state::{ApiState, Settings};
pub use wait::wait;

/// Serves the API until the shutdown. Starts even while the database is away; then `/ready` says so until it is back.
pub async fn run(args: ApiArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let settings = args.settings()?;
    let store = Store::connect_lazy(&store_options(&args.database, "jobqueue-api"))?;
    refuse_unknown_schema(&store).await?;
    let registry = Registry::new();
    admin::register_process_metrics(&registry)?;
    let state = ApiState::start(&store, &settings, &shutdown, &registry)?;
    let readiness = state.readiness().clone();
    admin::serve(args.admin.admin_addr, Admin { registry, readiness }, &shutdown)
        .await
        .context("the admin port")?;
    let listener =
        TcpListener::bind(args.api_addr).await.with_context(|| format!("API_ADDR {}", args.api_addr))?;
    let addr = listener.local_addr()?;
    tracing::info!(api.addr = %addr, api.insecure = args.insecure, "listening for API requests");
    shutdown.force_after(args.api_shutdown_grace);
    shutdown.spawn_service("api", {
        let (router, limits, shutdown) = (router(state), args.http_limits(), shutdown.clone());
        async move {
            http::serve(listener, router, limits, shutdown).await;
            Ok(())
        }
    });
    Ok(())
}

/// Applies missing migrations and prints which.
pub async fn migrate(args: MigrateArgs) -> anyhow::Result<()> {
    let migrated = Store::migrate(&args.database.url()).await?;
    for name in &migrated.now {
        println!("applied {name}");
    }
    println!("{} applied now, {} in all", migrated.now.len(), migrated.total);
    Ok(())
}

/// How the store reaches the database that the arguments name.
fn store_options(args: &DatabaseArgs, application_name: &str) -> StoreOptions {
    StoreOptions {
        url: args.url(),
        application_name: application_name.to_owned(),
        max_connections: args.database_max_connections,
        connect_timeout: args.database_connect_timeout,
        pooler: match args.database_pooler {
            Pooler::None => jobqueue_store::Pooler::None,
            Pooler::Transaction => jobqueue_store::Pooler::Transaction,
        },
    }
}

/// A database that answers with a schema which this build does not know will not get better by waiting.
async fn refuse_unknown_schema(store: &Store) -> anyhow::Result<()> {
    match store.check_schema().await {
        Err(error @ StoreError::Schema(_)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(
                error.class = error.class(),
                "the database is away; serving, and not ready until it is back"
            );
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
