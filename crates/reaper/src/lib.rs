//! Every duty that runs without a request: reclaim, promote, expire, prune, census.
//!
//! A duty reads the state, does what is due and forgets; it takes no input and keeps nothing, so it may be killed at any
//! moment and several reapers may run at once. It must never decide what becomes of a job: that is `core::settle`.

mod args;
mod duties;
mod duty;
mod metrics;

use std::sync::Arc;

use anyhow::Context as _;
use jobqueue_runtime::admin::{self, Admin, Check, Readiness};
use jobqueue_runtime::{ConfigError, Pooler as PoolerArg, Shutdown};
use jobqueue_store::{Notifier, Pooler, Store, StoreError, StoreOptions};
use prometheus::Registry;

pub use args::{Args, DutyArgs};
pub use duties::{Census, Expire, Promote, Prune, Reclaim};
pub use duty::{Done, Duty, Step};
use metrics::Metrics;

/// Starts all duties and the admin port; they run until the shutdown begins.
pub async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = Store::connect_lazy(&store_options(&args))
        .map_err(|error| ConfigError(format!("DATABASE_URL is not usable: {error}")))?;
    if let Err(StoreError::Schema(reason)) = store.check_schema().await {
        return Err(ConfigError(reason).into());
    }
    let registry = Registry::new();
    admin::register_process_metrics(&registry)?;
    let metrics = Arc::new(Metrics::new(&registry)?);
    start(&store, &args.duties, &metrics, &shutdown);
    let readiness = readiness(metrics);
    admin::serve(args.admin.admin_addr, Admin { registry, readiness }, &shutdown)
        .await
        .context("ADMIN_ADDR")?;
    Ok(())
}

/// Starts the duties alone, for a process that runs more than the reaper.
fn start(store: &Store, args: &DutyArgs, metrics: &Arc<Metrics>, shutdown: &Shutdown) {
    let (notifier, sending) = Notifier::new(store);
    shutdown.spawn(sending);
    let duties: Vec<Box<dyn Duty>> = vec![
        Box::new(Reclaim::new(args)),
        Box::new(Promote::new(args)),
        Box::new(Expire::new(args)),
        Box::new(Census::new(args)),
        Box::new(Prune::new(args)),
    ];
    for duty in duties {
        // before anybody can ask: a duty that nobody expects is never late
        metrics.expect(duty.name(), duty.interval());
        shutdown.spawn(duty::repeat(
            duty,
            store.clone(),
            notifier.clone(),
            metrics.clone(),
            shutdown.clone(),
        ));
    }
}

/// Ready means: the duty that runs most often reaches the database, and every duty has lately succeeded. Asks nobody: the
/// duties know.
fn readiness(metrics: Arc<Metrics>) -> Readiness {
    Readiness::new(move || {
        let database =
            metrics.problem("promote").map_or(Check::pass("database"), |why| Check::fail("database", why));
        let late = metrics.late();
        let duties = if late.is_empty() {
            Check::pass("duties")
        } else {
            Check::fail("duties", format!("no recent success: {}", late.join(", ")))
        };
        std::future::ready(vec![database, duties])
    })
}

fn store_options(args: &Args) -> StoreOptions {
    StoreOptions {
        url: args.database.url(),
        application_name: "jobqueue-reaper".to_owned(),
        max_connections: args.database.database_max_connections,
        connect_timeout: args.database.database_connect_timeout,
        pooler: match args.database.database_pooler {
            PoolerArg::None => Pooler::None,
            PoolerArg::Transaction => Pooler::Transaction,
        },
    }
}
