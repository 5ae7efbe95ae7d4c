//! A small HTTP server that the demo's `http` jobs call. It responds with the number of bytes and words that
//! it received.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Json;
use axum::routing::post;
use jobqueue_runtime::{HttpLimits, Shutdown, http};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Starts it on a free port of the loopback address.
pub(crate) async fn start(shutdown: &Shutdown) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/received", post(received));
    shutdown.spawn(http::serve(listener, router, HttpLimits::default(), shutdown.clone()));
    Ok(address)
}

async fn received(headers: HeaderMap, body: String) -> Json<Value> {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    Json(json!({
        "bytes": body.len(),
        "words": body.split_whitespace().count(),
        "webhook_id": header("webhook-id"),
    }))
}
