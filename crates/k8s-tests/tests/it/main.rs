//! Tests of the manifests, which are read as a cluster would read them. The expected values come from elsewhere:
//! numbers from the contract, options from the command lines, metric names from the code, routes from the router. No
//! test needs a cluster.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod admission;
mod alerts;
mod checksums;
mod cluster;
mod environment;
mod exported;
mod flat;
mod guide;
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
mod versions;
mod wiring;
