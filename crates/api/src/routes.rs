//! The routes: each extracts, calls one verb and answers. No route computes a state.

pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod leases;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod queues;
pub(crate) mod stats;
