//! The store on a real Postgres, a module a verb. What a verb must do is said by `jobqueue_core`; that Postgres does it is
//! shown here.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what surprises a test ends it, with the place where it happened"
)]

mod bench;
mod cancel;
mod checker;
mod collide;
mod enqueue;
mod heartbeat;
mod idempotency;
mod lease;
mod low_water;
mod migrate;
mod mutants;
mod pair;
mod plans;
mod property;
mod prune;
mod read;
mod reclaim;
mod settle;
mod smoke;
mod sql;
mod unique;
