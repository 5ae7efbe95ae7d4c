//! Lease, run, settle, drain: the part of the queue that does the work, as a library and as the `jobqueue-worker` binary.
//!
//! A handler sees a [`JobContext`] and never the database; what follows from its outcome is decided by
//! `jobqueue_core::settle`, and nobody here decides again. A worker of your own:
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
mod command;
mod config;
mod dispatcher;
mod executor;
mod handler;
mod heartbeat;
mod http;
mod metrics;
mod options;
mod pod_cost;
mod queues;
mod running;
mod shared;
mod worker;

use anyhow::Context as _;
use jobqueue_runtime::admin::{self, Admin};

pub use args::{Args, WorkerArgs};
pub use handler::{
    Handler, HandlerError, HandlerFuture, HandlerResult, JobContext, ProgressError, StopReason,
};
pub use jobqueue_core::{Failure, Json};
pub use jobqueue_runtime::{ConfigError, Shutdown};
pub use jobqueue_store::{Pooler, StoreOptions};
pub use worker::{Waker, Worker, WorkerBuilder};

/// The binary: a worker with the handlers of its configuration file, and its admin port.
///
/// # Errors
/// A configuration that makes no sense, an admin port that is taken, a schema that this build does not know.
pub async fn run(args: Args, shutdown: Shutdown) -> anyhow::Result<()> {
    let worker = args.worker.builder(&args.database)?.build()?;
    let registry = worker.registry().clone();
    admin::register_process_metrics(&registry)?;
    let admin = Admin { registry, readiness: worker.readiness() };
    admin::serve(args.admin.admin_addr, admin, &shutdown).await.context("ADMIN_ADDR")?;
    worker.run(shutdown).await
}
