//! What a connection is doing and how long it may. Owns the phases and the byte counting around the socket; never
//! closes anything itself.

use super::{HttpLimits, refusal};
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
    /// Some bytes of the header that is being read have come.
    begun: bool,
    /// Since when the client takes none of the bytes that it was sent.
    stalled: Option<Instant>,
}

/// The state of one connection, seen by its socket, its service and its answer bodies. All of them run in the one task
/// of the connection, so the lock is never contended.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Mutex<State>>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Header(Instant::now()),
            begun: false,
            stalled: None,
        })))
    }

    /// A request has arrived in full (its header) and goes to its handler.
    pub(super) fn busy(&self) {
        self.state().phase = Phase::Busy;
    }

    /// Whether a request is in a handler, or its answer is being made.
    fn is_busy(&self) -> bool {
        matches!(self.state().phase, Phase::Busy)
    }

    /// Whether a header has begun and not ended.
    pub(super) fn in_header(&self) -> bool {
        let state = self.state();
        state.begun && matches!(state.phase, Phase::Header(_))
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

    fn answered(&self) {
        let mut state = self.state();
        (state.phase, state.begun) = (Phase::Idle(Instant::now()), false);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held; if it did, the state is still two plain values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket, telling the pulse when bytes move, and saying our refusal where hyper would say an empty one.
pub(super) struct Metered {
    stream: TcpStream,
    pulse: Pulse,
    refuse: fn(StatusCode) -> Response<String>,
    /// What is still to be written in place of hyper's refusal.
    refusal: Option<Bytes>,
}

impl Metered {
    pub(super) fn new(stream: TcpStream, pulse: Pulse, limits: &HttpLimits) -> Self {
        Self { stream, pulse, refuse: limits.refuse, refusal: None }
    }

    /// The last word to a client whose header took too long. A client that does not take it has had its chance.
    pub(super) fn refuse_slow_header(&self) {
        let _gone = self.stream.try_write(&refusal::encode(&(self.refuse)(StatusCode::REQUEST_TIMEOUT)));
    }

    fn poll_refusal(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.refusal.is_none() && !self.pulse.is_busy() {
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
        let outcome = match self.poll_refusal(context, bytes) {
            Some(refused) => refused,
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        };
        self.pulse.written(outcome.is_ready());
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's own refusal is one slice
        if let [bytes] = slices {
            return self.poll_write(context, bytes);
        }
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
