//! Ids and names in paths.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use jobqueue_core::{JobId, KeyId, KindName, QueueName, RouteName, ScheduleName, WorkerId};
use uuid::Uuid;

use crate::problem::{Problem, ProblemKind};

/// `{id}`.
#[derive(Debug)]
pub(crate) struct JobPath(pub(crate) JobId);

/// `{name}` of a queue.
#[derive(Debug)]
pub(crate) struct QueuePath(pub(crate) QueueName);

/// `{name}` of a kind.
#[derive(Debug)]
pub(crate) struct KindPath(pub(crate) KindName);

/// `{name}` of a schedule.
#[derive(Debug)]
pub(crate) struct SchedulePath(pub(crate) ScheduleName);

/// `{name}` of a route.
#[derive(Debug)]
pub(crate) struct RoutePath(pub(crate) RouteName);

/// `{group}` of dead letters.
#[derive(Debug)]
pub(crate) struct GroupPath(pub(crate) Uuid);

/// `{redrive_id}`.
#[derive(Debug)]
pub(crate) struct RedrivePath(pub(crate) Uuid);

/// `{key_id}`.
#[derive(Debug)]
pub(crate) struct KeyPath(pub(crate) KeyId);

/// `{worker_id}`.
#[derive(Debug)]
pub(crate) struct WorkerPath(pub(crate) WorkerId);

async fn only(parts: &mut Parts) -> Result<String, Problem> {
    let decoded = Path::<String>::from_request_parts(parts, &()).await;
    decoded
        .map(|Path(text)| text)
        .map_err(|_| Problem::new(ProblemKind::InvalidPath, "the path is not valid UTF-8"))
}

impl<S: Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let detail = "a job id is a hyphenated UUID such as 0198c1a2-3b4c-7d5e-8f60-718293a4b5c6";
        only(parts).await?.parse().map(Self).map_err(|_| Problem::new(ProblemKind::InvalidPath, detail))
    }
}

impl<S: Sync> FromRequestParts<S> for SchedulePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refuse = |error| Problem::new(ProblemKind::InvalidPath, format!("a schedule name {error}"));
        only(parts).await?.parse().map(Self).map_err(refuse)
    }
}

impl<S: Sync> FromRequestParts<S> for RoutePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refuse = |error| Problem::new(ProblemKind::InvalidPath, format!("the name of a route {error}"));
        only(parts).await?.parse().map(Self).map_err(refuse)
    }
}

/// The UUID of this text, if it is hyphenated and in lower case, as we write it.
pub(crate) fn uuid_of(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|id| text == id.hyphenated().to_string())
}

impl<S: Sync> FromRequestParts<S> for GroupPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let detail = "a group is a hyphenated UUID in lower case, as `GET /v1/dead-letters/groups` lists it";
        uuid_of(&only(parts).await?).map(Self).ok_or_else(|| Problem::new(ProblemKind::InvalidPath, detail))
    }
}

impl<S: Sync> FromRequestParts<S> for RedrivePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let detail = "the id of a redrive is a hyphenated UUID in lower case, as `GET /v1/dead-letters/redrives` lists it";
        uuid_of(&only(parts).await?).map(Self).ok_or_else(|| Problem::new(ProblemKind::InvalidPath, detail))
    }
}

impl<S: Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let detail = "the id of a key is 16 hexadecimal digits, as `GET /v1/api-keys` lists it";
        only(parts).await?.parse().map(Self).map_err(|()| Problem::new(ProblemKind::InvalidPath, detail))
    }
}

impl<S: Sync> FromRequestParts<S> for WorkerPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = only(parts).await?;
        uuid_of(&text).map(|id| Self(WorkerId::from_uuid(id))).ok_or_else(|| {
            let detail =
                "the id of a worker is a hyphenated UUID in lower case, as `GET /v1/workers` lists it";
            Problem::new(ProblemKind::InvalidPath, detail)
        })
    }
}

impl<S: Sync> FromRequestParts<S> for QueuePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refuse = |error| Problem::new(ProblemKind::InvalidPath, format!("a queue name {error}"));
        only(parts).await?.parse().map(Self).map_err(refuse)
    }
}

impl<S: Sync> FromRequestParts<S> for KindPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let refuse = |error| Problem::new(ProblemKind::InvalidPath, format!("a kind name {error}"));
        only(parts).await?.parse().map(Self).map_err(refuse)
    }
}
