//! Tests of the worker with a real Postgres: as a library in this process, and as a process with real programs and
//! servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure of the test bench ends the test, with the place where it happened"
)]

mod bench;
mod command;
mod deliveries;
mod drain;
mod http;
mod leases;
mod leftovers;
mod load;
mod outage;
mod outcomes;
mod pod_cost;
mod process;
mod refused;
