//! What a response does not show to the holder of a key: hidden members of JSON, and events of a stream about other queues. It works on finished
//! responses, so no route can miss it.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::Response;
use futures_util::{StreamExt as _, TryStreamExt as _};
use jobqueue_core::{Grant, KindName, QueueName};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::Caller;
use crate::problem::Problem;

/// The events of a stream that are about no object, so that every key may get them.
const NEUTRAL: [&str; 5] = ["snapshot", "ready", "unavailable", "available", "worker_removed"];
/// The events about one job. The job was compared with the key before the stream began, and is again when an event names its queue.
const OF_A_JOB: [&str; 4] = ["status", "progress", "log", "end"];

/// Whether a response is a stream of events.
pub(crate) fn is_stream(response: &Response) -> bool {
    has_type(response, "text/event-stream")
}

/// Ends a stream when the key of its listener does not hold any more.
pub(crate) fn until(response: Response, ended: CancellationToken) -> Response {
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(ended.cancelled_owned())))
}

/// Hides what the caller must not read. Documents are rewritten, and of a stream each event.
pub(crate) async fn cover(response: Response, caller: Caller) -> Result<Response, Problem> {
    if is_stream(&response) {
        return Ok(response.map(|body| {
            let grant = caller.clone();
            let inside = body.into_data_stream().take_while(move |event| {
                let is_inside = !event.as_ref().is_ok_and(|event| leaves(grant.grant(), event));
                std::future::ready(is_inside)
            });
            let events = inside.try_filter_map(move |event| {
                let shown = event_of(caller.grant(), &event);
                async move { Ok(shown) }
            });
            Body::from_stream(events)
        }));
    }
    if caller.grant().hide.is_empty()
        || !response.status().is_success()
        || !has_type(&response, "application/json")
    {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    // the route made the body in memory, so its size is limited
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Problem::internal())?;
    let text = std::str::from_utf8(&body).map_err(|_| Problem::internal())?;
    let shown = caller.grant().hide.apply(text).ok_or_else(Problem::internal)?;
    parts.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(shown)))
}

fn has_type(response: &Response, essence: &str) -> bool {
    let value = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    value.is_some_and(|value| value.starts_with(essence.as_bytes()))
}

/// What an event has of the objects that it is about.
#[derive(Deserialize)]
struct Subject {
    queue: Option<QueueName>,
    kind: Option<KindName>,
    queues: Option<Vec<QueueName>>,
}

/// A field of an event.
fn field<'a>(event: &'a str, name: &str) -> Option<&'a str> {
    event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_start)
}

/// Whether the event says that its job is now in a queue that the key does not include. Its stream ends then.
fn leaves(grant: &Grant, event: &Bytes) -> bool {
    if grant.has_everything() {
        return false;
    }
    let Ok(text) = std::str::from_utf8(event) else { return true };
    if !field(text, "event").is_some_and(|name| OF_A_JOB.contains(&name)) {
        return false;
    }
    let subject = field(text, "data").and_then(|data| serde_json::from_str::<Subject>(data).ok());
    subject.is_some_and(|subject| {
        subject.queue.is_some_and(|queue| !grant.has_queue(&queue))
            || subject.kind.is_some_and(|kind| !grant.has_kind(&kind))
    })
}

/// The event as the caller may see it. An event that this does not know is not shown to a key with limits.
fn event_of(grant: &Grant, event: &Bytes) -> Option<Bytes> {
    let text = std::str::from_utf8(event).ok()?;
    let (Some(data), name) = (field(text, "data"), field(text, "event").unwrap_or_default()) else {
        return Some(event.clone());
    };
    let is_shown = || {
        let subject: Option<Subject> = serde_json::from_str(data).ok();
        match (name, subject) {
            ("queue" | "queue_removed", Some(Subject { queue: Some(queue), .. })) => grant.has_queue(&queue),
            ("worker", Some(Subject { queues: Some(queues), .. })) => {
                grant.has_all_queues()
                    || !queues.is_empty() && queues.iter().all(|queue| grant.has_queue(queue))
            }
            _ => NEUTRAL.contains(&name) || OF_A_JOB.contains(&name),
        }
    };
    if !grant.has_everything() && !is_shown() {
        return None;
    }
    if grant.hide.is_empty() {
        return Some(event.clone());
    }
    // data of several lines cannot be rewritten line by line, and is not sent
    let shown = text.lines().map(|line| match line.strip_prefix("data:") {
        Some(data) => grant.hide.apply(data.trim_start()).map(|data| format!("data: {data}\n")),
        None => Some(format!("{line}\n")),
    });
    shown.collect::<Option<String>>().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use jobqueue_core::ApiKeyDraft;

    use super::*;

    fn grant(queues: &[&str], hide: &[&str]) -> Grant {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let draft = ApiKeyDraft {
            scopes: vec!["read".to_owned()],
            queues: Some(texts(queues)),
            hide: texts(hide),
            ..ApiKeyDraft::default()
        };
        draft.parse().unwrap()
    }

    fn shown(grant: &Grant, event: &str) -> Option<String> {
        event_of(grant, &Bytes::from(event.to_owned()))
            .map(|event| String::from_utf8(event.to_vec()).unwrap())
    }

    #[test]
    fn a_key_with_limits_gets_only_events_of_its_queues() {
        let mail = grant(&["mail-*"], &[]);
        for (event, expected) in [
            ("event: queue\ndata: {\"queue\":\"mail-eu\",\"queued\":1}\nid: 1-2\n\n", true),
            ("event: queue\ndata: {\"queue\":\"billing\"}\n\n", false),
            ("event: queue_removed\ndata: {\"queue\":\"billing\"}\n\n", false),
            ("event: worker\ndata: {\"queues\":[\"mail-eu\"]}\n\n", true),
            ("event: worker\ndata: {\"queues\":[\"mail-eu\",\"billing\"]}\n\n", false),
            ("event: worker\ndata: {}\n\n", false),
            ("event: worker\ndata: {\"queues\":[]}\n\n", false),
            ("event: group\ndata: {\"kind\":\"x\"}\n\n", false),
            ("event: ready\ndata: {}\n\n", true),
            (": keep-alive\n\n", true),
            ("retry: 1000\n\n", true),
        ] {
            assert_eq!(shown(&mail, event).is_some(), expected, "{event}");
            assert_eq!(shown(&grant(&["*"], &[]), event).as_deref(), Some(event));
        }
    }

    #[test]
    fn a_stream_ends_when_its_job_leaves_the_queues_of_the_key() {
        let mail = grant(&["mail-*"], &[]);
        for (event, expected) in [
            ("event: status\ndata: {\"queue\":\"mail-eu\",\"kind\":\"k\"}\n\n", false),
            ("event: status\ndata: {\"queue\":\"billing\",\"kind\":\"k\"}\n\n", true),
            ("event: end\ndata: {\"queue\":\"billing\",\"kind\":\"k\"}\n\n", true),
            ("event: end\ndata: {\"status\":\"deleted\"}\n\n", false),
            ("event: progress\ndata: {\"progress\":{\"queue\":\"billing\"}}\n\n", false),
            ("event: queue\ndata: {\"queue\":\"billing\"}\n\n", false),
            (": keep-alive\n\n", false),
        ] {
            let event = Bytes::from(event);
            assert_eq!(leaves(&mail, &event), expected, "{event:?}");
            assert!(!leaves(&grant(&["*"], &[]), &event));
        }
    }

    #[test]
    fn events_are_rewritten_and_stay_events() {
        let event = "event: log\ndata: {\"attempt\":1,\"line\":\"x\"}\nid: 1-2\n\n";
        let expected = "event: log\ndata: {\"attempt\":1,\"line\":\"[hidden]\"}\nid: 1-2\n\n";
        assert_eq!(shown(&grant(&["*"], &["log"]), event).as_deref(), Some(expected));
        assert_eq!(shown(&grant(&["*"], &["log"]), "event: log\ndata: {\"line\":\ndata: \"x\"}\n\n"), None);
    }
}
