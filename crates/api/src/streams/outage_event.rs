//! The events around an outage of the database, the same in every stream.

use axum::response::sse::Event;

use crate::wire::stream::UnavailableEvent;

/// The event that says why nothing new comes.
pub(crate) fn unavailable(reason: &str) -> Event {
    let json = serde_json::to_string(&UnavailableEvent { reason: reason.to_owned() }).unwrap_or_default();
    Event::default().event("unavailable").data(json)
}

/// The event after [`unavailable`], when new events can come again.
pub(crate) fn available() -> Event {
    Event::default().event("available").data("{}")
}
