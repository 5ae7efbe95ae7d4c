//! A page of jobs.

use serde::Serialize;
use utoipa::ToSchema;

use super::job::JobView;

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageView {
    /// Newest first.
    pub(crate) jobs: Vec<JobView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}
