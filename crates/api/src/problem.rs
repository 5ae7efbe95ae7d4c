//! Problem documents: every error response, as RFC 9457 `application/problem+json`. Owns status codes, problem types and the
//! mapping of store errors. Internal error texts are logged, never sent.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jobqueue_core::{FieldError, QueueName};
use jobqueue_store::StoreError;
use serde_json::{Map, Value, json};

use crate::middleware::request_id::{self, X_REQUEST_ID};

/// The media type of problem documents.
const PROBLEM_JSON: &str = "application/problem+json";

/// The type of a problem. Clients may rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    BadRequest,
    InvalidJson,
    InvalidQuery,
    InvalidPath,
    InvalidCursor,
    InvalidIdempotencyKey,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    WrongStatus,
    UniqueConflict,
    JobExpired,
    StaleLease,
    QueueNotEmpty,
    LimitReached,
    NameTaken,
    ScheduleInvalid,
    TooManyRoutes,
    PreconditionFailed,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidBody,
    FilterTooBroad,
    IdempotencyKeyReused,
    IdempotencyKeyInUse,
    HeaderTooLarge,
    TooBusy,
    RateLimited,
    QueueFull,
    Internal,
    Unavailable,
}

impl ProblemKind {
    /// Every kind, in the order of declaration.
    pub(crate) const ALL: [Self; 33] = [
        Self::BadRequest,
        Self::InvalidJson,
        Self::InvalidQuery,
        Self::InvalidPath,
        Self::InvalidCursor,
        Self::InvalidIdempotencyKey,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::WrongStatus,
        Self::UniqueConflict,
        Self::JobExpired,
        Self::StaleLease,
        Self::QueueNotEmpty,
        Self::LimitReached,
        Self::NameTaken,
        Self::ScheduleInvalid,
        Self::TooManyRoutes,
        Self::PreconditionFailed,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidBody,
        Self::FilterTooBroad,
        Self::IdempotencyKeyReused,
        Self::IdempotencyKeyInUse,
        Self::HeaderTooLarge,
        Self::TooBusy,
        Self::RateLimited,
        Self::QueueFull,
        Self::Internal,
        Self::Unavailable,
    ];

    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", "Bad request"),
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "invalid-json", "Invalid JSON"),
            Self::InvalidQuery => (StatusCode::BAD_REQUEST, "invalid-query", "Invalid query parameter"),
            Self::InvalidPath => (StatusCode::BAD_REQUEST, "invalid-path", "Invalid name or id in the path"),
            Self::InvalidCursor => (StatusCode::BAD_REQUEST, "invalid-cursor", "Invalid cursor"),
            Self::InvalidIdempotencyKey => {
                (StatusCode::BAD_REQUEST, "invalid-idempotency-key", "Invalid Idempotency-Key")
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed")
            }
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request-timeout", "Request timeout"),
            Self::WrongStatus => {
                (StatusCode::CONFLICT, "wrong-status", "The job's status does not allow this")
            }
            Self::UniqueConflict => {
                (StatusCode::CONFLICT, "unique-conflict", "Another job holds the unique key")
            }
            Self::JobExpired => (StatusCode::CONFLICT, "job-expired", "The job has expired"),
            Self::StaleLease => (StatusCode::CONFLICT, "stale-lease", "Stale lease"),
            Self::QueueNotEmpty => (StatusCode::CONFLICT, "queue-not-empty", "The queue has jobs"),
            Self::LimitReached => (StatusCode::CONFLICT, "limit-reached", "Limit reached"),
            Self::NameTaken => (StatusCode::CONFLICT, "name-taken", "Another one has this name"),
            Self::ScheduleInvalid => (StatusCode::CONFLICT, "schedule-invalid", "The schedule is invalid"),
            Self::TooManyRoutes => (StatusCode::CONFLICT, "too-many-routes", "Too many routes"),
            Self::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, "precondition-failed", "Precondition failed")
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Content too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::InvalidBody => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-body", "Invalid body"),
            Self::FilterTooBroad => {
                (StatusCode::UNPROCESSABLE_ENTITY, "filter-too-broad", "Filter too broad")
            }
            Self::IdempotencyKeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency-Key reused")
            }
            Self::IdempotencyKeyInUse => {
                (StatusCode::CONFLICT, "idempotency-key-in-use", "Idempotency-Key in use")
            }
            Self::HeaderTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "header-too-large",
                "Request header fields too large",
            ),
            Self::TooBusy => (StatusCode::TOO_MANY_REQUESTS, "too-busy", "Too many requests"),
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many requests"),
            Self::QueueFull => (StatusCode::TOO_MANY_REQUESTS, "queue-full", "The queue is full"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal server error"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Service unavailable"),
        }
    }

    /// The HTTP status.
    pub(crate) const fn status(self) -> StatusCode {
        self.row().0
    }

    /// The last part of the type.
    pub(crate) const fn slug(self) -> &'static str {
        self.row().1
    }

    /// The `type` in the document.
    pub(crate) fn urn(self) -> String {
        format!("urn:jobqueue:problem:{}", self.slug())
    }

    /// The nearest kind for an error response of a library.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
            StatusCode::PRECONDITION_FAILED => Self::PreconditionFailed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::UNPROCESSABLE_ENTITY => Self::InvalidBody,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::HeaderTooLarge,
            StatusCode::TOO_MANY_REQUESTS => Self::TooBusy,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            status if status.is_client_error() => Self::BadRequest,
            _ => Self::Internal,
        }
    }
}

/// An error response.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    kind: ProblemKind,
    detail: String,
    errors: Vec<Value>,
    extra: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Why the database could not be used: a short cause and the error text, for the log. Never sent.
    outage: Option<(&'static str, String)>,
    /// Whether a response with status 5xx needs no log line of its own.
    is_expected: bool,
}

impl Problem {
    /// A problem with a sentence for the client's developer.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let headers = match kind {
            ProblemKind::TooBusy | ProblemKind::IdempotencyKeyInUse => {
                vec![(RETRY_AFTER, HeaderValue::from_static("1"))]
            }
            ProblemKind::Unavailable => vec![(RETRY_AFTER, HeaderValue::from_static("2"))],
            _ => vec![],
        };
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            errors: vec![],
            extra: Map::new(),
            headers,
            outage: None,
            is_expected: false,
        }))
    }

    /// Invalid fields of a body, all at once.
    pub(crate) fn fields(errors: &[FieldError]) -> Self {
        let mut problem = Self::new(ProblemKind::InvalidBody, "see `errors`");
        problem.0.errors = errors.iter().map(|error| json!(error)).collect();
        problem
    }

    /// One invalid field of a body.
    pub(crate) fn field(pointer: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::fields(&[FieldError::new(pointer, code, message)])
    }

    /// An invalid query parameter.
    pub(crate) fn parameter(name: &str, message: impl Into<String>) -> Self {
        let mut problem = Self::new(ProblemKind::InvalidQuery, "see `errors`");
        problem.0.errors = vec![json!({ "parameter": name, "code": "invalid", "message": message.into() })];
        problem
    }

    /// There is no job with this id.
    pub(crate) fn no_job() -> Self {
        Self::new(
            ProblemKind::NotFound,
            "no job has this id; it never existed, or it was deleted after its retention",
        )
    }

    /// The key was used with a different request before.
    pub(crate) fn key_reused() -> Self {
        Self::new(
            ProblemKind::IdempotencyKeyReused,
            "an earlier request with this Idempotency-Key had a different body; use a new key for a new request",
        )
    }

    /// The queue has `max_queued` and no room. Nothing was stored.
    pub(crate) fn queue_full(queue: &QueueName, retry_after_seconds: u32) -> Self {
        let detail =
            format!("the queue {queue} has no room below its `max_queued`; wait {retry_after_seconds} s");
        Self::new(ProblemKind::QueueFull, detail)
            .with("queue", queue.as_str())
            .with("retry_after_seconds", retry_after_seconds)
            .with_header(RETRY_AFTER, retry_after_seconds.into())
    }

    /// A defect of the server. The log has the cause.
    pub(crate) fn internal() -> Self {
        Self::new(ProblemKind::Internal, "see the log of the server for this request id")
    }

    /// Adds a member.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    /// Adds field errors.
    pub(crate) fn with_errors(mut self, errors: &[FieldError]) -> Self {
        self.0.errors = errors.iter().map(|error| json!(error)).collect();
        self
    }

    /// Adds a header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The store did not answer within the time limit of a request.
    pub(crate) fn unanswered() -> Self {
        StoreError::Abandoned("no answer within the time limit of a request".to_owned()).into()
    }

    /// The cause and the error text of the outage behind this problem, for the log.
    pub(crate) fn outage(&self) -> Option<(&'static str, &str)> {
        self.0.outage.as_ref().map(|(cause, error)| (*cause, error.as_str()))
    }

    /// The refusal is a limit that was reached, or something that is logged elsewhere: many clients may get it at once.
    pub(crate) fn expected(mut self) -> Self {
        self.0.is_expected = true;
        self
    }

    /// Whether the response needs no log line of its own.
    pub(crate) fn is_expected(&self) -> bool {
        self.0.is_expected
    }

    pub(crate) fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// The sentence for the client's developer.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The document.
    pub(crate) fn to_json(&self, request_id: Option<&str>) -> Value {
        let Parts { kind, detail, errors, extra, .. } = &*self.0;
        let (status, _, title) = kind.row();
        let mut document = Map::new();
        document.insert("type".to_owned(), kind.urn().into());
        document.insert("title".to_owned(), title.into());
        document.insert("status".to_owned(), status.as_u16().into());
        document.insert("detail".to_owned(), detail.as_str().into());
        if !errors.is_empty() {
            document.insert("errors".to_owned(), errors.clone().into());
        }
        document.extend(extra.clone());
        if let Some(request_id) = request_id {
            document.insert("request_id".to_owned(), request_id.into());
        }
        document.into()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::TooBroad => Self::new(
                ProblemKind::FilterTooBroad,
                "the filter matches few of very many jobs; add a status, a queue or a time range",
            ),
            error if error.is_transient() => {
                let detail = match error {
                    StoreError::Schema(_) => "this build does not support the schema of the database",
                    _ => {
                        "the database is unavailable, and it is unknown whether the request took effect; repeat it with the \
                         same Idempotency-Key"
                    }
                };
                let mut problem = Self::new(ProblemKind::Unavailable, detail);
                problem.0.outage = Some((error.word(), error.to_string()));
                problem
            }
            error => {
                tracing::error!(cause = error.word(), %error, "a store call failed");
                Self::internal()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.kind().status();
        for (name, value) in &self.0.headers {
            response.headers_mut().append(name, value.clone());
        }
        // `finish` writes the body, because it knows the request id
        response.extensions_mut().insert(self);
        response
    }
}

/// The response to bytes that are not a valid request; for [`HttpLimits::refuse`](jobqueue_runtime::HttpLimits).
pub fn refuse(status: StatusCode) -> Response<String> {
    let detail = match status {
        StatusCode::REQUEST_TIMEOUT => "the header of the request did not arrive in time",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "send fewer or shorter headers, or a shorter path",
        _ => "this is not a valid HTTP/1.1 request",
    };
    let problem = Problem::new(ProblemKind::of_status(status), detail);
    let id = request_id::fresh();
    tracing::debug!(request_id = ?id, http.status = status.as_u16(), detail, "invalid request refused");
    let mut response = Response::new(problem.to_json(id.to_str().ok()).to_string());
    *response.status_mut() = problem.kind().status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

/// Writes the problem document into an error response, also into one of a library.
pub(crate) fn finish(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    let ours = response.extensions_mut().remove::<Problem>();
    let problem = match ours {
        Some(problem) => problem,
        None if is_foreign(&response) => {
            Problem::new(ProblemKind::of_status(status), status.canonical_reason().unwrap_or("refused"))
        }
        None => return response,
    };
    let text = problem.to_json(Some(request_id)).to_string();
    let (mut parts, _) = response.into_parts();
    parts.status = problem.kind().status();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    parts.extensions.insert(problem);
    Response::from_parts(parts, Body::from(text))
}

/// An error that some layer made without knowing our shape.
fn is_foreign(response: &Response) -> bool {
    let status = response.status();
    let json = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/"));
    (status.is_client_error() || status.is_server_error()) && !json
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_of_the_api_lists_every_kind_with_its_status() {
        let source = include_str!("problem.rs");
        let (_, after) = source.split_once("enum ProblemKind {\n").unwrap();
        let declared: Vec<&str> = after.lines().take_while(|line| *line != "}").map(str::trim).collect();
        assert_eq!(ProblemKind::ALL.map(|kind| format!("{kind:?},")).to_vec(), declared);
        let page = include_str!("../../../docs/api.md");
        let (_, after) = page.split_once("| type | status | when |").unwrap();
        let table = after.lines().skip(2).take_while(|line| line.starts_with('|'));
        let row = |line: &str| {
            let cells: Vec<String> =
                line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
            (cells[1].clone(), cells[2].clone())
        };
        let listed: Vec<_> = table.map(row).collect();
        let kinds: BTreeSet<_> = ProblemKind::ALL
            .iter()
            .map(|kind| (kind.slug().to_owned(), kind.status().as_u16().to_string()))
            .collect();
        assert_eq!(listed.len(), kinds.len(), "a type twice");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), kinds);
    }
}
