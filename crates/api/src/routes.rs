//! The routes: each extracts the request, calls the store and answers. No route computes the status of a job.

pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod dead_letters;
pub(crate) mod health;
pub(crate) mod job_routes;
pub(crate) mod jobs;
pub(crate) mod kinds;
pub(crate) mod leases;
mod merge;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod queues;
pub(crate) mod schedules;
pub(crate) mod session;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod workers;
