//! Tests of the whole platform as it is deployed: real binaries, a real Postgres, real signals, and HTTP. Each module
//! is a scenario. They share the processes ([`cluster`]), the client, the handlers and their [`ledger`], the load, the
//! [`history`] of the requests, and the [`checker`].
//!
//! Tests observe processes only as an operator can: over HTTP, in log lines, by exit codes and in the database.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod abort;
mod checker;
mod client;
mod cluster;
mod control;
mod crash;
mod dashboard;
mod deleted;
mod drain;
mod evidence;
mod explain;
mod exposition;
mod frozen;
mod history;
mod ledger;
mod lifecycle;
mod load;
mod lost_answer;
mod one_machine;
mod operations;
mod outage;
mod pages;
mod pgbouncer;
mod reapers;
mod restore;
mod roles;
mod rotate;
mod schedules;
mod sql_arrivals;
mod streams;
mod terminated;
mod tls;
mod unstable;
mod upgrade;
mod urls;
mod vanished;
mod webhooks;
mod zombie;
