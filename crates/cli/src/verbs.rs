//! The client commands, one file each. Each calls the API and prints; none of them decides anything about a job.

pub(crate) mod act;
pub(crate) mod api_key;
pub(crate) mod apply;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod count;
pub(crate) mod delete;
pub(crate) mod delete_named;
pub(crate) mod describe;
pub(crate) mod dlq;
pub(crate) mod doctor;
pub(crate) mod edit;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod kind;
pub(crate) mod logs;
pub(crate) mod pause;
pub(crate) mod queue;
pub(crate) mod route;
pub(crate) mod schedule;
pub(crate) mod stats;
pub(crate) mod submit;
pub(crate) mod top;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod worker;
