//! The process shell that every jobqueue binary shares: arguments, telemetry, the admin port, the HTTP accept loop,
//! shutdown and periodic loops.
//!
//! It knows neither jobs nor SQL: readiness is passed in as a closure, metrics as a registry, the database as
//! a URL. Nothing here is global except what only a process can own and [`boot`] sets once: the tracing
//! subscriber, the panic hook and the TLS provider. Three services can therefore run in one process, as
//! `jobqueue demo` does.
//!
//! ```no_run
//! use clap::Parser;
//! use std::process::ExitCode;
//!
//! #[derive(Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     telemetry: jobqueue_runtime::TelemetryArgs,
//! }
//!
//! fn main() -> ExitCode {
//!     let args: Args = jobqueue_runtime::parse_args();
//!     jobqueue_runtime::boot("jobqueue-api", &args.telemetry, |shutdown| async move {
//!         shutdown.soft().cancelled().await; // a real service spawns its loops here and returns
//!         Ok(())
//!     })
//! }
//! ```

pub mod admin;
mod args;
mod backoff;
mod boot;
pub mod build_info;
mod config_error;
mod every;
pub mod http;
mod listen;
mod outages;
mod shutdown;
mod telemetry;
mod tls;
pub mod trace;

pub use args::{
    AdminArgs, DatabaseArgs, LogFormat, LogOutput, PoolerArg, Seconds, SecondsError, TelemetryArgs,
    parse_args, parse_flag, parse_without_env,
};
pub use backoff::{Backoff, next_delay};
pub use boot::boot;
pub use config_error::{ConfigError, EX_USAGE};
pub use every::{every, every_or_woken};
pub use http::HttpLimits;
pub use listen::listen;
pub use outages::OutageLog;
pub use shutdown::Shutdown;
pub use tls::install_tls_provider;
