//! Request bodies that a handler does not read to the end. Reads and discards the rest, so that an early
//! response reaches a client that is still sending.

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Maximum number of bytes that are read and discarded after the response. If a client sends more, its
/// connection is closed.
const DISCARD_BYTES: usize = 8 * 1024 * 1024;
/// Time limit for discarding.
const DISCARD_WITHIN: Duration = Duration::from_secs(5);

/// The body of a request. If it is dropped before its end, the rest is read and discarded in the background:
/// closing a connection with unread bytes makes the client's system drop the response. A client that waits
/// for `100 Continue` in vain sends no body; its connection is closed.
pub(super) struct RequestBody {
    rest: Option<Incoming>,
    /// Whether the client waits for `100 Continue`, which hyper sends when the body is first read.
    waits: Arc<AtomicBool>,
    tasks: TaskTracker,
}

impl RequestBody {
    pub(super) fn new(body: Incoming, expects_continue: bool, tasks: TaskTracker) -> Self {
        let rest = Some(body).filter(|body| !body.is_end_stream());
        Self { rest, waits: Arc::new(AtomicBool::new(expects_continue)), tasks }
    }

    /// Whether the client still waits for `100 Continue`.
    pub(super) fn waits(&self) -> Arc<AtomicBool> {
        self.waits.clone()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits.store(false, Ordering::Relaxed);
        let Some(body) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.rest = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(body) =
            self.rest.take().filter(|body| !self.waits.load(Ordering::Relaxed) && !body.is_end_stream())
        else {
            return;
        };
        if tokio::runtime::Handle::try_current().is_ok() {
            self.tasks.spawn(timeout(DISCARD_WITHIN, discard(body)));
        }
    }
}

async fn discard(body: Incoming) {
    let (mut body, mut bytes) = (pin!(body), 0);
    while let Some(Ok(frame)) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > DISCARD_BYTES {
            return;
        }
    }
}
