//! Tests of the API with its real router, a real socket and a real Postgres.

#![cfg(test)]

mod aborts;
mod actions;
mod audit;
mod auth;
mod backpressure;
mod bad_input;
mod bad_state;
mod batch;
mod bench;
mod board_stream;
mod client;
mod dashboard;
mod dead_letters;
mod document;
mod early;
mod edits;
mod explain;
mod idempotency;
mod key_checks;
mod key_leaks;
mod key_matrix;
mod keys;
mod leases;
mod lifecycle;
mod listener;
mod listing;
mod long_poll;
mod names;
mod numbers;
mod process;
mod routes;
mod scale;
mod schedules;
mod shapes;
mod snapshots;
mod streams;
mod strictness;
mod submitter;
mod unreachable;
mod vectors;
mod wait;
mod worker_commands;
mod workers;
