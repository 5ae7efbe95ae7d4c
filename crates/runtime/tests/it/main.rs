//! The runtime through real sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, as tests do")]

mod admin;
mod client;
mod http;
mod open_connections;
