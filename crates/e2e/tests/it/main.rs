//! The whole platform as it is deployed: real binaries, a real Postgres, real signals, HTTP from outside. Each module is
//! a scenario; what they share are the processes ([`cluster`]), the client, what handlers write down ([`ledger`]), the
//! load, and the checker of what clients and handlers saw ([`history`], [`checker`]).
//!
//! No test here may look into a process: what cannot be seen over HTTP, in a log line, by a signal or in the database
//! cannot be seen by an operator either.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod abort;
mod checker;
mod client;
mod cluster;
mod crash;
mod drain;
mod evidence;
mod exposition;
mod history;
mod ledger;
mod lifecycle;
mod load;
mod lost_answer;
mod operations;
mod outage;
mod pgbouncer;
mod reapers;
mod restore;
mod terminated;
mod tls;
mod zombie;
