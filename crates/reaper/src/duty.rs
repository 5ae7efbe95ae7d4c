//! What a duty is, and the loop that repeats it. Knows rhythm, metrics and logs; never what a duty does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_runtime::{Shutdown, every};
use jobqueue_store::{Notifier, Store, StoreError};
use tokio::time::Instant;

use crate::metrics::Metrics;

/// How long a duty may go on without a pause when there is always more to do.
const LONGEST_STINT: Duration = Duration::from_secs(10);
/// A duty that reads whole tables rests this many times as long as it worked,
const REST: u32 = 30;
/// or so long if that is less: autoscalers go by what it tells, and an alert is raised when that is a minute old,
const LONGEST_REST: Duration = Duration::from_secs(45);
/// but never less than this many times as long.
const LEAST_REST: u32 = 10;

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

    /// Whether it reads whole tables. They may be large, and somebody's long transaction can make them slow to read.
    fn walks(&self) -> bool {
        false
    }

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
    let duty: Arc<dyn Duty> = Arc::from(duty);
    let rested_at = Arc::new(Mutex::new(Instant::now()));
    every(name, interval, shutdown, move || {
        let (duty, store, notifier, metrics) =
            (duty.clone(), store.clone(), notifier.clone(), metrics.clone());
        let rested_at = rested_at.clone();
        async move {
            let began = Instant::now();
            if *lock(&rested_at) > began {
                return Ok(());
            }
            let outcome = run_once(&*duty, &store, &notifier, &metrics).await;
            if duty.walks() && outcome.as_ref().err().is_none_or(was_slow) {
                let took = began.elapsed();
                let rest = (took * REST).min(LONGEST_REST.max(took * LEAST_REST));
                *lock(&rested_at) = Instant::now() + rest;
                if outcome.is_ok() {
                    metrics.rests(name, rest);
                }
            }
            outcome.map(|_| ())
        }
    })
    .await;
}

/// Whether the database worked and was told to give up.
fn was_slow(error: &StoreError) -> bool {
    error.class() == "57"
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use jobqueue_store::{Pooler, StoreOptions};
    use prometheus::Registry;
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;

    /// Works for three of its intervals and tells when.
    struct Slow {
        walks: bool,
        seconds: u64,
        spans: mpsc::UnboundedSender<(Instant, Instant)>,
    }

    impl Duty for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn interval(&self) -> Duration {
            Duration::from_secs(1)
        }

        fn walks(&self) -> bool {
            self.walks
        }

        fn step<'a>(&'a self, _: &'a Store, _: &'a Notifier) -> Step<'a> {
            Box::pin(async {
                let began = Instant::now();
                sleep(Duration::from_secs(self.seconds)).await;
                self.spans.send((began, Instant::now())).unwrap();
                Ok(Done::default())
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_duty_that_reads_whole_tables_takes_a_small_part_of_the_time_and_is_not_late() {
        for (walks, seconds, shortest, longest) in
            [(false, 3, 0, 2), (true, 1, 30, 32), (true, 3, 45, 47), (true, 30, 300, 302)]
        {
            let store = Store::connect_lazy(&StoreOptions {
                url: "postgresql://nowhere.invalid/none".to_owned(),
                application_name: "test".to_owned(),
                max_connections: 1,
                connect_timeout: Duration::from_secs(1),
                pooler: Pooler::None,
            });
            let store = store.unwrap();
            let (spans, mut ran) = mpsc::unbounded_channel();
            let metrics = Arc::new(Metrics::new(&Registry::new()).unwrap());
            let (shutdown, (notifier, _unsent)) = (Shutdown::new(), Notifier::new(&store));
            let duty = Box::new(Slow { walks, seconds, spans });
            metrics.expect(duty.name(), duty.interval());
            shutdown.spawn(repeat(duty, store, notifier, metrics.clone(), shutdown.clone()));
            let (_, mut ended) = ran.recv().await.unwrap();
            for _ in 0..5 {
                let (began, next) = ran.recv().await.unwrap();
                let pause = (began - ended).as_secs();
                assert!((shortest..=longest).contains(&pause), "{pause} s, walks: {walks}");
                assert!(metrics.late().is_empty());
                ended = next;
            }
            shutdown.begin();
            shutdown.wait().await;
        }
    }
}
