//! What a connection is doing and how long it may. Owns the phases and the byte counting around the socket; never
//! closes anything itself.

use super::HttpLimits;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
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
    /// A header is being read, or a first one is expected: who connects must say something.
    Header(Instant),
    /// A request is in a handler, or its answer is being written.
    Busy,
    /// Kept alive between two requests.
    Idle(Instant),
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Since when the client takes none of the bytes that it was sent.
    stalled: Option<Instant>,
}

/// The state of one connection, seen by its socket, its service and its answer bodies. All of them run in the one task
/// of the connection, so the lock is never contended.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<State>>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { phase: Phase::Header(Instant::now()), stalled: None })))
    }

    /// A request has arrived in full (its header) and goes to its handler.
    pub(super) fn busy(&self) {
        self.state().phase = Phase::Busy;
    }

    /// When the connection has waited too long, if nothing changes before.
    pub(super) fn deadline(&self, limits: &HttpLimits) -> Option<Instant> {
        let state = self.state();
        let waits_until = match state.phase {
            Phase::Header(since) => since.checked_add(limits.header_read),
            Phase::Idle(since) => since.checked_add(limits.idle),
            Phase::Busy => None,
        };
        let writes_until = state.stalled.and_then(|since| since.checked_add(limits.write_stall));
        match (waits_until, writes_until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn bytes_read(&self) {
        let mut state = self.state();
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

    fn answered(&self) {
        self.state().phase = Phase::Idle(Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held; if it did, the state is still two plain values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket, telling the pulse when bytes move.
pub(super) struct Metered {
    pub(super) stream: TcpStream,
    pub(super) pulse: Pulse,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.pulse.bytes_read();
        }
        Poll::Ready(outcome)
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.pulse.written(outcome.is_ready());
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.pulse.written(outcome.is_ready());
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

/// An answer's body; when it is gone, the connection is idle.
pub(super) struct AnswerBody {
    pub(super) body: Body,
    pub(super) pulse: Pulse,
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.pulse.answered();
    }
}

impl HttpBody for AnswerBody {
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
