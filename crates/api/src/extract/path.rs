//! Ids and names in paths.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use jobqueue_core::{JobId, QueueName};

use crate::problem::{Kind, Problem};
use crate::state::ApiState;

/// `{id}`.
#[derive(Debug)]
pub(crate) struct JobPath(pub(crate) JobId);

/// `{name}` of a queue.
#[derive(Debug)]
pub(crate) struct QueuePath(pub(crate) QueueName);

async fn only(parts: &mut Parts) -> Result<String, Problem> {
    let decoded = Path::<String>::from_request_parts(parts, &()).await;
    decoded.map(|Path(text)| text).map_err(|_| Problem::new(Kind::InvalidPath, "the path is not valid UTF-8"))
}

impl FromRequestParts<ApiState> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let detail = "a job id is a hyphenated UUID such as 0198c1a2-3b4c-7d5e-8f60-718293a4b5c6";
        only(parts).await?.parse().map(Self).map_err(|_| Problem::new(Kind::InvalidPath, detail))
    }
}

impl FromRequestParts<ApiState> for QueuePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let refuse = |error| Problem::new(Kind::InvalidPath, format!("a queue name {error}"));
        only(parts).await?.parse().map(Self).map_err(refuse)
    }
}
