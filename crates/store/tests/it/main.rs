//! The store on a real Postgres, a module a verb. What a verb must do is said by `jobqueue_core`; that Postgres does it is
//! shown here.

mod bench;
mod cancel;
mod checker;
mod enqueue;
mod heartbeat;
mod idempotency;
mod lease;
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
