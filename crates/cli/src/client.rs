//! The client of the REST API. Owns requests, retries, and how a refusal becomes one sentence. It never changes what it sends or receives.

mod events;
mod problem;

pub(crate) use events::{Events, ServerEvent};
pub(crate) use problem::explanation;

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, DATE, ETAG, HeaderMap, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::exit::{CommandError, CommandResult, Exit};
use crate::raw::Fields;
use crate::resource::{Resource, View};

/// Time limit for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Time limit for a response, in addition to the wait that the request asks for.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);
/// How long the API may be unreachable while something is waited for.
pub(crate) const OUTAGE: Duration = Duration::from_mins(1);
/// How often a request is repeated that the API was too busy for.
const REPEATS: u32 = 4;
/// Longest pause before a request is repeated.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What is escaped in a part of a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b':');
/// Largest page of the API.
const PAGE: usize = 1000;

/// A client of one API.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    key: Option<String>,
    /// The `Date` of the last response.
    date: Mutex<Option<DateTime<Utc>>>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    /// Parts of the path, not yet escaped.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, String)],
    /// JSON.
    pub(crate) body: Option<&'a str>,
    /// How long the API may wait before it responds.
    pub(crate) wait: Duration,
    /// The version that may be changed.
    pub(crate) if_match: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// A request without anything but its path.
    pub(crate) const fn new(method: &'a Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: &[], body: None, wait: Duration::ZERO, if_match: None }
    }
}

impl Client {
    /// A client of the API at `url`, with its key.
    pub(crate) fn new(url: &str, key: Option<&str>) -> CommandResult<Self> {
        let base = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base = base.ok_or_else(|| {
            CommandError::usage(
                "the URL of the API must look like http://127.0.0.1:8000 (JOBQUEUE_URL, --url or the context; its value is not shown)",
            )
        })?;
        // a proxy set by HTTP_PROXY cannot reach this machine
        let here = base.host_str().is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        });
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_LIMIT);
        let builder = if here { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(CommandError::internal)?;
        let key = key.map(str::trim).filter(|key| !key.is_empty()).map(ToOwned::to_owned);
        Ok(Self { http, base, key, date: Mutex::new(None) })
    }

    /// The address, for messages: without a user and a password.
    pub(crate) fn address(&self) -> String {
        let mut shown = self.base.clone();
        let _not_a_base = shown.set_username("");
        let _not_a_base = shown.set_password(None);
        shown.as_str().trim_end_matches('/').to_owned()
    }

    /// What tables need to know: the time of the API.
    pub(crate) fn view(&self) -> View {
        View { now: self.date.lock().map_or(None, |date| *date), id_length: None }
    }

    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> CommandResult<Box<RawValue>> {
        self.ask(Ask { query, ..Ask::new(&Method::GET, path) }).await
    }

    pub(crate) async fn post(&self, path: &[&str], body: Option<&str>) -> CommandResult<Box<RawValue>> {
        self.ask(Ask { body, ..Ask::new(&Method::POST, path) }).await
    }

    /// Sends a request without a query.
    pub(crate) async fn send(
        &self,
        method: &Method,
        path: &[&str],
        body: Option<&str>,
    ) -> CommandResult<Box<RawValue>> {
        self.ask(Ask { body, ..Ask::new(method, path) }).await
    }

    /// A job; waits up to `wait` until it is final.
    pub(crate) async fn job(&self, id: &str, wait: Duration) -> CommandResult<Box<RawValue>> {
        let query = [("wait", format!("{:.3}", wait.as_secs_f64()))];
        let query = if wait.is_zero() { &query[..0] } else { &query[..] };
        self.ask(Ask { query, wait, ..Ask::new(&Method::GET, &["v1", "jobs", id]) }).await
    }

    /// An object, and its `ETag` if it has one.
    pub(crate) async fn tagged(&self, path: &[&str]) -> CommandResult<(Box<RawValue>, Option<String>)> {
        self.ask_tagged(Ask::new(&Method::GET, path)).await
    }

    /// Up to `limit` items of a list, over several pages, and whether there are more.
    pub(crate) async fn list(
        &self,
        resource: &Resource,
        filter: &[(&str, String)],
        limit: usize,
    ) -> CommandResult<(Vec<Box<RawValue>>, bool)> {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let mut query = filter.to_vec();
            query.push(("limit", (limit - found.len()).clamp(1, PAGE).to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page = self.get(resource.path, &query).await?;
            let fields = Fields::of(&page);
            found.extend(fields.items(resource.list).into_iter().map(ToOwned::to_owned));
            cursor = Some(fields.text("next_cursor")).filter(|cursor| !cursor.is_empty());
            if cursor.is_none() || found.len() >= limit {
                let more = cursor.is_some() || found.len() > limit;
                found.truncate(limit);
                return Ok((found, more));
            }
        }
    }

    /// Whether the API is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        let Ok(url) = self.url(&["ready"], &[]) else { return false };
        let answer = self.http.get(url).timeout(CONNECT_LIMIT).send().await;
        answer.is_ok_and(|response| response.status().is_success())
    }

    /// Sends a request and returns the JSON of the response, unchanged. Repeats it while the API is too busy, and once if the
    /// connection broke. All of them have the same idempotency key, so nothing is done twice.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> CommandResult<Box<RawValue>> {
        self.ask_tagged(ask).await.map(|(json, _)| json)
    }

    async fn ask_tagged(&self, ask: Ask<'_>) -> CommandResult<(Box<RawValue>, Option<String>)> {
        let url = self.url(ask.path, ask.query)?;
        let key = Uuid::now_v7().to_string();
        let mut repeats = 0;
        loop {
            let mut request =
                self.http.request(ask.method.clone(), url.clone()).timeout(ANSWER_LIMIT + ask.wait);
            if let Some(key) = &self.key {
                request = request.bearer_auth(key);
            }
            if *ask.method == Method::POST {
                request = request.header("Idempotency-Key", &key);
            }
            if let Some(tag) = ask.if_match {
                request = request.header(IF_MATCH, tag);
            }
            if let Some(body) = ask.body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned());
            }
            repeats += 1;
            let pause = match request.send().await {
                Ok(response) => match self.read(response).await? {
                    Answer::Done(json, tag) => return Ok((json, tag)),
                    Answer::Busy(_, pause) if repeats <= REPEATS => pause,
                    Answer::Busy(refusal, _) => return Err(refusal),
                },
                Err(error) if error.is_connect() || repeats > 1 => return Err(self.unreachable(&error)),
                Err(_) => Duration::ZERO,
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn read(&self, response: Response) -> CommandResult<Answer> {
        let status = response.status();
        self.note_date(response.headers());
        let pause = pause(response.headers());
        let tag = response.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        let json = RawValue::from_string(text).ok();
        match json {
            Some(json) if status.is_success() => Ok(Answer::Done(json, tag)),
            Some(json) if is_busy(status) => Ok(Answer::Busy(problem::refusal(status, &json), pause)),
            Some(json) => Err(problem::refusal(status, &json)),
            None => Err(CommandError::new(
                Exit::Unreachable,
                format!(
                    "{} answered {status} without JSON; is it the address of the API? (JOBQUEUE_URL, --url or the context)",
                    self.address()
                ),
            )),
        }
    }

    fn note_date(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        let date = date.and_then(|text| DateTime::parse_from_rfc2822(text).ok());
        if let (Some(date), Ok(mut known)) = (date, self.date.lock()) {
            *known = Some(date.to_utc());
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CommandError {
        let reason = if error.is_timeout() { "gave no answer in time" } else { "cannot be reached" };
        CommandError::new(
            Exit::Unreachable,
            format!(
                "the API at {} {reason}; is it running? (JOBQUEUE_URL, --url or the context)",
                self.address()
            ),
        )
    }

    fn url(&self, path: &[&str], query: &[(&str, String)]) -> CommandResult<Url> {
        if let Some(wrong) = path.iter().find(|part| matches!(**part, "" | "." | "..")) {
            return Err(CommandError::usage(format!("`{wrong}` is not a name or an id")));
        }
        let mut url = self.base.clone();
        let path = path.iter().map(|part| utf8_percent_encode(part, ESCAPED).to_string());
        let path = path.collect::<Vec<_>>().join("/");
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

/// A response that was read.
enum Answer {
    /// With its `ETag`.
    Done(Box<RawValue>, Option<String>),
    /// Nothing was stored, or the result is unknown: repeat the request after the pause.
    Busy(CommandError, Duration),
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

fn pause(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1)).min(LONGEST_PAUSE)
}
