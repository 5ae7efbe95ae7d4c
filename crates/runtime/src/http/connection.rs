//! One connection from accept to close. Owns the race between the protocol, its deadline and the shutdown; never more
//! than one task.

use super::HttpLimits;
use super::deadline::{AnswerBody, Metered, Pulse};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// The most that hyper keeps of one connection in memory before it pushes back.
const BUFFER_BYTES: usize = 64 * 1024;

/// How a connection is told to go.
pub(super) struct Ending {
    /// Answers carry `Connection: close` from now on.
    pub(super) closing: CancellationToken,
    /// Finish the request in flight, then close.
    pub(super) stop: CancellationToken,
    /// Close.
    pub(super) cut: CancellationToken,
}

/// An accepted connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) router: Router,
    pub(super) limits: HttpLimits,
    pub(super) ending: Ending,
}

impl Connection {
    /// Serves requests until the client, a deadline or the shutdown ends it.
    pub(super) async fn run(self) {
        let Self { stream, peer, router, limits, ending } = self;
        // Without it an answer of two writes waits 40 ms for the client's delayed ACK. A dead socket refuses: the read
        // below says so.
        let _dead = stream.set_nodelay(true);
        let pulse = Pulse::new();
        let service = service_fn(|request: Request<Incoming>| {
            pulse.busy();
            Box::pin(answer(request, peer, router.clone(), pulse.clone(), ending.closing.clone()))
        });
        let socket = Metered::new(stream, pulse.clone(), &limits);
        let mut protocol = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper's own deadline would end idle connections as early as slow headers; `Pulse` tells them apart.
            .header_read_timeout(None)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(BUFFER_BYTES.max(limits.max_header_bytes))
            .serve_connection(TokioIo::new(socket), service);
        if drive(Pin::new(&mut protocol), &pulse, &limits, &ending).await == End::Late && pulse.in_header() {
            protocol.into_parts().io.inner().refuse_slow_header();
        }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its client or the protocol was done, or the process goes down.
    Over,
    /// The client was too slow.
    Late,
}

type Protocol<S> = http1::Connection<TokioIo<Metered>, S>;

/// Everything that changes the pulse happens inside the protocol's poll, so a deadline read after it is exact.
async fn drive<S>(
    mut protocol: Pin<&mut Protocol<S>>,
    pulse: &Pulse,
    limits: &HttpLimits,
    ending: &Ending,
) -> End
where
    S: hyper::service::HttpService<Incoming, ResBody = AnswerBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut alarm = pin!(sleep_until(Instant::now()));
    let mut stop = pin!(ending.stop.cancelled());
    let mut cut = pin!(ending.cut.cancelled());
    let mut stopping = false;
    poll_fn(|context| {
        if cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Over);
        }
        loop {
            // An error here is the client's (reset, bad syntax, which hyper has answered): nothing to log per client.
            if protocol.as_mut().poll(context).is_ready() {
                return Poll::Ready(End::Over);
            }
            if stopping || stop.as_mut().poll(context).is_pending() {
                break;
            }
            stopping = true;
            protocol.as_mut().graceful_shutdown();
        }
        let Some(deadline) = pulse.deadline(limits) else {
            return Poll::Pending;
        };
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(context).map(|()| End::Late)
    })
    .await
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    router: Router,
    pulse: Pulse,
    closing: CancellationToken,
) -> Result<Response<AnswerBody>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = router.oneshot(request).await?;
    if closing.is_cancelled() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| AnswerBody { body, pulse }))
}
