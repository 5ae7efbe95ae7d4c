//! Live updates by server-sent events. Owns how many listeners there are, the form of the response, and that the shutdown ends it. The listeners
//! share what the process reads, so their number does not change how often it reads.

mod board;
mod board_events;
mod board_watch;
mod job_events;
mod job_picture;
mod job_watch;
mod outage_event;
mod pace;
mod topic;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use jobqueue_core::JobId;
use jobqueue_runtime::{OutageLog, Shutdown};
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::census::CensusReader;
use crate::metrics::ApiMetrics;
use crate::problem::{Problem, ProblemKind};
use crate::store_access::{CALL_LIMIT, StoreAccess};
use board_events::{BoardEventId, BoardEvents};
use board_watch::BoardWatch;
use job_events::{JobEventId, JobEvents};
use job_watch::JobWatch;
use topic::TopicSources;

/// How long a client waits before it connects again, at least and at most. It differs, so that the listeners of a process that ends do not
/// arrive together at another one.
const RETRY_MS: std::ops::RangeInclusive<u64> = 1_000..=3_000;
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The streams of a process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Streams(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    places: Arc<Semaphore>,
    keep_alive: Duration,
    metrics: ApiMetrics,
    shutdown: Shutdown,
    store: StoreAccess,
    jobs: JobWatch,
    board: BoardWatch,
}

/// The settings of streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamSettings {
    /// Most listeners at the same time.
    pub(crate) max: usize,
    /// Longest time without a byte.
    pub(crate) keep_alive: Duration,
}

impl Streams {
    /// Starts the tasks behind the streams. They read nothing while there is no listener.
    pub(crate) fn start(
        (store, census): (&StoreAccess, &CensusReader),
        settings: StreamSettings,
        shutdown: &Shutdown,
        (outages, metrics): (&Arc<OutageLog>, &ApiMetrics),
    ) -> Self {
        let sources = TopicSources { store: store.clone(), census: census.clone() };
        Self(Arc::new(Parts {
            places: Arc::new(Semaphore::new(settings.max.min(Semaphore::MAX_PERMITS))),
            keep_alive: settings.keep_alive,
            metrics: metrics.clone(),
            shutdown: shutdown.clone(),
            store: store.clone(),
            jobs: JobWatch::start(store.store(), outages, shutdown),
            board: BoardWatch::start(sources, outages, shutdown),
        }))
    }

    /// The events of a job. The response is 204, which ends the attempts of a browser to connect again, if the client has received the end.
    pub(crate) async fn of_job(&self, id: JobId, headers: &HeaderMap) -> Result<Response, Problem> {
        let last = last_event_id(headers, JobEventId::parse)?;
        let place = self.place("job")?;
        let mut seen = self.0.jobs.subscribe(id);
        let seen_now = self.until(&mut seen, |seen| seen.picture.is_some() || seen.is_unavailable).await?;
        match seen_now.picture {
            Some(picture) if picture.is_deleted => return Err(Problem::no_job()),
            Some(picture) if picture.is_unreadable => return Err(Problem::internal()),
            Some(_) => {}
            None => return Err(away()),
        }
        match JobEvents::new(id, seen, self.0.store.clone(), last) {
            Some(events) => Ok(self.respond(Source::Job(Box::new(events)), place)),
            None => Ok(StatusCode::NO_CONTENT.into_response()),
        }
    }

    /// The events of all queues and workers.
    pub(crate) async fn of_board(&self, headers: &HeaderMap) -> Result<Response, Problem> {
        let last = last_event_id(headers, BoardEventId::parse)?;
        let place = self.place("service")?;
        let mut state = self.0.board.subscribe();
        let now = self.until(&mut state, |state| state.is_current || state.is_unavailable).await?;
        if !now.is_current {
            return Err(away());
        }
        let events = BoardEvents::new(self.0.board.clone(), state, last);
        Ok(self.respond(Source::Board(events), place))
    }

    /// A place among the listeners; it is free again when it is dropped.
    fn place(&self, stream: &'static str) -> Result<Place, Problem> {
        if self.0.shutdown.soft().is_cancelled() {
            return Err(Problem::new(ProblemKind::Unavailable, "this process is shutting down").expected());
        }
        let permit = self.0.places.clone().try_acquire_owned().map_err(|_| {
            self.0.metrics.rejected("streams");
            let detail = "this process has as many listeners as API_MAX_STREAMS allows; connect again later";
            Problem::new(ProblemKind::Unavailable, detail).expected()
        })?;
        let listeners = self.0.metrics.listeners(stream);
        listeners.inc();
        Ok(Place { _permit: permit, listeners })
    }

    /// Waits for the first read.
    async fn until<T: Clone>(
        &self,
        receiver: &mut watch::Receiver<T>,
        is_read: impl FnMut(&T) -> bool,
    ) -> Result<T, Problem> {
        let soft = self.0.shutdown.soft();
        match timeout(CALL_LIMIT, soft.run_until_cancelled(receiver.wait_for(is_read))).await {
            Ok(Some(Ok(value))) => Ok(value.clone()),
            Ok(Some(Err(_)) | None) => {
                Err(Problem::new(ProblemKind::Unavailable, "this process is shutting down").expected())
            }
            Err(_) => Err(Problem::unanswered()),
        }
    }

    /// The response. Events are made when the connection can take them, and end with the shutdown, so that they do not delay it.
    fn respond(&self, source: Source, place: Place) -> Response {
        let retry = Event::default().retry(Duration::from_millis(rand::random_range(RETRY_MS)));
        let events = stream::unfold((source, place), |(mut source, place)| async move {
            Some((source.next().await?, (source, place)))
        });
        let events = stream::iter([retry]).chain(events);
        let events = events.take_until(self.0.shutdown.soft().clone().cancelled_owned());
        let keep_alive = KeepAlive::new().interval(self.0.keep_alive);
        let mut response = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(keep_alive).into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // nginx and the proxies that follow it pass each event on at once
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    }
}

/// Where the events of a listener come from.
enum Source {
    Job(Box<JobEvents>),
    Board(BoardEvents),
}

impl Source {
    async fn next(&mut self) -> Option<Event> {
        match self {
            Self::Job(events) => events.next().await,
            Self::Board(events) => events.next().await,
        }
    }
}

/// See [`Streams::place`].
struct Place {
    _permit: OwnedSemaphorePermit,
    listeners: IntGauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.listeners.dec();
    }
}

/// The id of the last event that the client has received, if it connects again.
fn last_event_id<T>(headers: &HeaderMap, parse: fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let id = value.to_str().ok().and_then(parse);
    id.map(Some).ok_or_else(|| {
        let detail = "`Last-Event-ID` is not the id of an event of this stream; leave it out for a snapshot";
        Problem::new(ProblemKind::BadRequest, detail)
    })
}

/// The refusal of a listener that comes during an outage, which the reader has logged.
fn away() -> Problem {
    Problem::new(ProblemKind::Unavailable, "the database is unavailable; connect again later").expected()
}
