//! Every refusal, as RFC 9457 `application/problem+json`. Owns status codes, stable types and the mapping of store errors;
//! never lets an internal text out.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jobqueue_core::FieldError;
use jobqueue_store::StoreError;
use serde_json::{Map, Value, json};

use crate::middleware::request_id::{self, X_REQUEST_ID};

/// The media type of every refusal.
const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong, by the word that clients may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidBody,
    FilterTooBroad,
    IdempotencyKeyReused,
    IdempotencyKeyInUse,
    HeaderTooLarge,
    TooBusy,
    Internal,
    Unavailable,
}

impl Kind {
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", "The request is malformed"),
            Self::InvalidJson => (StatusCode::BAD_REQUEST, "invalid-json", "The body is not acceptable JSON"),
            Self::InvalidQuery => (StatusCode::BAD_REQUEST, "invalid-query", "A query parameter is wrong"),
            Self::InvalidPath => {
                (StatusCode::BAD_REQUEST, "invalid-path", "The path holds no valid name or id")
            }
            Self::InvalidCursor => {
                (StatusCode::BAD_REQUEST, "invalid-cursor", "The cursor is not one of ours")
            }
            Self::InvalidIdempotencyKey => {
                (StatusCode::BAD_REQUEST, "invalid-idempotency-key", "The Idempotency-Key is wrong")
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid key is required"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The key does not allow this"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not have this method")
            }
            Self::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "request-timeout", "The request came too slowly")
            }
            Self::WrongStatus => {
                (StatusCode::CONFLICT, "wrong-status", "The job's status does not allow this")
            }
            Self::UniqueConflict => {
                (StatusCode::CONFLICT, "unique-conflict", "Another job holds the unique key")
            }
            Self::JobExpired => (StatusCode::CONFLICT, "job-expired", "The job has expired"),
            Self::StaleLease => (StatusCode::CONFLICT, "stale-lease", "The lease was lost or used before"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be application/json",
            ),
            Self::InvalidBody => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-body", "Fields of the body are wrong")
            }
            Self::FilterTooBroad => {
                (StatusCode::UNPROCESSABLE_ENTITY, "filter-too-broad", "The filter walks too many jobs")
            }
            Self::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The Idempotency-Key belongs to another request",
            ),
            Self::IdempotencyKeyInUse => (
                StatusCode::CONFLICT,
                "idempotency-key-in-use",
                "The request with this Idempotency-Key is still under way",
            ),
            Self::HeaderTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "header-too-large",
                "The request line and headers are too large",
            ),
            Self::TooBusy => (StatusCode::TOO_MANY_REQUESTS, "too-busy", "Too much at once"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server has a defect"),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The service is not available")
            }
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

    /// The nearest kind for an answer that was not made by us.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
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

/// A refusal on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    kind: Kind,
    detail: String,
    errors: Vec<Value>,
    extra: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A refusal with a sentence for its reader.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let headers = match kind {
            Kind::TooBusy | Kind::IdempotencyKeyInUse => vec![(RETRY_AFTER, HeaderValue::from_static("1"))],
            Kind::Unavailable => vec![(RETRY_AFTER, HeaderValue::from_static("2"))],
            _ => vec![],
        };
        Self(Box::new(Parts { kind, detail: detail.into(), errors: vec![], extra: Map::new(), headers }))
    }

    /// Wrong fields of a body, all at once.
    pub(crate) fn fields(errors: &[FieldError]) -> Self {
        let mut problem = Self::new(Kind::InvalidBody, "see `errors`");
        problem.0.errors = errors.iter().map(|error| json!(error)).collect();
        problem
    }

    /// One wrong field of a body.
    pub(crate) fn field(pointer: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::fields(&[FieldError::new(pointer, code, message)])
    }

    /// A wrong query parameter.
    pub(crate) fn parameter(name: &str, message: impl Into<String>) -> Self {
        let mut problem = Self::new(Kind::InvalidQuery, "see `errors`");
        problem.0.errors = vec![json!({ "parameter": name, "code": "invalid", "message": message.into() })];
        problem
    }

    /// There is no job with this id.
    pub(crate) fn no_job() -> Self {
        Self::new(Kind::NotFound, "there is no job with this id; it never existed or its retention ended")
    }

    /// The key came with another request before.
    pub(crate) fn key_reused() -> Self {
        Self::new(
            Kind::IdempotencyKeyReused,
            "an earlier request with this Idempotency-Key had another body; use a new key for a new request",
        )
    }

    /// A defect of ours; what it was is in the log.
    pub(crate) fn internal() -> Self {
        Self::new(Kind::Internal, "the request was not understood by the server itself; its log knows more")
    }

    /// The same with a member more.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The same with field errors.
    pub(crate) fn with_errors(mut self, errors: &[FieldError]) -> Self {
        self.0.errors = errors.iter().map(|error| json!(error)).collect();
        self
    }

    /// The same with a header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The document.
    pub(crate) fn to_json(&self, request_id: Option<&str>) -> Value {
        let Parts { kind, detail, errors, extra, .. } = &*self.0;
        let (status, slug, title) = kind.row();
        let mut document = Map::new();
        document.insert("type".to_owned(), format!("urn:jobqueue:problem:{slug}").into());
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
        match error {
            error if error.is_transient() => {
                tracing::debug!(error.class = error.class(), %error, "the database is not available");
                Self::new(
                    Kind::Unavailable,
                    "the database is not available; whether a change was made is unknown, so send it again with its \
                     Idempotency-Key",
                )
            }
            StoreError::TooBroad => Self::new(
                Kind::FilterTooBroad,
                "the filter matches few of very many jobs; add a status, a queue or a time range",
            ),
            StoreError::Schema(sentence) => {
                tracing::error!(sentence, "unknown schema");
                Self::new(Kind::Unavailable, "the database has another schema than this build")
            }
            error => {
                tracing::error!(error.class = error.class(), %error, "a store call failed");
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
        // The body is written by `finish`, which knows the request's id.
        response.extensions_mut().insert(self);
        response
    }
}

/// The answer to bytes that never became a request; for [`HttpLimits::refuse`](jobqueue_runtime::HttpLimits).
pub fn refuse(status: StatusCode) -> Response<String> {
    let detail = match status {
        StatusCode::REQUEST_TIMEOUT => "the header of a request must arrive within seconds",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "send fewer or shorter headers, or a shorter path",
        _ => "these bytes are no HTTP/1.1 request",
    };
    let problem = Problem::new(Kind::of_status(status), detail);
    let id = request_id::fresh();
    tracing::debug!(request_id = ?id, http.status = status.as_u16(), detail, "bytes refused before they were a request");
    let mut response = Response::new(problem.to_json(id.to_str().ok()).to_string());
    *response.status_mut() = problem.kind().status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

/// Writes the document into a refused response, ours or the framework's own.
pub(crate) fn finish(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    let ours = response.extensions_mut().remove::<Problem>();
    let problem = match ours {
        Some(problem) => problem,
        None if is_foreign(&response) => {
            Problem::new(Kind::of_status(status), status.canonical_reason().unwrap_or("refused"))
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
