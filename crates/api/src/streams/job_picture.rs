//! What the process knows of a watched job. Owns how a new read is combined with what was known, and what is dropped. It reads nothing.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jobqueue_core::limits::MAX_LOG_BYTES;
use jobqueue_core::{AttemptLog, JobId, LogPosition};
use jobqueue_store::{NewReport, REPORTS_READ, WatchedJob, WatchedState};
use serde::Serialize;

use crate::wire::stream::{JobDeletedEvent, JobStatusEvent, ProgressEvent};

/// A job at one time. All listeners of the job share it.
#[derive(Clone, Debug)]
pub(crate) struct JobPicture {
    /// Data of its `status` event.
    pub(crate) status: Arc<str>,
    /// Whether it will not change any more, unless an operator retries it.
    pub(crate) is_final: bool,
    /// Whether it is no longer stored.
    pub(crate) is_deleted: bool,
    /// Whether its stored state is invalid.
    pub(crate) is_unreadable: bool,
    /// Epoch of the lease while it runs.
    pub(crate) lease: Option<i64>,
    /// Data of its latest `progress` event.
    pub(crate) progress: Option<Arc<str>>,
    /// The logs of its last attempts that have one, oldest first.
    pub(crate) logs: Vec<Arc<AttemptLog>>,
    /// The end of the last log before these. `None` if it is not known, because it was never read.
    pub(crate) before_logs: Option<LogPosition>,
    reported_at: Option<DateTime<Utc>>,
}

impl JobPicture {
    /// The picture after a read; `None` if nothing has changed.
    pub(crate) fn after(before: Option<&Self>, state: &WatchedState) -> Option<Self> {
        let status = json(&JobStatusEvent::new(state));
        let same =
            |before: &Self| before.status == status && before.lease == state.lease && !before.is_deleted;
        if state.reports.is_empty() && before.is_some_and(same) {
            return None;
        }
        let mut picture = Self {
            status,
            is_final: state.status.is_final(),
            is_deleted: false,
            is_unreadable: false,
            lease: state.lease,
            progress: before.and_then(|before| before.progress.clone()),
            logs: before.map(|before| before.logs.clone()).unwrap_or_default(),
            before_logs: before.map_or_else(|| all_read(&state.reports), |before| before.before_logs),
            reported_at: before.and_then(|before| before.reported_at),
        };
        picture.add(&state.reports);
        for log in &mut picture.logs {
            let is_complete = picture.lease != Some(log.epoch);
            if log.is_complete != is_complete {
                Arc::make_mut(log).is_complete = is_complete;
            }
        }
        Some(picture)
    }

    /// The picture of a job that does not exist.
    pub(crate) fn deleted(id: JobId) -> Self {
        let status = json(&JobDeletedEvent { id: id.as_uuid(), status: "deleted" });
        Self { status, is_final: true, is_deleted: true, ..Self::unknown() }
    }

    /// The picture of a job whose stored state is invalid.
    pub(crate) fn unreadable() -> Self {
        Self { is_unreadable: true, ..Self::unknown() }
    }

    fn unknown() -> Self {
        Self {
            status: "".into(),
            is_final: false,
            is_deleted: false,
            is_unreadable: false,
            lease: None,
            progress: None,
            logs: Vec::new(),
            before_logs: None,
            reported_at: None,
        }
    }

    /// What the next read has to know.
    pub(crate) fn known(&self, id: JobId) -> WatchedJob {
        WatchedJob { id, lease: self.lease, log: self.end(), reported_at: self.reported_at }
    }

    /// The place after all logs.
    pub(crate) fn end(&self) -> LogPosition {
        self.logs.last().map(|log| log.end()).unwrap_or_default()
    }

    /// Whether the lines between `position` and the kept logs have to be read from the database.
    pub(crate) fn is_behind(&self, position: LogPosition) -> bool {
        self.logs.first().is_some_and(|first| position.epoch < first.epoch)
            && self.before_logs.is_none_or(|end| position < end)
    }

    fn add(&mut self, reports: &[NewReport]) {
        let last = self.logs.last().map_or(0, |log| log.epoch);
        // if all of them are of later attempts, the read may have left out others between
        if all_read(reports).is_none() && reports.iter().all(|new| new.epoch > last) {
            self.logs.clear();
            self.before_logs = None;
        }
        for new in reports {
            if self.logs.last().is_none_or(|log| log.epoch != new.epoch) {
                let dropped = new.log_end.saturating_sub(u64::try_from(new.text.len()).unwrap_or(0));
                let log = AttemptLog { epoch: new.epoch, dropped, ..AttemptLog::default() };
                self.logs.push(Arc::new(log));
            }
            if let Some(log) = self.logs.last_mut().map(Arc::make_mut) {
                log.attempt = new.attempt;
                log.append(&new.text, new.log_end, MAX_LOG_BYTES);
            }
            if let Some(progress) = &new.progress {
                self.progress = Some(json(&ProgressEvent { attempt: new.attempt, progress }));
            }
            self.reported_at = Some(new.stored_at);
        }
        while self.logs.len() > REPORTS_READ {
            self.before_logs = Some(self.logs.remove(0).end());
        }
    }
}

/// The beginning of all logs if a read has returned all reports that there are.
fn all_read(reports: &[NewReport]) -> Option<LogPosition> {
    (reports.len() < REPORTS_READ).then(LogPosition::default)
}

fn json(event: &impl Serialize) -> Arc<str> {
    serde_json::to_string(event).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use jobqueue_core::{Json, Status};

    use super::*;

    fn state(status: Status, lease: Option<i64>, reports: Vec<NewReport>) -> WatchedState {
        WatchedState {
            id: JobId::from_ticks(1, 0),
            queue: "q".parse().unwrap(),
            kind: "k".parse().unwrap(),
            status,
            attempt: Some(1),
            max_attempts: 3,
            run_at: None,
            started_at: None,
            finished_at: None,
            worker_id: None,
            lease,
            cancel_requested: false,
            error: None,
            reports,
        }
    }

    fn report(epoch: i64, text: &str, log_end: u64) -> NewReport {
        NewReport {
            epoch,
            attempt: Some(1),
            text: text.to_owned(),
            log_end,
            progress: None,
            stored_at: DateTime::UNIX_EPOCH,
        }
    }

    fn texts(picture: &JobPicture) -> Vec<(i64, &str)> {
        picture.logs.iter().map(|log| (log.epoch, log.text.as_str())).collect()
    }

    #[test]
    fn an_unchanged_job_makes_no_new_picture() {
        let first = JobPicture::after(None, &state(Status::Running, Some(5), vec![])).unwrap();
        assert!(JobPicture::after(Some(&first), &state(Status::Running, Some(5), vec![])).is_none());
        let next = JobPicture::after(Some(&first), &state(Status::Queued, None, vec![])).unwrap();
        assert_ne!(first.status, next.status);
        let progress = NewReport { progress: Some(Json::of(&7).unwrap()), ..report(5, "", 0) };
        let next = JobPicture::after(Some(&first), &state(Status::Running, Some(5), vec![progress])).unwrap();
        assert_eq!(next.progress.as_deref(), Some(r#"{"attempt":1,"progress":7}"#));
    }

    #[test]
    fn logs_grow_and_are_complete_when_their_attempt_ends() {
        let first = state(Status::Running, Some(5), vec![report(5, "one\n", 4)]);
        let first = JobPicture::after(None, &first).unwrap();
        assert_eq!(first.before_logs, Some(LogPosition::default()), "there was no log before");
        let next = state(Status::Running, Some(5), vec![report(5, "two", 7)]);
        let next = JobPicture::after(Some(&first), &next).unwrap();
        assert_eq!(texts(&next), [(5, "one\ntwo")]);
        assert!(!next.logs[0].is_complete);
        let known = next.known(JobId::from_ticks(1, 0));
        assert_eq!((known.log, known.lease), (LogPosition { epoch: 5, bytes: 7 }, Some(5)));
        let retried = state(Status::Running, Some(6), vec![report(6, "three\n", 6)]);
        let retried = JobPicture::after(Some(&next), &retried).unwrap();
        assert_eq!(texts(&retried), [(5, "one\ntwo"), (6, "three\n")]);
        assert!(retried.logs[0].is_complete && !retried.logs[1].is_complete);
    }

    #[test]
    fn a_listener_reads_from_the_database_only_what_was_dropped_or_never_read() {
        let at = |epoch, bytes| LogPosition { epoch, bytes };
        let reports = (5..8).map(|epoch| report(epoch, "x\n", 2)).collect();
        let first = JobPicture::after(None, &state(Status::Running, Some(7), reports)).unwrap();
        assert!(first.is_behind(at(0, 0)) && first.is_behind(at(4, 9)) && !first.is_behind(at(5, 0)));
        let next = state(Status::Running, Some(8), vec![report(8, "y\n", 2)]);
        let next = JobPicture::after(Some(&first), &next).unwrap();
        assert_eq!(texts(&next), [(6, "x\n"), (7, "x\n"), (8, "y\n")]);
        assert!(next.is_behind(at(5, 0)) && !next.is_behind(at(5, 2)), "it had read all of attempt 5");
        // three later attempts at once: the read may have left out a fourth one
        let reports = (10..13).map(|epoch| report(epoch, "z\n", 2)).collect();
        let gap = JobPicture::after(Some(&next), &state(Status::Running, Some(12), reports)).unwrap();
        assert_eq!(gap.logs.len(), 3);
        assert!(gap.is_behind(at(8, 2)));
    }
}
