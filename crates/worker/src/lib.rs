//! The worker: it leases jobs, runs them, settles them and drains on shutdown. A library, and the
//! `jobqueue-worker` binary.
//!
//! A handler sees a [`JobContext`] and never the database. `jobqueue_core::settle` alone decides what an
//! outcome means for the job. A worker of your own:
//!
//! ```no_run
//! use jobqueue_worker::{HandlerError, JobContext, Shutdown, Worker};
//!
//! #[derive(serde::Deserialize)]
//! struct SendEmail {
//!     to: String,
//! }
//!
//! # async fn example(shutdown: Shutdown) -> anyhow::Result<()> {
//! Worker::at("postgresql://localhost/jobqueue")
//!     .queues(["emails=3", "default"])
//!     .slots(10)
//!     .handle("send_email", async |context: JobContext, email: SendEmail| {
//!         context.log(format!("to {}", email.to));
//!         Ok(email.to.len())
//!     })
//!     .build()?
//!     .run(shutdown)
//!     .await
//! # }
//! ```

mod args;
mod builder;
mod command;
mod config;
mod control;
mod dispatcher;
mod durations;
mod end_rate;
mod ended;
mod executor;
mod handler;
mod heartbeat;
mod http;
mod lease_calls;
mod memory;
mod metrics;
mod options;
mod pod_cost;
mod protect;
mod queues;
mod running;
mod shared;
mod stop_times;
mod wake_up;
mod worker;

use jobqueue_runtime::AdminArgs;
use jobqueue_runtime::admin::{self, Admin};

pub use args::{WorkerArgs, WorkerCli};
pub use builder::WorkerBuilder;
pub use handler::{
    Handler, HandlerError, HandlerFuture, HandlerResult, JobContext, ProgressError, StopReason,
};
pub use jobqueue_core::{Failure, Json};
pub use jobqueue_runtime::{ConfigError, Shutdown};
pub use jobqueue_store::{DatabaseUrl, Pooler, StoreOptions};
pub use protect::protect_secrets;
pub use wake_up::Waker;
pub use worker::Worker;

/// Runs a worker with the handlers of its configuration file, and an admin port, beside other services of the
/// same process.
///
/// # Errors
/// The configuration is invalid, the admin port is in use, or this build does not know the database's schema.
pub async fn run(args: WorkerCli, shutdown: Shutdown) -> anyhow::Result<()> {
    let worker = args.worker.builder(&args.database)?;
    serve(worker, args.admin, shutdown.clone()).await?;
    // a command may have ended the worker, but not the other services of the process
    shutdown.soft().cancelled().await;
    Ok(())
}

/// Runs the binary: a worker that owns its process, so it also kills and reaps everything that its programs leave
/// behind.
///
/// # Errors
/// As [`run`].
pub async fn run_alone(args: WorkerCli, shutdown: Shutdown) -> anyhow::Result<()> {
    protect::warn_if_readable();
    let worker = args.worker.builder(&args.database)?.adopt_orphans();
    serve(worker, args.admin, shutdown).await
}

async fn serve(worker: WorkerBuilder, admin: AdminArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let worker = worker.build()?;
    let registry = worker.registry().clone();
    admin::register_process_metrics(&registry)?;
    let readiness = worker.readiness();
    admin::serve(admin.admin_addr, Admin { registry, readiness }, &shutdown)?;
    worker.run(shutdown).await
}

/// Compiles the programs of the page as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/rust-worker.md")]
struct RustWorkerPage;
