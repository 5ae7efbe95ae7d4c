//! The manifests, read as a cluster would read them. Owns no truth of its own: numbers come from the contract, options from the
//! command lines, metric names from the code, routes from the router. Never talks to a cluster.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod admission;
mod alerts;
mod checksums;
mod environment;
mod exported;
mod flat;
mod images;
mod load;
mod manifests;
mod metrics;
mod network;
mod network_matrix;
mod numbers;
mod order;
mod pools;
mod promql;
mod queues;
mod restricted;
mod scaler;
mod scripts;
mod simulation;
mod wiring;
