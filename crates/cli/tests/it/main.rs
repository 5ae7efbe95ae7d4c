//! Tests of the client commands: the real binary against the real API on a real Postgres.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod act;
mod audit;
mod contexts;
mod dead_letters;
mod doctor;
mod edit;
mod errors;
mod get;
mod help;
mod many;
mod payload;
mod queues;
mod routes;
mod schedules;
mod service;
mod submit;
mod terminal;
mod wait;
mod workers;
