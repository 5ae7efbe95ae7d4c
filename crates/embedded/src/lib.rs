//! A private Postgres server: found, installed if there is none, started, guarded and stopped.
//!
//! Owns the server's processes and its directory. Never uses jobqueue's tables or a database driver, and
//! never touches a server that it did not start.
//!
//! ```no_run
//! use jobqueue_embedded::{Server, ServerOptions, StopMode, find_binaries};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut server = Server::start(ServerOptions::named(find_binaries()?, ".jobqueue/postgres"))?;
//! server.create_database("jobqueue")?;
//! println!("{}", server.database_url("jobqueue"));
//! server.stop(StopMode::Fast)?;
//! # Ok(())
//! # }
//! ```

mod account;
mod binaries;
mod cluster;
mod error;
mod guard;
mod install;
mod options;
mod server;
mod wire;

pub use account::reachable;
pub use binaries::{MIN_MAJOR, NotFound, PgBin, Version, find_binaries};
pub use error::ServerError;
pub use install::{InstallError, install};
pub use options::ServerOptions;
pub use server::{Server, StopMode};
