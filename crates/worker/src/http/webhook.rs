//! The built-in handler of webhooks for the ends of jobs. Reads where to send a webhook and what signs it; the endpoint sends it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jobqueue_store::{Store, WebhookTarget};

use super::answer::ClientErrors;
use super::sign::Secrets;
use super::{Endpoint, EndpointSettings};
use crate::handler::{Handler, HandlerError, HandlerFuture, HandlerResult, JobContext};

/// Time limit of one delivery.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest response body that is kept.
const MAX_RESPONSE_BYTES: usize = 4096;
/// Endpoints whose connections are kept. If there are more, all are closed and opened again when they are needed.
const MAX_ENDPOINTS: usize = 64;

/// See the module.
pub(crate) struct WebhookHandler(Arc<Parts>);

struct Parts {
    store: Store,
    /// Hosts that may be called although their addresses are private.
    allow: Vec<String>,
    /// By URL and secrets.
    endpoints: Mutex<HashMap<(String, String), Arc<Endpoint>>>,
}

impl WebhookHandler {
    pub(crate) fn new(store: Store, allow: Vec<String>) -> Self {
        Self(Arc::new(Parts { store, allow, endpoints: Mutex::default() }))
    }
}

impl Handler for WebhookHandler {
    fn call(&self, context: JobContext) -> HandlerFuture {
        let parts = self.0.clone();
        Box::pin(async move { parts.deliver(&context).await })
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(TIMEOUT)
    }
}

impl Parts {
    async fn deliver(&self, context: &JobContext) -> HandlerResult {
        let unread = |error: jobqueue_store::StoreError| {
            HandlerError::retry("database", format!("the target cannot be read: {}", error.word()))
        };
        let target = self.store.webhook_target(context.id()).await.map_err(unread)?;
        let unknown = || HandlerError::discard("no_target", "only the end of a job makes jobs of this kind");
        let endpoint = self.endpoint(target.ok_or_else(unknown)?);
        endpoint.map_err(|reason| HandlerError::discard("bad_target", reason))?.deliver(context).await
    }

    fn endpoint(&self, target: WebhookTarget) -> Result<Arc<Endpoint>, String> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (target.url, target.secret);
        if let Some(known) = endpoints.get(&key) {
            return Ok(known.clone());
        }
        let endpoint = Arc::new(Endpoint::new(EndpointSettings {
            url: &key.0,
            allow: &self.allow,
            secrets: Some(Secrets::parse(&key.1).map_err(|reason| format!("its secret {reason}"))?),
            limit: TIMEOUT,
            max_response: MAX_RESPONSE_BYTES,
            client_errors: ClientErrors::RetryUnlessGone,
            content_type: "application/cloudevents+json",
        })?);
        if endpoints.len() >= MAX_ENDPOINTS {
            endpoints.clear();
        }
        endpoints.insert(key, endpoint.clone());
        Ok(endpoint)
    }
}
