//! Extractors: from requests to wire types. Owns how requests are read and the problems of malformed ones. Rules about jobs
//! are in the core.

pub(crate) mod idempotency;
pub(crate) mod json;
pub(crate) mod path;
pub(crate) mod precondition;
pub(crate) mod query;
mod shape;
mod strict;
pub(crate) mod trace;

pub(crate) use idempotency::IdempotencyKey;
pub(crate) use json::{JsonBody, Wire};
pub(crate) use path::{
    GroupPath, JobPath, KeyPath, KindPath, QueuePath, RedrivePath, RoutePath, SchedulePath, WorkerPath,
};
pub(crate) use precondition::{Condition, JobCondition};
pub(crate) use query::Query;
pub(crate) use strict::{Refusal, parse};
pub(crate) use trace::Trace;
