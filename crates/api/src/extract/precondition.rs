//! The headers `If-Match` and `If-None-Match` of a change. Owns how a version is written in an `ETag`.

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use jobqueue_store::Precondition;

use crate::problem::{Problem, ProblemKind};

/// The condition of a request.
#[derive(Debug)]
pub(crate) struct Condition(pub(crate) Precondition);

/// The `ETag` of a schedule or a route: its number and its version.
pub(crate) fn etag(id: i64, version: i64) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(&format!("\"{id}-{version}\"")).map_err(|_| Problem::internal())
}

impl<S: Sync> FromRequestParts<S> for Condition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let (wanted, refused) = (values(parts, &IF_MATCH)?, values(parts, &IF_NONE_MATCH)?);
        match (wanted.as_slice(), refused.as_slice()) {
            ([], []) => Ok(Self(Precondition::Always)),
            ([any], []) if any == "*" => Ok(Self(Precondition::Present)),
            ([], [any]) if any == "*" => Ok(Self(Precondition::Absent)),
            ([_, ..], []) => versions(&wanted).map(|accepted| Self(Precondition::Version(accepted))),
            _ => Err(invalid()),
        }
    }
}

/// The condition of an edit of a job.
#[derive(Debug)]
pub(crate) enum JobCondition {
    /// There is none, or `*`.
    Any,
    /// The `ETag` of the job is one of these.
    OneOf(Vec<String>),
}

impl JobCondition {
    /// Whether a job with this `ETag` may be edited.
    pub(crate) fn holds(&self, tag: impl FnOnce() -> String) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(&tag()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for JobCondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let invalid =
            || Problem::new(ProblemKind::BadRequest, "send `If-Match` with `*` or with ETags of the job");
        let wanted = values(parts, &IF_MATCH)?;
        if parts.headers.contains_key(IF_NONE_MATCH) {
            return Err(invalid());
        }
        if wanted.is_empty() || wanted == ["*"] {
            return Ok(Self::Any);
        }
        let is_tag = |tag: &String| {
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"')
        };
        if wanted.iter().all(is_tag) { Ok(Self::OneOf(wanted)) } else { Err(invalid()) }
    }
}

/// The members of a header that is a list.
fn values(parts: &Parts, name: &HeaderName) -> Result<Vec<String>, Problem> {
    let mut members = Vec::new();
    for value in parts.headers.get_all(name) {
        let text = value.to_str().map_err(|_| invalid())?;
        members.extend(text.split(',').map(|member| member.trim().to_owned()));
    }
    Ok(members)
}

/// A weak tag, or one of another server, matches nothing.
fn versions(tags: &[String]) -> Result<Vec<(i64, i64)>, Problem> {
    let mut versions = Vec::new();
    for tag in tags {
        let opaque = tag.strip_prefix("W/").unwrap_or(tag);
        let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(invalid)?;
        let numbers = inner.split_once('-').filter(|_| opaque.len() == tag.len());
        let version = numbers.and_then(|(id, version)| Some((id.parse().ok()?, version.parse().ok()?)));
        versions.extend(version);
    }
    Ok(versions)
}

fn invalid() -> Problem {
    let detail = "send one of `If-Match: *`, `If-Match` with an ETag such as \"7-3\", and `If-None-Match: *`";
    Problem::new(ProblemKind::BadRequest, detail)
}
