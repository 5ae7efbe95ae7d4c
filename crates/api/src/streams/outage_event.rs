//! The events about what cannot be read, the same in every stream.

use axum::response::sse::Event;

use crate::wire::stream::UnavailableEvent;

/// The event that says why nothing new comes.
pub(crate) fn unavailable(reason: &str) -> Event {
    with_reason("unavailable", reason)
}

/// The last event of a stream whose object cannot be read.
pub(crate) fn unreadable(reason: &str) -> Event {
    with_reason("unreadable", reason)
}

/// The event after [`unavailable`], when new events can come again.
pub(crate) fn available() -> Event {
    Event::default().event("available").data("{}")
}

fn with_reason(name: &str, reason: &str) -> Event {
    let json = serde_json::to_string(&UnavailableEvent { reason: reason.to_owned() }).unwrap_or_default();
    Event::default().event(name).data(json)
}
