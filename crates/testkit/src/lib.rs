//! What the tests of all crates use: a temporary Postgres, a clock that tests set, a proxy that breaks
//! connections, real binaries, and waiting for conditions. Dev-only: no shipped crate may depend on it.
//! Contains no verb of the queue.
//!
//! Functions here return no errors: a failure ends the test with a panic that says what failed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a failure of the test bench ends the test, with the place where it happened"
)]

// The store's code that applies migrations is included as source, because this crate must not depend on the
// store: the store's query data is generated on a database that is created here.
#[path = "../../store/src/upkeep/migrate/apply.rs"]
mod apply;
mod binary;
mod clock;
mod db;
mod eventually;
mod many;
mod next_release;
mod proxy;
#[path = "../../store/src/upkeep/migrate/record.rs"]
mod record;
mod server;
#[path = "../../store/src/upkeep/migrate/takeover.rs"]
mod takeover;

pub use binary::{Binary, Process, Signal};
pub use clock::Clock;
pub use db::TestDb;
pub use eventually::eventually;
pub use many::many_queues;
pub use next_release::next_release;
pub use proxy::{Fault, FaultProxy};
pub use server::TestServer;
