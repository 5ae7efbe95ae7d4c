//! The reaper against a real Postgres and as a real process.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod duties;
mod process;
