//! The shutdown of a process: which tasks run, which must stop, and in which order. Owns every task (tasks
//! are spawned only here); does not decide what a service does while it stops.
//!
//! *Soft* means: accept nothing new, finish what is in progress. *Hard* means: stop now. The first SIGTERM or
//! SIGINT begins the soft shutdown; the second one, or the end of the grace period, begins the hard one. Hard
//! implies soft.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The shutdown of one process, or of one service in a test. Clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    soft: CancellationToken,
    hard: CancellationToken,
    /// Cancelled when every owned task has ended. Then the admin port and the other background tasks end,
    /// too.
    drained: CancellationToken,
    tracker: TaskTracker,
    background: TaskTracker,
    failure: OnceLock<String>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A shutdown that has not begun.
    pub fn new() -> Self {
        let hard = CancellationToken::new();
        let inner = Inner {
            soft: hard.child_token(),
            hard,
            drained: CancellationToken::new(),
            tracker: TaskTracker::new(),
            background: TaskTracker::new(),
            failure: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Spawns a loop or another task that must end before the process exits. Call it inside the runtime.
    ///
    /// A panic in it begins the soft shutdown and makes the process exit with 1. Otherwise a process without
    /// one of its parts would look healthy. For work for one request or one job, use
    /// [`spawn_contained`](Self::spawn_contained).
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let alarm = PanicAlarm(self.clone());
        self.inner.tracker.spawn(async move {
            let _alarm = alarm;
            future.await
        })
    }

    /// Spawns a part of the process that must run until the soft shutdown. An error, a panic and an end
    /// before the shutdown are failures of the process. `name` appears in the log line.
    pub fn spawn_service<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let shutdown = self.clone();
        self.spawn(async move {
            match future.await {
                Err(error) => shutdown.fail(format!("{name} failed: {error:#}")),
                Ok(()) if !shutdown.soft().is_cancelled() => shutdown.fail(format!("{name} ended by itself")),
                Ok(()) => {}
            }
        })
    }

    /// Spawns work for one request or one job. It must end before the process exits, and it continues if the
    /// caller is dropped, because a store call must never be interrupted. A panic is returned by the handle.
    pub fn spawn_contained<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.inner.tracker.spawn(future)
    }

    /// Cancelled when the soft shutdown begins: await `soft().cancelled()`, or check `soft().is_cancelled()`.
    pub fn soft(&self) -> &CancellationToken {
        &self.inner.soft
    }

    /// Cancelled when the hard shutdown begins.
    pub fn hard(&self) -> &CancellationToken {
        &self.inner.hard
    }

    /// Begins the soft shutdown. Further calls do nothing.
    pub fn begin(&self) {
        self.inner.soft.cancel();
    }

    /// Begins the hard shutdown, and the soft one if it has not begun.
    pub fn force(&self) {
        self.inner.hard.cancel();
    }

    /// Begins the soft shutdown because of a failure; the process will exit with 1. The first reason is kept.
    pub fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(reason, "shutting down after a failure");
        // a second failure during the shutdown is logged above and changes nothing
        let _later = self.inner.failure.set(reason);
        self.begin();
    }

    /// Why the process must exit with 1; `None` if it does not have to.
    pub fn failure(&self) -> Option<&str> {
        self.inner.failure.get().map(String::as_str)
    }

    /// Limits the soft shutdown to `grace`; then the hard one begins.
    pub fn force_after(&self, grace: Duration) {
        let shutdown = self.clone();
        self.spawn_background(async move {
            shutdown.soft().cancelled().await;
            tokio::select! {
                () = shutdown.drained().cancelled() => {}
                () = shutdown.hard().cancelled() => {}
                () = tokio::time::sleep(grace) => {
                    tracing::warn!(grace_seconds = grace.as_secs_f64(), "the grace period is over, forcing the shutdown");
                    shutdown.force();
                }
            }
        });
    }

    /// Handles SIGTERM and SIGINT: the first signal begins the soft shutdown, the second one the hard
    /// shutdown.
    ///
    /// # Errors
    /// The operating system refuses a signal handler.
    pub fn listen_for_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        self.spawn_background(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if shutdown.soft().is_cancelled() {
                    tracing::warn!(signal = name, "second signal, forcing the shutdown");
                    shutdown.force();
                } else {
                    tracing::info!(signal = name, "signal received, shutting down; a second one forces");
                    shutdown.begin();
                }
            }
        });
        Ok(())
    }

    /// Waits until every spawned task has ended. It does not begin a shutdown: while services run it waits
    /// for a signal, and without tasks it returns at once.
    pub async fn wait(&self) {
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }

    /// Cancelled when every owned task has ended.
    pub(crate) fn drained(&self) -> &CancellationToken {
        &self.inner.drained
    }

    /// Runs a task that the process does not wait for, such as the admin port, which must answer until the
    /// drain is over.
    pub(crate) fn spawn_background<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let drained = self.inner.drained.clone();
        self.inner.background.spawn(async move {
            // the admin port watches `drained` itself and has a short time to close its connections
            let overdue = async {
                drained.cancelled().await;
                tokio::time::sleep(BACKGROUND_GRACE).await;
            };
            tokio::select! {
                () = future => {}
                () = overdue => {}
            }
        });
    }

    /// Ends the background tasks when the drain is over.
    pub(crate) async fn finish(&self) {
        self.inner.drained.cancel();
        self.inner.background.close();
        self.inner.background.wait().await;
    }
}

/// How long background tasks may take after the drain: enough to finish writing a response.
const BACKGROUND_GRACE: Duration = Duration::from_millis(200);

/// Fails the process if it is dropped by a panic. An aborted task and a normal end do nothing.
struct PanicAlarm(Shutdown);

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("a task panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn soft_comes_before_hard_and_hard_implies_soft() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.soft().is_cancelled());
        shutdown.begin();
        assert!(shutdown.soft().is_cancelled() && !shutdown.hard().is_cancelled());
        shutdown.force();
        assert!(shutdown.hard().is_cancelled());

        let forced = Shutdown::new();
        forced.force();
        assert!(forced.soft().is_cancelled() && forced.hard().is_cancelled());
        assert_eq!(forced.failure(), None);
    }

    #[tokio::test]
    async fn a_panicking_task_begins_the_shutdown_and_is_a_failure() {
        let shutdown = Shutdown::new();
        let task = shutdown.spawn(async { panic!("expected by this test") });
        tokio::time::timeout(Duration::from_secs(30), shutdown.soft().cancelled()).await.unwrap();
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(shutdown.failure(), Some("a task panicked"));
        shutdown.wait().await;
    }

    #[tokio::test]
    async fn a_contained_panic_and_an_abort_are_no_failure() {
        let shutdown = Shutdown::new();
        let panicked = shutdown.spawn_contained(async { panic!("expected by this test") });
        assert!(panicked.await.unwrap_err().is_panic());
        let aborted = shutdown.spawn(std::future::pending::<()>());
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        shutdown.wait().await;
        assert!(!shutdown.soft().is_cancelled());
        assert_eq!(shutdown.failure(), None);
    }

    #[tokio::test]
    async fn a_service_must_live_until_the_shutdown_and_must_not_fail() {
        let early = Shutdown::new();
        early.spawn_service("loop", async { Ok(()) });
        early.soft().cancelled().await;
        assert_eq!(early.failure(), Some("loop ended by itself"));

        let failed = Shutdown::new();
        failed.spawn_service("loop", async { anyhow::bail!("no luck") });
        failed.soft().cancelled().await;
        assert_eq!(failed.failure(), Some("loop failed: no luck"));

        let fine = Shutdown::new();
        let soft = fine.soft().clone();
        fine.spawn_service("loop", async move {
            soft.cancelled().await;
            Ok(())
        });
        fine.begin();
        fine.wait().await;
        assert_eq!(fine.failure(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn wait_outlasts_the_soft_shutdown_and_the_grace_ends_in_force() {
        let shutdown = Shutdown::new();
        shutdown.force_after(Duration::from_secs(50));
        let hard = shutdown.hard().clone();
        let stubborn = shutdown.spawn(async move { hard.cancelled().await });
        shutdown.begin();
        shutdown.wait().await;
        assert!(stubborn.is_finished() && shutdown.hard().is_cancelled());

        let quick = Shutdown::new();
        quick.force_after(Duration::from_secs(50));
        quick.begin();
        quick.wait().await;
        quick.finish().await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!quick.hard().is_cancelled(), "a drain in time is not forced");
    }
}
