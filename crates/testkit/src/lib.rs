//! What the tests of every crate stand on: a throw-away Postgres, a hand-held clock, a proxy that breaks connections,
//! real binaries, and waiting for events. Dev-only: no shipped crate may depend on it, and it knows no verb of the queue.
//!
//! Everything here ends the test by a panic that says what was being done; nothing returns an error.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a failure of the test bench ends the test, with the place where it happened"
)]

mod binary;
mod clock;
mod db;
mod eventually;
mod proxy;
mod server;

pub use binary::{Binary, Process, Signal};
pub use clock::Clock;
pub use db::TestDb;
pub use eventually::eventually;
pub use proxy::{Fault, FaultProxy};
pub use server::TestServer;
