//! The duties that run without a request: reclaim, promote, schedules, expire, prune, expire_queues, census,
//! dead_letters, redrive, vacuum.
//!
//! A duty reads the state and does what is due. It takes no input and keeps no state that matters, so it may
//! be killed at any time and several reapers may run at once. It does not decide what becomes of a job:
//! `core::settle` does.

mod args;
mod arrivals;
mod duties;
mod duty;
mod metrics;
mod schedule_metrics;

use std::sync::Arc;

use jobqueue_runtime::admin::{self, Admin, Check, Readiness};
use jobqueue_runtime::{ConfigError, PoolerArg, Shutdown};
use jobqueue_store::{DatabaseUrl, Notifier, Pooler, Store, StoreError, StoreOptions};
use prometheus::Registry;

pub use args::{DutyArgs, ReaperCli};
pub use duties::{
    CensusDuty, DeadLettersDuty, ExpireDuty, ExpireQueuesDuty, PromoteDuty, PruneDuty, ReclaimDuty,
    RedriveDuty, SchedulesDuty, VacuumDuty,
};
pub use duty::{Done, Duty, Step};
use metrics::ReaperMetrics;
pub use schedule_metrics::ScheduleMetrics;

/// Starts all duties and the admin port; they run until the shutdown begins.
pub async fn run(args: ReaperCli, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = Store::connect_lazy(&store_options(&args)).map_err(|error| ConfigError(error.to_string()))?;
    if let Err(StoreError::Schema(reason)) = store.check_schema().await {
        return Err(ConfigError(reason).into());
    }
    let registry = Registry::new();
    admin::register_process_metrics(&registry)?;
    let metrics = Arc::new(ReaperMetrics::new(&registry)?);
    start(&store, &args.duties, &metrics, &shutdown);
    let readiness = readiness(metrics);
    admin::serve(args.admin.admin_addr, Admin { registry, readiness }, &shutdown)?;
    Ok(())
}

/// Starts the duties without the admin port.
fn start(store: &Store, args: &DutyArgs, metrics: &Arc<ReaperMetrics>, shutdown: &Shutdown) {
    let (notifier, sending) = Notifier::new(store);
    shutdown.spawn(sending);
    shutdown.spawn({
        let (metrics, shutdown) = (metrics.clone(), shutdown.clone());
        async move { metrics.outages.run(&shutdown).await }
    });
    shutdown.spawn(arrivals::notify(
        store.clone(),
        args.arrivals_interval,
        metrics.clone(),
        shutdown.clone(),
    ));
    let duties: Vec<Box<dyn Duty>> = vec![
        Box::new(ReclaimDuty::new(args)),
        Box::new(PromoteDuty::new(args)),
        Box::new(SchedulesDuty::new(args, metrics.schedules.clone())),
        Box::new(ExpireDuty::new(args)),
        Box::new(CensusDuty::new(args)),
        Box::new(PruneDuty::new(args)),
        Box::new(ExpireQueuesDuty::new(args)),
        Box::new(DeadLettersDuty::new(args)),
        Box::new(RedriveDuty::new(args)),
        Box::new(VacuumDuty::new(args)),
    ];
    for duty in duties {
        // registered before readiness is served: a duty that is not registered is never reported as late
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

/// Ready means that the most frequent duty can reach the database, and that every duty has succeeded
/// recently. Makes no call: it reads what the duties recorded.
fn readiness(metrics: Arc<ReaperMetrics>) -> Readiness {
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

fn store_options(args: &ReaperCli) -> StoreOptions {
    StoreOptions {
        url: DatabaseUrl::new(args.database.url(), args.database.url_file()),
        application_name: "jobqueue-reaper".to_owned(),
        max_connections: args.database.database_max_connections,
        connect_timeout: args.database.database_connect_timeout,
        pooler: match args.database.database_pooler {
            PoolerArg::None => Pooler::None,
            PoolerArg::Transaction => Pooler::Transaction,
        },
    }
}
