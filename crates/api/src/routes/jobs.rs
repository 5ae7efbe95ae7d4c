//! Routes of jobs, one file per action.

mod accepted;
pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod cancel;
pub(crate) mod count;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod enqueue;
pub(crate) mod explain;
mod filter;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod promote;
pub(crate) mod record;
pub(crate) mod retry;
pub(crate) mod show;
pub(crate) mod stream;
