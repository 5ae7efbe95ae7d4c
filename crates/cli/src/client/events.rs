//! Server-sent events of the API. Owns how they are read and that a stream that breaks continues after the last event; does not interpret them.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Response, StatusCode};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout};

use super::{ANSWER_LIMIT, Client, OUTAGE, is_busy, pause, problem};
use crate::exit::{CommandError, CommandResult, Exit};

/// A stream that sends nothing for so long is broken: the API sends a comment every 15 s.
const SILENCE: Duration = Duration::from_mins(1);
/// Pause before a broken stream is opened again, until the API has said how long it should be.
const RETRY: Duration = Duration::from_secs(1);
/// Most bytes of an event.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// An event.
#[derive(Debug)]
pub(crate) struct ServerEvent {
    pub(crate) name: String,
    /// Its data.
    pub(crate) json: Box<RawValue>,
}

/// The events of one path.
pub(crate) struct Events<'a> {
    client: &'a Client,
    path: Vec<String>,
    /// Id of the last event.
    last: Option<String>,
    response: Option<Response>,
    parser: Parser,
    /// When the API last sent something.
    reached: Option<Instant>,
}

impl Client {
    /// The events at `path`, those after the event `last` if it is given.
    pub(crate) fn events(&self, path: &[&str], last: Option<&str>) -> Events<'_> {
        Events {
            client: self,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            last: last.map(ToOwned::to_owned),
            response: None,
            parser: Parser::default(),
            reached: None,
        }
    }
}

impl Events<'_> {
    /// The next event; `None` if the API says that there will be no more. If the connection breaks, it connects again as long as the API was
    /// reachable a short time ago. Cancel-safe.
    pub(crate) async fn next(&mut self) -> CommandResult<Option<ServerEvent>> {
        loop {
            if let Some(event) = self.parser.event(&mut self.last)? {
                return Ok(Some(event));
            }
            let Some(response) = &mut self.response else {
                match self.open().await? {
                    Some(response) => self.response = Some(response),
                    None => return Ok(None),
                }
                continue;
            };
            if let Ok(Ok(Some(bytes))) = timeout(SILENCE, response.chunk()).await {
                self.reached = Some(Instant::now());
                self.parser.push(&bytes);
            } else {
                self.response = None;
                self.parser.clear();
                sleep(self.parser.retry.unwrap_or(RETRY)).await;
            }
        }
    }

    /// Opens the stream; `None` if the API answers that there is nothing more.
    async fn open(&mut self) -> CommandResult<Option<Response>> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let url = self.client.url(&path, &[])?;
        loop {
            let mut request = self.client.http.get(url.clone()).header(ACCEPT, "text/event-stream");
            if let Some(key) = &self.client.key {
                request = request.bearer_auth(key);
            }
            if let Some(last) = &self.last {
                request = request.header("Last-Event-ID", last);
            }
            let (error, pause) = match timeout(ANSWER_LIMIT, request.send()).await {
                Ok(Ok(response)) if response.status() == StatusCode::NO_CONTENT => return Ok(None),
                Ok(Ok(response)) if response.status().is_success() => {
                    self.client.note_date(response.headers());
                    return Ok(Some(response));
                }
                Ok(Ok(response)) => {
                    let (status, pause) = (response.status(), pause(response.headers()));
                    let text = response.text().await.unwrap_or_default();
                    let json = RawValue::from_string(text).unwrap_or_default();
                    let refusal = problem::refusal(status, &json);
                    if !is_busy(status) {
                        return Err(refusal);
                    }
                    (refusal, pause)
                }
                Ok(Err(error)) => (self.client.unreachable(&error), RETRY),
                Err(_) => (CommandError::new(Exit::Unreachable, "the API gave no answer in time"), RETRY),
            };
            if self.reached.is_none_or(|at| at.elapsed() >= OUTAGE) {
                return Err(error);
            }
            sleep(pause).await;
        }
    }
}

/// Takes bytes and returns the events in them.
#[derive(Debug, Default)]
struct Parser {
    bytes: Vec<u8>,
    /// How long to wait before the stream is opened again.
    retry: Option<Duration>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops an event that did not arrive as a whole.
    fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The next event that has arrived. Its id becomes `last`.
    fn event(&mut self, last: &mut Option<String>) -> CommandResult<Option<ServerEvent>> {
        while let Some(length) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.bytes.drain(..length.saturating_add(2)).collect();
            let block = String::from_utf8_lossy(&block);
            let (mut name, mut text, mut id) = (None, String::new(), None);
            // a line may also end with a carriage return
            for line in block.split(['\n', '\r']) {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => name = Some(value.to_owned()),
                    "data" => text.push_str(value),
                    "id" => id = Some(value.to_owned()),
                    "retry" => self.retry = value.parse().ok().map(Duration::from_millis),
                    // a comment, or something new
                    _ => {}
                }
            }
            if id.is_some() {
                *last = id;
            }
            if let Some(name) = name {
                let json = RawValue::from_string(text)
                    .map_err(|error| CommandError::internal(format!("an event is not JSON: {error}")))?;
                return Ok(Some(ServerEvent { name, json }));
            }
        }
        if self.bytes.len() > MAX_EVENT_BYTES {
            return Err(CommandError::internal("an event is too long"));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_any_pieces() {
        let text = "retry: 1500\n\n:\n\nid: 1-2\nevent: log\ndata: {\"line\":\"ä\"}\n\nevent:end\ndata:{}\n\nevent: cut";
        for size in 1..text.len() {
            let (mut parser, mut last, mut found) = (Parser::default(), None, Vec::new());
            for piece in text.as_bytes().chunks(size) {
                parser.push(piece);
                while let Some(event) = parser.event(&mut last).unwrap() {
                    found.push((event.name, event.json.get().to_owned()));
                }
            }
            let log = ("log".to_owned(), "{\"line\":\"ä\"}".to_owned());
            assert_eq!(found, [log, ("end".to_owned(), "{}".to_owned())], "{size}");
            assert_eq!((last.as_deref(), parser.retry), (Some("1-2"), Some(Duration::from_millis(1500))));
        }
    }
}
