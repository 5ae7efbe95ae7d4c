//! Tests of the store on a real Postgres, one module per verb. `jobqueue_core` defines what a verb must do; these tests
//! show that the store does it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what surprises a test ends it, with the place where it happened"
)]

mod audit;
mod backpressure;
mod beat_cost;
mod bench;
mod cancel;
mod checker;
mod collide;
mod commands;
mod dead_letters;
mod delete;
mod deleted;
mod edit;
mod enqueue;
mod explain;
mod forget;
mod heartbeat;
mod idempotency;
mod kinds;
mod lease;
mod low_water;
mod migrate;
mod mutants;
mod names;
mod narrow;
mod outage;
mod pair;
mod plans;
mod property;
mod prune;
mod read;
mod reclaim;
mod roles;
mod routes;
mod scale;
mod schedules;
mod settle;
mod shared_database;
mod smoke;
mod snooze;
mod sql;
mod sql_page;
mod sql_verbs;
mod squash;
mod statistics;
mod stuck;
mod takeover;
mod unique;
mod unreachable;
mod vanished;
mod vectors;
mod waiting;
mod walk;
mod watch;
mod webhooks;
mod workers;
