//! What a handler sees of its job. Owns the identity, remaining time, stop request and reports of one
//! attempt; gives no access to the store.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_core::limits::{MAX_LOG_BYTES, MAX_PROGRESS_BYTES};
use jobqueue_core::{Job, JobId, Json, KindName, QueueName};
use jobqueue_store::AttemptReport;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stop::{Stop, StopReason};

/// The slot that an attempt occupies, until the last clone of its context is gone.
pub(crate) type Slot = OwnedSemaphorePermit;

/// One attempt of one job, as its handler sees it. Cheap to clone; a clone that outlives the handler keeps
/// the slot.
#[derive(Clone)]
pub struct JobContext(Arc<Inner>);

struct Inner {
    job: Arc<Job>,
    deadline: Instant,
    stop: Stop,
    report: Arc<ReportBuffer>,
    traceparent: Option<String>,
    _slot: Slot,
}

/// A progress value that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("progress: {0}")]
pub struct ProgressError(String);

impl JobContext {
    pub(crate) fn new(
        job: Arc<Job>,
        deadline: Instant,
        stop: Stop,
        report: Arc<ReportBuffer>,
        (traceparent, slot): (Option<String>, Slot),
    ) -> Self {
        Self(Arc::new(Inner { job, deadline, stop, report, traceparent, _slot: slot }))
    }

    /// The job's id; the same in every attempt.
    pub fn id(&self) -> JobId {
        self.0.job.id
    }

    /// The job's kind, which selects the handler.
    pub fn kind(&self) -> &KindName {
        &self.0.job.kind
    }

    /// The queue from which the job was leased.
    pub fn queue(&self) -> &QueueName {
        &self.0.job.queue
    }

    /// The number of this attempt, starting at 1.
    pub fn attempt(&self) -> u16 {
        self.0.job.attempt
    }

    /// The largest number of attempts that the job may have.
    pub fn max_attempts(&self) -> u16 {
        self.0.job.max_attempts
    }

    /// The payload, exactly as it was submitted.
    pub fn payload(&self) -> &Json {
        &self.0.job.payload
    }

    /// The tags that the submitter set.
    pub fn tags(&self) -> &[String] {
        &self.0.job.tags
    }

    /// The metadata object that the submitter set.
    pub fn metadata(&self) -> Option<&Json> {
        self.0.job.metadata.as_ref()
    }

    /// The W3C trace context to send with requests of this attempt.
    pub fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    /// When the attempt reaches its time limit and is ended.
    pub fn deadline(&self) -> Instant {
        self.0.deadline
    }

    /// Time until the deadline; zero if it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.deadline.saturating_duration_since(Instant::now())
    }

    /// Cancelled at the first request to stop, including the warning of the soft timeout.
    /// [`stop_reason`](Self::stop_reason) returns the reason.
    pub fn cancellation(&self) -> &CancellationToken {
        self.0.stop.token()
    }

    /// Whether the handler was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancellation().is_cancelled()
    }

    /// Waits until the handler is asked to stop, and returns the reason.
    pub async fn cancelled(&self) -> StopReason {
        self.cancellation().cancelled().await;
        self.stop_reason().unwrap_or(StopReason::Cancel)
    }

    /// Waits until the handler must stop: like [`cancelled`](Self::cancelled), but ignores the warning of the
    /// soft timeout.
    pub async fn must_stop(&self) -> StopReason {
        self.0.stop.must_stop().await
    }

    /// Why the handler must stop; `None` while it may continue.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.0.stop.reason()
    }

    /// Reports the progress of the attempt: any JSON of up to 4 KiB. Only the latest value is kept; it is
    /// stored within about a second.
    pub fn progress(&self, value: &(impl Serialize + ?Sized)) -> Result<(), ProgressError> {
        let json = Json::of(value).map_err(|error| ProgressError(error.to_string()))?;
        if json.len() > MAX_PROGRESS_BYTES {
            return Err(ProgressError(format!(
                "{} bytes, at most {MAX_PROGRESS_BYTES} are kept",
                json.len()
            )));
        }
        self.0.report.set_progress(json);
        Ok(())
    }

    /// Adds a line to the attempt's log. The last 16 KiB are kept; a line is stored within about a second.
    pub fn log(&self, text: impl AsRef<str>) {
        self.0.report.add_line(text.as_ref());
    }
}

impl fmt::Debug for JobContext {
    /// Omits the payload, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let job = &self.0.job;
        f.debug_struct("JobContext").field("id", &job.id).field("kind", &job.kind).finish_non_exhaustive()
    }
}

/// Reports of a handler that are not stored yet; as bounded as the stored ones.
#[derive(Debug)]
pub(crate) struct ReportBuffer {
    unstored: Mutex<AttemptReport>,
    /// Shared by all attempts of a worker: at least one of them has something to report.
    dirty: Arc<AtomicBool>,
}

impl ReportBuffer {
    pub(crate) fn new(dirty: Arc<AtomicBool>) -> Self {
        Self { unstored: Mutex::default(), dirty }
    }

    /// Removes and returns what must be stored, if there is any.
    pub(crate) fn take(&self) -> Option<AttemptReport> {
        let mut unstored = self.lock();
        let any = unstored.progress.is_some() || !unstored.log.is_empty();
        any.then(|| std::mem::take(&mut *unstored))
    }

    /// Puts back what could not be stored; newer reports take precedence.
    pub(crate) fn put_back(&self, older: AttemptReport) {
        let mut unstored = self.lock();
        let newer = std::mem::replace(&mut *unstored, older);
        if newer.progress.is_some() {
            unstored.progress = newer.progress;
        }
        unstored.log.push_str(&newer.log);
        keep_end(&mut unstored.log);
        self.dirty.store(true, Ordering::Relaxed);
    }

    fn set_progress(&self, value: Json) {
        self.lock().progress = Some(value);
        self.dirty.store(true, Ordering::Relaxed);
    }

    fn add_line(&self, text: &str) {
        let mut unstored = self.lock();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let start = text.len().saturating_sub(MAX_LOG_BYTES);
        unstored.log.push_str(&text[text.ceil_char_boundary(start)..]);
        unstored.log.push('\n');
        keep_end(&mut unstored.log);
        self.dirty.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, AttemptReport> {
        self.unstored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the oldest text beyond the limit.
fn keep_end(log: &mut String) {
    let start = log.len().saturating_sub(MAX_LOG_BYTES);
    log.drain(..log.ceil_char_boundary(start));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_bounded_and_survive_a_failed_store() {
        let buffer = ReportBuffer::new(Arc::default());
        assert!(buffer.take().is_none());
        for n in 0..10_000 {
            buffer.add_line(&format!("zeile ü {n}"));
        }
        buffer.add_line(&"é".repeat(MAX_LOG_BYTES));
        assert!(buffer.lock().log.len() <= MAX_LOG_BYTES);
        buffer.set_progress(Json::of(&1).unwrap());
        let unstored = buffer.take().unwrap();
        buffer.add_line("newer");
        buffer.set_progress(Json::of(&2).unwrap());
        buffer.put_back(unstored);
        let both = buffer.take().unwrap();
        assert!(both.log.contains('é') && both.log.ends_with("newer\n") && both.log.len() <= MAX_LOG_BYTES);
        assert_eq!(both.progress.unwrap().as_str(), "2");
    }
}
