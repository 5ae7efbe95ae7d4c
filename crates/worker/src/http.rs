//! The `http` handler: POSTs the job to a URL and reads the answer as its outcome. Owns the request; where it may go is
//! decided by the guard, after the name was resolved.

mod answer;
mod guard;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use jobqueue_core::Json;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls_platform_verifier::BuilderVerifierExt;
use serde::Deserialize;

use crate::command::limit;
use crate::handler::{Handler, HandlerError, HandlerFuture, HandlerResult, JobContext};
use guard::{Guard, Refused};
use sign::Secrets;

/// Limits of an endpoint that sets none.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// Connecting takes longer than this only where nobody listens.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// `type = "http"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpConfig {
    /// Where jobs go, `http` or `https`.
    url: String,
    /// The variable with the signing secrets: one or more `whsec_…`, separated by spaces, the newest first. Without it
    /// requests are not signed.
    secret_env: Option<String>,
    /// Limit of one attempt; the job's own may be shorter. Default 30.
    timeout_seconds: Option<f64>,
    /// Largest answer; default 1048576.
    max_response_bytes: Option<usize>,
    /// Hosts, `host` or `host:port`, that may be called although their addresses are private.
    #[serde(default)]
    allow: Vec<String>,
    /// What a 3xx or 4xx means, apart from 408, 425 and 429: `fail` (default) ends the job, `retry` tries again.
    #[serde(default)]
    client_errors: ClientErrors,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientErrors {
    #[default]
    Fail,
    Retry,
}

/// See the module.
pub(crate) struct Http(Arc<Endpoint>);

struct Endpoint {
    url: Url,
    client: Client,
    secrets: Option<Secrets>,
    limit: Duration,
    max_response: usize,
    client_errors: ClientErrors,
}

impl Http {
    /// Checks the configuration.
    pub(crate) fn new(config: HttpConfig) -> Result<Self, String> {
        let url = Url::parse(&config.url).map_err(|error| format!("url `{}`: {error}", config.url))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("url: the scheme must be http or https, not `{}`", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "url must not hold a user or password: they would show up in errors; sign requests instead"
                    .to_owned(),
            );
        }
        let guard = Guard::new(&url, &config.allow)?;
        let secrets = config.secret_env.map(|name| Secrets::from_env(&name)).transpose()?;
        Ok(Self(Arc::new(Endpoint {
            client: client(guard)?,
            url,
            secrets,
            limit: config.timeout_seconds.map_or(Ok(TIMEOUT), limit)?,
            max_response: config.max_response_bytes.unwrap_or(MAX_RESPONSE_BYTES),
            client_errors: config.client_errors,
        })))
    }
}

/// One client per endpoint: it follows no redirect, asks no proxy and connects only where the guard lets it.
fn client(guard: Guard) -> Result<Client, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("the HTTP client cannot be made: {error}");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| unusable(&error))?
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(guard)
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .map_err(|error| unusable(&error))
}

impl Handler for Http {
    fn call(&self, context: JobContext) -> HandlerFuture {
        let endpoint = self.0.clone();
        Box::pin(async move {
            tokio::select! {
                outcome = endpoint.deliver(&context) => outcome,
                // nothing to tidy up: the connection is dropped with the request
                _reason = context.must_stop() => Err(HandlerError::Cancelled),
            }
        })
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(self.0.limit)
    }
}

impl Endpoint {
    async fn deliver(&self, context: &JobContext) -> HandlerResult {
        let body = context.payload().as_str().to_owned();
        let headers = self.headers(context, &body)?;
        let sent =
            self.client.post(self.url.clone()).headers(headers).body(body).timeout(self.limit).send().await;
        let response = sent.map_err(|error| failed(&error))?;
        answer::outcome(response, self.max_response, self.client_errors).await
    }

    fn headers(&self, context: &JobContext, body: &str) -> Result<HeaderMap, HandlerError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("jobqueue/", env!("CARGO_PKG_VERSION"))));
        headers.insert("jobqueue-attempt", context.attempt().into());
        headers.insert("jobqueue-kind", HeaderValue::from_str(context.kind().as_str())?);
        headers.insert("jobqueue-queue", HeaderValue::from_str(context.queue().as_str())?);
        if let Some(traceparent) = context.traceparent() {
            headers.insert("traceparent", HeaderValue::from_str(traceparent)?);
        }
        // the id stays the same in every attempt, which lets the receiver drop duplicates
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

/// A request that got no answer.
fn failed(error: &reqwest::Error) -> HandlerError {
    let mut chain = Vec::new();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(next) = cause {
        if let Some(refused) = next.downcast_ref::<Refused>() {
            return HandlerError::discard("address_refused", refused.to_string());
        }
        chain.push(next.to_string());
        cause = next.source();
    }
    let kind = match error {
        error if error.is_timeout() => "timeout",
        error if error.is_connect() => "connect",
        _ => "request",
    };
    // its own text would name the URL, whose query may be a secret
    HandlerError::retry(kind, if chain.is_empty() { kind.to_owned() } else { chain.join(": ") })
}

/// An answer as JSON, if it is any.
fn json(body: Vec<u8>) -> Option<Json> {
    Json::parse(String::from_utf8(body).ok()?.trim().to_owned()).ok()
}
