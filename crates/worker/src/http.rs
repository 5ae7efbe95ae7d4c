//! The `http` handler: POSTs the job to a URL and maps the response to an outcome. Owns the request. The
//! guard decides after name resolution which addresses may be called.

mod answer;
mod connections;
mod guard;
mod sign;
mod webhook;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use jobqueue_core::Limits;
use reqwest::Url;
use serde::Deserialize;

use crate::durations::time_limit;
use crate::handler::{Handler, HandlerError, HandlerFuture, HandlerResult, JobContext};
use answer::ClientErrors;
use connections::{Connections, NoResponse};
use guard::{Guard, Refused};
use sign::Secrets;

pub(crate) use webhook::WebhookHandler;

/// Defaults of the endpoint's limits.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// The settings of a handler with `type = "http"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpConfig {
    /// The URL to which jobs are sent, `http` or `https`.
    url: String,
    /// The environment variable with the signing secrets: one or more `whsec_…`, separated by spaces, the
    /// newest first. If not set, requests are not signed.
    secret_env: Option<String>,
    /// Time limit of one attempt, up to a week; the job's limit applies if it is shorter. Default 30.
    timeout_seconds: Option<f64>,
    /// The largest response body that is kept as the result; default 1048576, at most the limit of a result.
    /// A larger body is dropped, which does not change what the response means.
    max_response_bytes: Option<usize>,
    /// Hosts, as `host` or `host:port`, that may be called although their addresses are private.
    #[serde(default)]
    allow: Vec<String>,
    /// What a 3xx or 4xx means, except 408, 425 and 429: `fail` (default) ends the job, `retry` retries it.
    #[serde(default)]
    client_errors: ClientErrors,
}

/// See the module.
pub(crate) struct HttpHandler(Arc<Endpoint>);

struct Endpoint {
    content_type: &'static str,
    /// The request target: path and query.
    target: Uri,
    host: HeaderValue,
    connections: Connections,
    secrets: Option<Secrets>,
    limit: Duration,
    max_response: usize,
    client_errors: ClientErrors,
}

impl HttpHandler {
    /// Checks the configuration.
    pub(crate) fn new(config: HttpConfig) -> Result<Self, String> {
        let secrets = config.secret_env.map(|name| Secrets::from_env(&name)).transpose()?;
        let most = config.max_response_bytes.unwrap_or(MAX_RESPONSE_BYTES);
        let endpoint = Endpoint::new(EndpointSettings {
            url: &config.url,
            allow: &config.allow,
            secrets,
            limit: config.timeout_seconds.map_or(Ok(TIMEOUT), time_limit)?,
            max_response: most.min(Limits::default().result_bytes),
            client_errors: config.client_errors,
            content_type: "application/json",
        })?;
        Ok(Self(Arc::new(endpoint)))
    }
}

/// What an endpoint is made of.
struct EndpointSettings<'a> {
    url: &'a str,
    allow: &'a [String],
    secrets: Option<Secrets>,
    limit: Duration,
    max_response: usize,
    client_errors: ClientErrors,
    content_type: &'static str,
}

impl Endpoint {
    /// Checks the URL.
    fn new(settings: EndpointSettings<'_>) -> Result<Self, String> {
        let url = Url::parse(settings.url).map_err(|error| format!("url `{}`: {error}", settings.url))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("url: the scheme must be http or https, not `{}`", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "url must not contain a user or password: they would appear in errors; sign requests instead"
                    .to_owned(),
            );
        }
        let guard = Guard::new(&url, settings.allow)?;
        let unusable = |error: &dyn std::fmt::Display| format!("url `{}`: {error}", settings.url);
        let uri: Uri = url.as_str().parse().map_err(|error| unusable(&error))?;
        let host = uri.authority().map_or("", hyper::http::uri::Authority::as_str);
        Ok(Self {
            target: target(&uri)?,
            host: HeaderValue::from_str(host).map_err(|error| unusable(&error))?,
            connections: Connections::new(uri, guard)
                .map_err(|error| format!("TLS cannot be set up: {error}"))?,
            secrets: settings.secrets,
            limit: settings.limit,
            max_response: settings.max_response,
            client_errors: settings.client_errors,
            content_type: settings.content_type,
        })
    }
}

impl Handler for HttpHandler {
    fn call(&self, context: JobContext) -> HandlerFuture {
        let endpoint = self.0.clone();
        Box::pin(async move { endpoint.deliver(&context).await })
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(self.0.limit)
    }
}

impl Endpoint {
    async fn deliver(&self, context: &JobContext) -> HandlerResult {
        let body = context.payload().as_str().to_owned();
        let mut request = Request::new(Full::new(Bytes::from(body.clone())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers(context, &body)?;
        let sent = tokio::select! {
            sent = self.connections.send(request) => sent,
            // dropping the request closes the connection
            _reason = context.must_stop() => return Err(HandlerError::Cancelled),
        };
        let mut exchange = sent.map_err(failed)?;
        let (outcome, read) =
            answer::outcome(&mut exchange.response, context, self.max_response, self.client_errors).await;
        if read {
            self.connections.keep(exchange);
        }
        outcome
    }

    fn headers(&self, context: &JobContext, body: &str) -> Result<HeaderMap, HandlerError> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("jobqueue/", env!("CARGO_PKG_VERSION"))));
        headers.insert("jobqueue-attempt", context.attempt().into());
        headers.insert("jobqueue-kind", HeaderValue::from_str(context.kind().as_str())?);
        headers.insert("jobqueue-queue", HeaderValue::from_str(context.queue().as_str())?);
        if let Some(traceparent) = context.traceparent() {
            headers.insert("traceparent", HeaderValue::from_str(traceparent)?);
        }
        // the id is the same in every attempt, so the receiver can drop duplicates
        let id = context.id().to_string();
        let timestamp = sign::timestamp();
        headers.insert("webhook-id", HeaderValue::from_str(&id)?);
        headers.insert("webhook-timestamp", timestamp.into());
        if let Some(secrets) = &self.secrets {
            let signatures = secrets.sign(&id, timestamp, body);
            headers.insert("webhook-signature", HeaderValue::from_str(&signatures)?);
        }
        Ok(headers)
    }
}

/// The request target: path and query, without scheme and host.
fn target(uri: &Uri) -> Result<Uri, String> {
    let path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
    path.parse().map_err(|error| format!("url: its path is not valid: {error}"))
}

/// The error of a request without a response. Its text never contains the URL, whose query may be secret.
fn failed(error: NoResponse) -> HandlerError {
    let (kind, error): (_, Box<dyn Error>) = match error {
        NoResponse::Connect(error) => ("connect", error),
        NoResponse::Broken(error) => ("request", error.into()),
    };
    let mut chain = Vec::new();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(next) = cause {
        if let Some(refused) = refused(next) {
            return HandlerError::discard("address_refused", refused.to_string());
        }
        let text = next.to_string();
        if chain.last() != Some(&text) {
            chain.push(text);
        }
        cause = next.source();
    }
    HandlerError::retry(kind, chain.join(": "))
}

/// The guard's rejection, which the connector wraps in an IO error.
fn refused<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Refused> {
    error.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}
