//! The life of a process: who runs, who must stop, in which order. Owns every task (spawn only here); never decides
//! what a service does with its last seconds.
//!
//! *Soft* means: take nothing new, finish what you hold. *Hard* means: let go now. The first SIGTERM or SIGINT begins
//! the soft shutdown, the second one, or the end of the grace, the hard one. Hard implies soft.

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
    /// Every owned task has ended: the admin port and other background tasks may go too.
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

    /// Runs a loop or any other task that the end of the process waits for. Must be called inside the runtime.
    ///
    /// A panic in it begins the soft shutdown and makes the process exit with 1: a process that lost one of its parts
    /// would otherwise look healthy and do half of its work. For work on behalf of one request or one job use
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

    /// Runs a part of the process that must live until the soft shutdown. An error, and an end before the shutdown
    /// began, count as a failure of the process just as a panic does. `name` is for the log line.
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

    /// Runs work for one request or one job: the end of the process waits for it, and the caller may go away without
    /// cancelling it (a store call must never be dropped half-way). A panic stays in the returned handle.
    pub fn spawn_contained<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.inner.tracker.spawn(future)
    }

    /// Cancelled when the soft shutdown begins: await `soft().cancelled()`, or ask `soft().is_cancelled()`.
    pub fn soft(&self) -> &CancellationToken {
        &self.inner.soft
    }

    /// Cancelled when the hard shutdown begins.
    pub fn hard(&self) -> &CancellationToken {
        &self.inner.hard
    }

    /// Begins the soft shutdown. Again: nothing.
    pub fn begin(&self) {
        self.inner.soft.cancel();
    }

    /// Begins the hard shutdown, and the soft one if that had not begun.
    pub fn force(&self) {
        self.inner.hard.cancel();
    }

    /// Begins the soft shutdown because something broke; the process will exit with 1. The first reason is kept.
    pub fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(reason, "shutting down after a failure");
        // A second failure while going down is logged above and changes nothing.
        let _later = self.inner.failure.set(reason);
        self.begin();
    }

    /// Why the process must exit with 1, if it must.
    pub fn failure(&self) -> Option<&str> {
        self.inner.failure.get().map(String::as_str)
    }

    /// Lets the soft shutdown take at most `grace`; then the hard one begins.
    pub fn force_after(&self, grace: Duration) {
        let shutdown = self.clone();
        self.spawn_background(async move {
            shutdown.soft().cancelled().await;
            tokio::select! {
                () = shutdown.drained().cancelled() => {}
                () = shutdown.hard().cancelled() => {}
                () = tokio::time::sleep(grace) => {
                    tracing::warn!(grace_seconds = grace.as_secs_f64(), "the grace is over, forcing the shutdown");
                    shutdown.force();
                }
            }
        });
    }

    /// From now on SIGTERM and SIGINT do not kill the process: the first begins the soft shutdown, the second forces.
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

    /// Waits until every spawned task has ended. It does not begin anything: a process whose services run waits here
    /// until a signal comes, one without tasks goes on at once.
    pub async fn wait(&self) {
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }

    /// Cancelled when every owned task has ended.
    pub(crate) fn drained(&self) -> &CancellationToken {
        &self.inner.drained
    }

    /// Runs a task that nobody waits for, such as the admin port, which must answer until the drain is over.
    pub(crate) fn spawn_background<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let drained = self.inner.drained.clone();
        self.inner.background.spawn(async move {
            // The admin port watches `drained` itself and gets a moment to close its connections.
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

    /// The drain is over: ends the background tasks.
    pub(crate) async fn finish(&self) {
        self.inner.drained.cancel();
        self.inner.background.close();
        self.inner.background.wait().await;
    }
}

/// What background tasks get after the drain: enough to write an answer that is under way.
const BACKGROUND_GRACE: Duration = Duration::from_millis(200);

/// Fails the process when it is dropped by a panic, and only then: an abort and a normal end are silent.
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
