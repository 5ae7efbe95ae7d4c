//! The connections to one endpoint. Owns which request uses a kept connection, and the one case in which a
//! request is sent twice.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::io::InspectReader;
use tower::{Service as _, ServiceExt as _};

use super::guard::Guard;

/// Time limit of name resolution, TCP and TLS handshakes together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is not used again.
const MAX_IDLE: Duration = Duration::from_secs(90);
/// TCP keep-alive: idle time before the first probe, time between probes, probes without an answer.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(15), 3);
/// A connection is closed when the peer has not acknowledged sent data for this long.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;

/// See the module.
pub(super) struct Connections {
    connector: HttpsConnector<HttpConnector<Guard>>,
    uri: Uri,
    /// The most recently used connection is at the end.
    idle: Mutex<Vec<Connection>>,
}

/// An open connection that is not in use.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Whether any byte of the response to the current request has arrived.
    answered: Arc<AtomicBool>,
    idle_since: Instant,
    /// Drives the connection. Dropping it closes the socket.
    _driver: JoinSet<()>,
}

/// A response whose body is not read yet. Dropping it closes the connection.
pub(super) struct Exchange {
    pub(super) response: Response<Incoming>,
    connection: Connection,
}

/// Why a request got no response.
#[derive(Debug)]
pub(super) enum NoResponse {
    /// No connection could be opened; nothing was sent.
    Connect(BoxError),
    /// The connection ended before a response arrived.
    Broken(hyper::Error),
}

impl Connections {
    /// Connections to the host of `uri`: without a proxy, and only to addresses that the guard accepts.
    pub(super) fn new(uri: Uri, guard: Guard) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)?
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(guard);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE.0));
        tcp.set_keepalive_interval(Some(KEEPALIVE.1));
        tcp.set_keepalive_retries(Some(KEEPALIVE.2));
        tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
        Ok(Self { connector: HttpsConnector::from((tcp, tls)), uri, idle: Mutex::default() })
    }

    /// Sends the request and waits for the head of the response.
    ///
    /// A server may close an idle connection at any time, even while a request is in flight: the request then
    /// gets no response, and the server has most likely not read it. So a request on a reused connection that
    /// gets not one byte of a response is sent once more, on a new connection. On a new connection this
    /// explanation does not hold, so a failure there is final.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Exchange, NoResponse> {
        if let Some(connection) = self.take_idle() {
            let answered = connection.answered.clone();
            match connection.send(request.clone()).await {
                Ok(exchange) => return Ok(exchange),
                Err(error) if answered.load(Ordering::Acquire) => return Err(error),
                Err(_closed) => tracing::info!(
                    server.address = self.uri.host(),
                    "the endpoint closed an idle connection without a response; the request is sent once more on a new one"
                ),
            }
        }
        self.connect().await.map_err(NoResponse::Connect)?.send(request).await
    }

    /// Keeps the connection for reuse. The response must be read to its end.
    pub(super) fn keep(&self, exchange: Exchange) {
        let mut connection = exchange.connection;
        connection.answered.store(false, Ordering::Release);
        connection.idle_since = Instant::now();
        if !connection.sender.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }

    /// Removes and returns the most recently used connection. Connections that are closed or too old are
    /// dropped.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| connection.sender.is_ready() && connection.idle_since.elapsed() < MAX_IDLE);
        idle.pop()
    }

    async fn connect(&self) -> Result<Connection, BoxError> {
        let connecting = async {
            let stream = self.connector.clone().ready().await?.call(self.uri.clone()).await?;
            let answered = Arc::new(AtomicBool::new(false));
            let seen = answered.clone();
            let watched = InspectReader::new(TokioIo::new(stream), move |bytes: &[u8]| {
                if !bytes.is_empty() {
                    seen.store(true, Ordering::Release);
                }
            });
            let (sender, connection) = http1::handshake(TokioIo::new(watched)).await?;
            let mut driver = JoinSet::new();
            driver.spawn(async move {
                // the sender of the request receives the error
                let _ended = connection.await;
            });
            Ok(Connection { sender, answered, idle_since: Instant::now(), _driver: driver })
        };
        timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(format!("no connection within {CONNECT_TIMEOUT:?}").into()))
    }
}

impl Connection {
    async fn send(mut self, request: Request<Full<Bytes>>) -> Result<Exchange, NoResponse> {
        let response = self.sender.send_request(request).await.map_err(NoResponse::Broken)?;
        Ok(Exchange { response, connection: self })
    }
}
