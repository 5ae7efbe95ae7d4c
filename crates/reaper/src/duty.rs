//! The definition of a duty, and the loop that repeats it. Owns intervals, metrics and logs; does not know
//! what a duty does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobqueue_runtime::{Shutdown, every};
use jobqueue_store::{Notifier, Store, StoreError};
use tokio::time::{Instant, sleep_until};

use crate::metrics::ReaperMetrics;

/// How long a duty may run without a pause while there is more to do.
const MAX_RUN: Duration = Duration::from_secs(10);
/// A duty that reads whole tables pauses for this many times as long as it ran,
const PAUSE_FACTOR: u32 = 30;
/// or for this time if that is shorter, because autoscalers use its results and an alert fires when they are
/// a minute old,
const MAX_PAUSE: Duration = Duration::from_secs(45);
/// but for at least this many times as long as it ran.
const MIN_PAUSE_FACTOR: u32 = 10;

/// What one step of a duty did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The number of jobs (or rows) that it changed.
    pub jobs: u64,
    /// The step reached its limit: there may be more, so continue without a pause.
    pub more: bool,
}

/// A step of a duty, boxed because duties are kept in a list.
pub type Step<'a> = Pin<Box<dyn Future<Output = Result<Done, StoreError>> + Send + 'a>>;

/// Work that is repeated at an interval.
pub trait Duty: Send + Sync {
    /// The duty's name in metrics and logs.
    fn name(&self) -> &'static str;

    /// The pause between two runs.
    fn interval(&self) -> Duration;

    /// Does what is due now, at most one statement.
    fn step<'a>(&'a self, store: &'a Store, notifier: &'a Notifier) -> Step<'a>;

    /// Whether the duty reads whole tables. They may be large, and a long transaction elsewhere can make
    /// reading them slow.
    fn walks(&self) -> bool {
        false
    }
}

/// Repeats a duty until the shutdown begins.
pub(crate) async fn repeat(
    duty: Box<dyn Duty>,
    store: Store,
    notifier: Notifier,
    metrics: Arc<ReaperMetrics>,
    shutdown: Shutdown,
) {
    let (name, interval) = (duty.name(), duty.interval());
    let duty: Arc<dyn Duty> = Arc::from(duty);
    let rested_at = Arc::new(Mutex::new(Instant::now()));
    every(name, interval, shutdown.clone(), move || {
        let (duty, store, notifier, metrics) =
            (duty.clone(), store.clone(), notifier.clone(), metrics.clone());
        let (rested_at, shutdown) = (rested_at.clone(), shutdown.clone());
        async move {
            // the pause is part of the next run: a run that did nothing would look like a success after a
            // failure
            let rest = *lock(&rested_at);
            tokio::select! {
                () = shutdown.soft().cancelled() => return Ok(()),
                () = sleep_until(rest) => {}
            }
            let began = Instant::now();
            let outcome = run_once(&*duty, &store, &notifier, &metrics).await;
            if duty.walks() && outcome.as_ref().err().is_none_or(StoreError::is_statement_timeout) {
                let took = began.elapsed();
                let rest = (took * PAUSE_FACTOR).min(MAX_PAUSE.max(took * MIN_PAUSE_FACTOR));
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a duty until nothing more is due.
pub(crate) async fn run_once(
    duty: &dyn Duty,
    store: &Store,
    notifier: &Notifier,
    metrics: &ReaperMetrics,
) -> Result<u64, StoreError> {
    let began = Instant::now();
    let mut jobs = 0;
    loop {
        match duty.step(store, notifier).await {
            Ok(done) => {
                jobs += done.jobs;
                if !done.more || began.elapsed() > MAX_RUN {
                    metrics.succeeded(duty.name(), began.elapsed(), jobs);
                    return Ok(jobs);
                }
            }
            Err(error) => {
                metrics.failed(duty.name(), began.elapsed(), jobs, &error);
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jobqueue_store::{Pooler, StoreOptions};
    use jobqueue_testkit::TestDb;
    use prometheus::Registry;
    use tokio::sync::mpsc;
    use tokio::time::sleep;

    use super::*;

    /// Runs for three of its intervals, and reports each run.
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
                url: "postgresql://nowhere.invalid/none".into(),
                application_name: "test".to_owned(),
                max_connections: 1,
                connect_timeout: Duration::from_secs(1),
                pooler: Pooler::None,
            });
            let store = store.unwrap();
            let (spans, mut ran) = mpsc::unbounded_channel();
            let metrics = Arc::new(ReaperMetrics::new(&Registry::new()).unwrap());
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
    /// Log lines of a test.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Reports each failure of the census.
    struct Failing(mpsc::UnboundedSender<()>);

    impl Duty for Failing {
        fn name(&self) -> &'static str {
            "census"
        }

        fn interval(&self) -> Duration {
            Duration::from_millis(10)
        }

        fn walks(&self) -> bool {
            true
        }

        fn step<'a>(&'a self, store: &'a Store, _: &'a Notifier) -> Step<'a> {
            Box::pin(async {
                let error = store.take_census(1).await.unwrap_err();
                self.0.send(()).unwrap();
                Err(error)
            })
        }
    }

    #[tokio::test]
    async fn a_duty_that_rests_after_a_failure_has_not_recovered() {
        let db = TestDb::new().await;
        let limit = format!("ALTER DATABASE {} SET statement_timeout = '20ms'", db.name());
        db.hold(&limit).await.commit().await.unwrap();
        let lock = db.hold("LOCK TABLE jobqueue.queue IN ACCESS EXCLUSIVE MODE").await;
        let store = Store::from_pool(db.pool().options().clone().connect_lazy_with(db.connect_options()));
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _logs = tracing::subscriber::set_default(subscriber);
        let (failed, mut failures) = mpsc::unbounded_channel();
        let metrics = Arc::new(ReaperMetrics::new(&Registry::new()).unwrap());
        let (shutdown, (notifier, _unsent)) = (Shutdown::new(), Notifier::new(&store));
        shutdown.spawn(repeat(Box::new(Failing(failed)), store, notifier, metrics, shutdown.clone()));
        for _ in 0..3 {
            failures.recv().await.unwrap();
        }
        shutdown.begin();
        shutdown.wait().await;
        lock.rollback().await.unwrap();
        let text = String::from_utf8(std::mem::take(&mut *super::lock(&lines.0))).unwrap();
        assert!(text.contains("cannot be used") && !text.contains("recovered"), "{text}");
    }
}
