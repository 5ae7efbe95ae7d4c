//! What a connection is doing, and how long it may take. Owns the phases and observes the socket; does not
//! close connections.

use super::limits::HttpLimits;
use super::refusal;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Response, StatusCode};
use hyper::body::{Buf as _, Frame, SizeHint};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What the connection waits for.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A header is being read, or the first one is expected; since when.
    Header(Instant),
    /// A request is in a handler, or its response is being written.
    Serving,
    /// The connection is idle between two requests; since when.
    Idle(Instant),
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Whether some bytes of the current header have arrived.
    begun: bool,
    /// Since when the client has accepted no bytes of the response.
    stalled: Option<Instant>,
}

/// The activity of one connection, reported by its socket, its service and its response bodies. All of them
/// run in the task of the connection, so the lock is never contended.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Mutex<State>>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Header(Instant::now()),
            begun: false,
            stalled: None,
        })))
    }

    /// The header of a request has arrived and its handler begins.
    pub(super) fn request_received(&self) {
        self.state().phase = Phase::Serving;
    }

    /// Whether a request is in a handler, or its response is being written.
    fn is_serving(&self) -> bool {
        matches!(self.state().phase, Phase::Serving)
    }

    /// Since when the connection waits for a request header; `None` while a request is served.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self.state().phase {
            Phase::Header(since) | Phase::Idle(since) => Some(since),
            Phase::Serving => None,
        }
    }

    /// Whether a header has begun and not ended.
    pub(super) fn in_header(&self) -> bool {
        let state = self.state();
        state.begun && matches!(state.phase, Phase::Header(_))
    }

    /// When the connection must be closed if nothing changes before.
    pub(super) fn deadline(&self, limits: &HttpLimits) -> Option<Instant> {
        let state = self.state();
        let waits_until = match state.phase {
            Phase::Header(since) => since.checked_add(limits.header_read),
            Phase::Idle(since) => since.checked_add(limits.idle),
            Phase::Serving => None,
        };
        let writes_until = state.stalled.and_then(|since| since.checked_add(limits.write_stall));
        match (waits_until, writes_until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn bytes_read(&self) {
        let mut state = self.state();
        state.begun = true;
        if let Phase::Idle(_) = state.phase {
            state.phase = Phase::Header(Instant::now());
        }
    }

    fn written(&self, moved: bool) {
        let mut state = self.state();
        if moved {
            state.stalled = None;
        } else if state.stalled.is_none() {
            state.stalled = Some(Instant::now());
        }
    }

    fn response_sent(&self) {
        let mut state = self.state();
        (state.phase, state.begun) = (Phase::Idle(Instant::now()), false);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // nothing can panic while the lock is held
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket. Records in the activity when bytes are read or written, and replaces hyper's empty error
/// responses with ours.
pub(super) struct ObservedStream {
    stream: TcpStream,
    activity: Activity,
    refuse: fn(StatusCode) -> Response<String>,
    /// The rest of our response that is written instead of hyper's.
    refusal: Option<Bytes>,
}

impl ObservedStream {
    pub(super) fn new(stream: TcpStream, activity: Activity, limits: &HttpLimits) -> Self {
        Self { stream, activity, refuse: limits.refuse, refusal: None }
    }

    /// Sends a 408 to a client whose header took too long. If it cannot be written at once, it is dropped.
    pub(super) fn refuse_slow_header(&self) {
        let _gone = self.stream.try_write(&refusal::encode(&(self.refuse)(StatusCode::REQUEST_TIMEOUT)));
    }

    fn poll_refusal(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.refusal.is_none() && !self.activity.is_serving() {
            let status = refusal::status_of_hyper(bytes)?;
            self.refusal = Some(refusal::encode(&(self.refuse)(status)).into());
        }
        let rest = self.refusal.as_mut()?;
        while !rest.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Ready(Ok(count)) => rest.advance(count),
                other => return Some(other),
            }
        }
        Some(Poll::Ready(Ok(bytes.len())))
    }
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.activity.bytes_read();
        }
        Poll::Ready(outcome)
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = match self.poll_refusal(context, bytes) {
            Some(written) => written,
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        };
        self.activity.written(outcome.is_ready());
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper writes its own error response as one slice
        if let [bytes] = slices {
            return self.poll_write(context, bytes);
        }
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.activity.written(outcome.is_ready());
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The body of a response. When it is dropped, the connection is idle.
pub(super) struct ResponseBody {
    pub(super) body: Body,
    pub(super) activity: Activity,
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.activity.response_sent();
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
