//! The events of one listener of a job. Owns its place in the log and what it has been sent; makes an event only when the connection can take
//! one, from the latest picture, so a slow listener needs no memory.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::response::sse::Event;
use jobqueue_core::{AttemptLog, JobId, LogPosition};
use tokio::sync::watch;

use super::job_picture::JobPicture;
use super::job_watch::Seen;
use super::outage_event::{available, unavailable, unreadable};
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::stream::LogEvent;

/// Attempts whose logs are read from the database at once.
const LOGS_AT_ONCE: usize = 5;
/// What follows the position in the id of the event `end`.
const ENDED: &str = "-end";

/// Where a listener continues: the id of the last event that it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobEventId {
    position: LogPosition,
    /// Whether that was the event `end`.
    has_ended: bool,
}

impl JobEventId {
    /// Reads an id that [`JobEvents`] has sent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (position, has_ended) = match text.strip_suffix(ENDED) {
            Some(position) => (position, true),
            None => (text, false),
        };
        Some(Self { position: position.parse().ok()?, has_ended })
    }
}

/// See the module.
pub(crate) struct JobEvents {
    id: JobId,
    seen: watch::Receiver<Seen>,
    store: StoreAccess,
    position: LogPosition,
    /// Logs of earlier attempts that were read from the database and are not sent yet.
    earlier: VecDeque<AttemptLog>,
    /// What the last events of these names contained.
    sent_status: Option<Arc<str>>,
    sent_progress: Option<Arc<str>>,
    /// Whether the last event about the database was `unavailable`.
    is_unavailable: bool,
    is_over: bool,
}

/// What to do next.
enum Step {
    Send(Event),
    /// Read the logs before those of the picture, and call again.
    ReadEarlier(LogPosition),
    /// There is nothing to send until the picture changes.
    Wait,
}

impl JobEvents {
    /// The events after `last`, or from a snapshot on, of which the logs are those of the last attempt. `None` if the listener has received
    /// the end already.
    pub(crate) fn new(
        id: JobId,
        seen: watch::Receiver<Seen>,
        store: StoreAccess,
        last: Option<JobEventId>,
    ) -> Option<Self> {
        let picture = seen.borrow().picture.clone();
        let picture = picture.as_deref();
        let knows_end = |last: &JobEventId| {
            last.has_ended && picture.is_some_and(|now| now.is_final && now.end() <= last.position)
        };
        if last.as_ref().is_some_and(knows_end) {
            return None;
        }
        let newest = picture.and_then(|picture| picture.logs.last()).map(|log| log.epoch).unwrap_or_default();
        let beginning = LogPosition { epoch: newest, bytes: 0 };
        Some(Self {
            id,
            seen,
            store,
            position: last.map_or(beginning, |last| last.position),
            earlier: VecDeque::new(),
            sent_status: None,
            sent_progress: None,
            is_unavailable: false,
            is_over: false,
        })
    }

    /// The next event, as soon as there is one; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            let Seen { picture, is_unavailable } = self.seen.borrow_and_update().clone();
            if self.sent_status.is_some() && is_unavailable != self.is_unavailable {
                self.is_unavailable = is_unavailable;
                return Some(if is_unavailable {
                    unavailable("the database is unavailable")
                } else {
                    available()
                });
            }
            match picture.map_or(Step::Wait, |picture| self.step(&picture)) {
                Step::Send(event) => return Some(event),
                Step::ReadEarlier(until) => {
                    if let Err(problem) = self.read_earlier(until).await {
                        self.is_over = true;
                        return Some(unavailable(problem.detail()));
                    }
                }
                // an error means that the process shuts down
                Step::Wait => self.seen.changed().await.ok()?,
            }
        }
        None
    }

    /// The order is that in which things happened: the logs of ended attempts, then that the job runs, then the log of this attempt; or all
    /// logs, the progress, and then that the job does not run any more.
    fn step(&mut self, now: &JobPicture) -> Step {
        let is_new = self.sent_status.as_ref() != Some(&now.status);
        if now.is_deleted {
            self.is_over = true;
            return Step::Send(self.end(now));
        }
        if now.is_unreadable {
            self.is_over = true;
            return Step::Send(unreadable(
                "the stored state of the job is invalid; the log of the API says why",
            ));
        }
        // a stream begins with a snapshot
        if self.sent_status.is_none() {
            return Step::Send(self.status(now));
        }
        if let Some(event) = self.earlier_line() {
            return Step::Send(event);
        }
        if let Some(first) = now.logs.first().filter(|_| now.is_behind(self.position)) {
            return Step::ReadEarlier(LogPosition { epoch: first.epoch, bytes: 0 });
        }
        let runs = now.lease.filter(|_| is_new);
        let logs = now.logs.iter().filter(|log| runs.is_none_or(|lease| log.epoch < lease));
        if let Some(event) = self.line(logs.map(AsRef::as_ref)) {
            return Step::Send(event);
        }
        if runs.is_some() {
            return Step::Send(self.status(now));
        }
        if let Some(progress) = now.progress.as_ref().filter(|new| self.sent_progress.as_ref() != Some(new)) {
            self.sent_progress = Some(progress.clone());
            return Step::Send(self.event("progress", progress));
        }
        if is_new {
            return Step::Send(self.status(now));
        }
        if now.is_final {
            self.is_over = true;
            return Step::Send(self.end(now));
        }
        Step::Wait
    }

    fn status(&mut self, now: &JobPicture) -> Event {
        self.sent_status = Some(now.status.clone());
        self.event("status", &now.status)
    }

    fn end(&self, now: &JobPicture) -> Event {
        Event::default().event("end").id(format!("{}{ENDED}", self.position)).data(&now.status)
    }

    /// Each event has the place in the log as its id, because a listener that continues there gets a snapshot of everything else.
    fn event(&self, name: &str, json: &str) -> Event {
        Event::default().event(name).id(self.position.to_string()).data(json)
    }

    /// The first line after the position.
    fn line<'a>(&mut self, logs: impl Iterator<Item = &'a AttemptLog>) -> Option<Event> {
        for log in logs {
            if let Some(line) = log.line_after(self.position) {
                self.position = line.next;
                let event = LogEvent { attempt: log.attempt, line: line.text, skipped_bytes: line.skipped };
                let json = serde_json::to_string(&event).unwrap_or_default();
                return Some(self.event("log", &json));
            }
        }
        None
    }

    fn earlier_line(&mut self) -> Option<Event> {
        while let Some(log) = self.earlier.pop_front() {
            if let Some(event) = self.line(std::iter::once(&log)) {
                self.earlier.push_front(log);
                return Some(event);
            }
            self.position = self.position.max(log.end());
        }
        None
    }

    /// Reads the next logs before `until`. If there are no more, the position becomes `until`.
    async fn read_earlier(&mut self, until: LogPosition) -> Result<(), Problem> {
        let (id, after) = (self.id, self.position);
        let logs = self
            .store
            .call(move |store| async move { store.job_logs(id, after, LOGS_AT_ONCE).await })
            .await?;
        let is_last = logs.len() < LOGS_AT_ONCE || logs.iter().any(|log| log.epoch >= until.epoch);
        self.earlier = logs.into_iter().filter(|log| log.epoch < until.epoch).collect();
        if is_last {
            let end = AttemptLog { epoch: until.epoch, ..AttemptLog::default() };
            self.earlier.push_back(end);
        }
        Ok(())
    }
}
