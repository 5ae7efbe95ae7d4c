//! Tests of the reaper's duties on a real Postgres, and of its binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod duties;
mod process;
