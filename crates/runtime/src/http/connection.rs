//! One connection from accept to close. Runs the protocol until it ends, its deadline passes or the shutdown
//! ends it, all in one task.

use super::deadline::{Activity, ObservedStream, ResponseBody};
use super::limits::HttpLimits;
use super::remainder::RequestBody;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Maximum number of bytes that hyper buffers for one connection before it stops reading.
const BUFFER_BYTES: usize = 64 * 1024;

/// The signals that end a connection.
pub(super) struct EndSignals {
    /// Responses have `Connection: close` from now on.
    pub(super) closing: CancellationToken,
    /// The connection closes after the request in flight.
    pub(super) stop: CancellationToken,
    /// The connection closes at once.
    pub(super) abort: CancellationToken,
    /// The connection closes unless a request is being served, because another client needs the slot.
    pub(super) close_if_idle: CancellationToken,
}

/// An accepted connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) router: Router,
    pub(super) limits: HttpLimits,
    pub(super) signals: EndSignals,
    /// What this connection is doing.
    pub(super) activity: Activity,
    /// Runs tasks that may continue after a request, such as discarding the rest of its body.
    pub(super) tasks: TaskTracker,
}

impl Connection {
    /// Serves requests until the client, a deadline or the shutdown ends it.
    pub(super) async fn run(self) {
        let Self { stream, peer, router, limits, signals, activity, tasks } = self;
        // without it a response of two writes waits 40 ms for the client's delayed ACK; a closed socket fails
        // here, and then also in the read below
        let _dead = stream.set_nodelay(true);
        let service = service_fn(|request: Request<Incoming>| {
            activity.request_received();
            let waits = request.headers().contains_key(EXPECT);
            let request = request.map(|body| RequestBody::new(body, waits, tasks.clone()));
            Box::pin(answer(
                request,
                peer,
                router.clone(),
                activity.clone(),
                [signals.closing.clone(), signals.close_if_idle.clone()],
            ))
        });
        let socket = ObservedStream::new(stream, activity.clone(), &limits);
        let mut protocol = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper's own deadline would close idle connections as early as slow headers; `Activity`
            // distinguishes them
            .header_read_timeout(None)
            .max_header_size(limits.max_header_bytes)
            .max_buf_size(BUFFER_BYTES.max(limits.max_header_bytes))
            .serve_connection(TokioIo::new(socket), service);
        if drive(Pin::new(&mut protocol), &activity, &limits, &signals).await == End::TimedOut
            && activity.in_header()
        {
            protocol.into_parts().io.inner().refuse_slow_header();
        }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client or the protocol ended it, or the process stops.
    Done,
    /// The client was too slow.
    TimedOut,
}

type Protocol<S> = http1::Connection<TokioIo<ObservedStream>, S>;

/// The activity changes only inside the protocol's poll, so the deadline that is read after the poll is
/// exact.
async fn drive<S>(
    mut protocol: Pin<&mut Protocol<S>>,
    activity: &Activity,
    limits: &HttpLimits,
    signals: &EndSignals,
) -> End
where
    S: hyper::service::HttpService<Incoming, ResBody = ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut stop = pin!(signals.stop.cancelled());
    let mut abort = pin!(signals.abort.cancelled());
    let mut close_if_idle = pin!(signals.close_if_idle.cancelled());
    let mut stopping = false;
    poll_fn(|context| {
        if abort.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Done);
        }
        loop {
            // an error here is caused by the client (a reset, or bad syntax, which hyper has answered), so it
            // is not logged
            if protocol.as_mut().poll(context).is_ready() {
                return Poll::Ready(End::Done);
            }
            if stopping || stop.as_mut().poll(context).is_pending() {
                break;
            }
            stopping = true;
            protocol.as_mut().graceful_shutdown();
        }
        // while a request is being served, the connection closes only after the response
        if activity.idle_since().is_some() && close_if_idle.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Done);
        }
        let Some(deadline) = activity.deadline(limits) else {
            return Poll::Pending;
        };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context).map(|()| End::TimedOut)
    })
    .await
}

async fn answer(
    request: Request<RequestBody>,
    peer: SocketAddr,
    router: Router,
    activity: Activity,
    closing: [CancellationToken; 2],
) -> Result<Response<ResponseBody>, Infallible> {
    let waits = request.body().waits();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = router.oneshot(request).await?;
    // a client that still waits for `100 Continue` must not send the rejected body as its next request
    if closing.iter().any(CancellationToken::is_cancelled) || waits.load(Ordering::Relaxed) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| ResponseBody { body, activity }))
}
