//! The API through its real router, on a real socket, with a real Postgres.

#![cfg(test)]

mod aborts;
mod actions;
mod auth;
mod bad_input;
mod bad_state;
mod batch;
mod bench;
mod client;
mod document;
mod idempotency;
mod leases;
mod lifecycle;
mod listing;
mod long_poll;
mod numbers;
mod process;
mod submitter;
mod wait;
