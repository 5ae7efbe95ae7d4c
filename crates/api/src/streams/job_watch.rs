//! Reads the jobs that are watched: one statement a second for all of them, and none while there is no listener. Owns the pictures of the jobs,
//! which all listeners share. A listener that is slow costs nothing here, because only the latest picture is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_core::{JobId, LogPosition};
use jobqueue_runtime::{Backoff, OutageLog, Shutdown};
use jobqueue_store::{Store, UnreadableJob, WatchedJob, WatchedState};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::job_picture::JobPicture;
use super::pace::{LONGEST_PAUSE, READ_EVERY};

/// How long a new listener waits for others, so that listeners that arrive together share a read.
const GATHER: Duration = Duration::from_millis(50);

/// What is known of a watched job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// `None` before the first read.
    pub(crate) picture: Option<Arc<JobPicture>>,
    /// Whether the last read failed.
    pub(crate) is_unavailable: bool,
}

/// The jobs that are watched. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobWatch {
    watched: Arc<Mutex<HashMap<JobId, watch::Sender<Seen>>>>,
    /// Notified when a job gets its first listener.
    new_job: Arc<Notify>,
}

impl JobWatch {
    /// Starts the reader, which ends with the soft shutdown.
    pub(crate) fn start(store: &Store, outages: &Arc<OutageLog>, shutdown: &Shutdown) -> Self {
        let this = Self::default();
        let reader = Reader {
            watch: this.clone(),
            store: store.clone(),
            outages: outages.clone(),
            backoff: Backoff::new(READ_EVERY, LONGEST_PAUSE),
            next_round: Instant::now(),
            failed: false,
        };
        let soft = shutdown.soft().clone();
        shutdown.spawn(async move {
            let mut reader = reader;
            while !soft.is_cancelled() {
                // a store call must not be dropped, so only the pauses end early
                reader.read_due().await;
                soft.run_until_cancelled(reader.pause()).await;
            }
        });
        this
    }

    /// Watches a job as long as the receiver exists.
    pub(crate) fn subscribe(&self, id: JobId) -> watch::Receiver<Seen> {
        let mut watched = self.lock();
        // without a listener a job is not read, so its picture may be old
        if let Some(sender) = watched.get(&id).filter(|sender| !sender.is_closed()) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Seen::default());
        watched.insert(id, sender);
        self.new_job.notify_one();
        receiver
    }

    /// The jobs that still have listeners: all of them, or only those that were not read yet.
    fn wanted(&self, all: bool) -> Vec<WatchedJob> {
        let mut watched = self.lock();
        watched.retain(|_, sender| !sender.is_closed());
        let job = |(id, sender): (&JobId, &watch::Sender<Seen>)| match &sender.borrow().picture {
            None => Some(unknown(*id)),
            Some(picture) if all => Some(picture.known(*id)),
            Some(_) => None,
        };
        watched.iter().filter_map(job).collect()
    }

    fn is_empty(&self) -> bool {
        self.lock().values().all(watch::Sender::is_closed)
    }

    /// Stores what a read has returned and wakes the listeners of jobs that have changed.
    fn update(&self, asked: &[WatchedJob], states: Vec<Result<WatchedState, UnreadableJob>>) {
        let id_of = |state: &Result<WatchedState, UnreadableJob>| match state {
            Ok(state) => state.id,
            Err(job) => job.id,
        };
        let mut states: HashMap<JobId, Result<WatchedState, UnreadableJob>> =
            states.into_iter().map(|state| (id_of(&state), state)).collect();
        let watched = self.lock();
        for job in asked {
            let id = job.id;
            let Some(sender) = watched.get(&id) else { continue };
            sender.send_if_modified(|seen| {
                let before = seen.picture.as_deref();
                // its listeners have changed during the read, so what was read does not follow what is known
                if before.map_or_else(|| unknown(id), |before| before.known(id)) != *job {
                    return false;
                }
                let picture = match states.remove(&id) {
                    Some(Ok(state)) => JobPicture::after(before, &state),
                    Some(Err(_)) if before.is_some_and(|before| before.is_unreadable) => None,
                    Some(Err(UnreadableJob { error, .. })) => {
                        tracing::error!(job_id = %id, cause = error.word(), %error, "a job cannot be read, so its streams end");
                        Some(JobPicture::unreadable())
                    }
                    None if before.is_some_and(|before| before.is_deleted) => None,
                    None => Some(JobPicture::deleted(id)),
                };
                let is_back = std::mem::take(&mut seen.is_unavailable);
                let is_new = picture.is_some();
                if let Some(picture) = picture {
                    seen.picture = Some(Arc::new(picture));
                }
                is_new || is_back
            });
        }
    }

    /// Wakes the listeners, because the jobs cannot be read.
    fn fail(&self, asked: &[WatchedJob]) {
        let watched = self.lock();
        for sender in asked.iter().filter_map(|job| watched.get(&job.id)) {
            sender.send_if_modified(|seen| !std::mem::replace(&mut seen.is_unavailable, true));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<Seen>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(id: JobId) -> WatchedJob {
    WatchedJob { id, lease: None, log: LogPosition::default(), reported_at: None }
}

/// The task behind a [`JobWatch`].
struct Reader {
    watch: JobWatch,
    store: Store,
    outages: Arc<OutageLog>,
    backoff: Backoff,
    /// When all jobs are read again.
    next_round: Instant,
    failed: bool,
}

impl Reader {
    /// Reads the jobs that are due: new ones at once, all of them each second. During an outage new ones wait for the next attempt, too.
    async fn read_due(&mut self) {
        let now = Instant::now();
        let is_round = now >= self.next_round;
        let jobs = self.watch.wanted(is_round);
        if is_round {
            self.next_round = now + READ_EVERY;
        }
        if jobs.is_empty() {
            return;
        }
        if self.failed && !is_round {
            self.watch.fail(&jobs);
            return;
        }
        match self.store.watched(&jobs).await {
            Ok(states) => {
                self.backoff.reset();
                self.failed = false;
                self.watch.update(&jobs, states);
            }
            Err(error) => {
                self.outages.failed("the streams of jobs", error.word(), &error);
                self.next_round = Instant::now() + READ_EVERY + self.backoff.fail();
                self.failed = true;
                self.watch.fail(&jobs);
            }
        }
    }

    /// Waits until jobs are due again.
    async fn pause(&self) {
        if self.watch.is_empty() {
            self.watch.new_job.notified().await;
            return sleep(GATHER).await;
        }
        tokio::select! {
            () = sleep_until(self.next_round) => {}
            () = self.watch.new_job.notified() => sleep(GATHER).await,
        }
    }
}
