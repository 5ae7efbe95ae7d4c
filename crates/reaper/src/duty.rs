//! What a duty is, and the loop that repeats it. Knows rhythm, metrics and logs; never what a duty does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jobqueue_runtime::{Shutdown, every};
use jobqueue_store::{Notifier, Store, StoreError};

use crate::metrics::Metrics;

/// How long a duty may go on without a pause when there is always more to do.
const LONGEST_STINT: Duration = Duration::from_secs(10);

/// What one step of a duty did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Jobs (or rows) that it moved.
    pub jobs: u64,
    /// The step was full: there may be more, go on without a pause.
    pub more: bool,
}

/// A step of a duty, boxed because duties are kept in a list.
pub type Step<'a> = Pin<Box<dyn Future<Output = Result<Done, StoreError>> + Send + 'a>>;

/// Something that is due again and again.
pub trait Duty: Send + Sync {
    /// Its name, in metrics and logs.
    fn name(&self) -> &'static str;

    /// The pause between two runs.
    fn interval(&self) -> Duration;

    /// Does what is due now, at most one statement's worth.
    fn step<'a>(&'a self, store: &'a Store, notifier: &'a Notifier) -> Step<'a>;

    /// The database did not answer; for duties that must be careful after an outage.
    fn database_was_away(&self) {}
}

/// Repeats a duty until the shutdown begins.
pub(crate) async fn repeat(
    duty: Box<dyn Duty>,
    store: Store,
    notifier: Notifier,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) {
    let (name, interval) = (duty.name(), duty.interval());
    metrics.expect(name, interval);
    let duty: Arc<dyn Duty> = Arc::from(duty);
    every(name, interval, shutdown, move || {
        let (duty, store, notifier, metrics) =
            (duty.clone(), store.clone(), notifier.clone(), metrics.clone());
        async move { run_once(&*duty, &store, &notifier, &metrics).await.map(|_| ()) }
    })
    .await;
}

/// Runs a duty until nothing more is due.
pub(crate) async fn run_once(
    duty: &dyn Duty,
    store: &Store,
    notifier: &Notifier,
    metrics: &Metrics,
) -> Result<u64, StoreError> {
    let began = Instant::now();
    let mut jobs = 0;
    loop {
        match duty.step(store, notifier).await {
            Ok(done) => {
                jobs += done.jobs;
                if !done.more || began.elapsed() > LONGEST_STINT {
                    metrics.succeeded(duty.name(), began.elapsed(), jobs);
                    return Ok(jobs);
                }
            }
            Err(error) => {
                metrics.failed(duty.name(), began.elapsed(), jobs, &error);
                duty.database_was_away();
                return Err(error);
            }
        }
    }
}

/// Remembers an outage that this process saw.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<Option<Instant>>);

impl Outage {
    /// It is happening now.
    pub(crate) fn seen(&self) {
        if let Ok(mut last) = self.0.lock() {
            *last = Some(Instant::now());
        }
    }

    /// Whether it was less than `span` ago.
    pub(crate) fn within(&self, span: Duration) -> bool {
        self.0.lock().is_ok_and(|last| last.is_some_and(|at| at.elapsed() < span))
    }
}
