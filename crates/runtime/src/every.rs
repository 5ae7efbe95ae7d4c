//! A loop that repeats an operation. Owns the timing (interval, jitter, backoff, stop); does not know what a
//! tick does, and never cancels one.

use crate::backoff::Backoff;
use crate::shutdown::Shutdown;
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;
use tokio::sync::Notify;

/// The longest pause between two failing ticks. Short, because nothing is reclaimed or started during it
/// after the database is reachable again.
const BACKOFF_CAP: Duration = Duration::from_secs(5);
/// The upper bound of the first pause after a failure.
const BACKOFF_BASE: Duration = Duration::from_secs(1);
/// The shortest pause after a failure: the random pause may be zero, and a failing loop must not spin.
const BACKOFF_FLOOR: Duration = Duration::from_millis(50);

/// Runs `tick` at once and then every `interval` (±10 %, so that replicas do not run at the same time) until
/// the soft shutdown.
///
/// A tick that has begun is always finished, and logs its own errors. After an error the loop continues with
/// exponential backoff and full jitter of up to 5 s; the recovery is logged under `name`. A panic is not
/// caught: it ends the task, which [`Shutdown::spawn`] turns into the end of the process.
pub async fn every<F, Fut, E>(name: &'static str, interval: Duration, shutdown: Shutdown, tick: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    every_or_woken(name, interval, &Notify::new(), shutdown, tick).await;
}

/// Like [`every`], but `wake.notify_one()` starts the next tick early. A notification during a tick starts
/// the next one; a notification during backoff takes effect when the pause is over. Correctness never depends
/// on a notification, because the interval starts ticks as well.
pub async fn every_or_woken<F, Fut, E>(
    name: &'static str,
    interval: Duration,
    wake: &Notify,
    shutdown: Shutdown,
    mut tick: F,
) where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
    while !shutdown.soft().is_cancelled() {
        let outcome = tick().await;
        if outcome.is_ok() && shutdown.soft().is_cancelled() {
            return; // a tick that ended because of the shutdown is not a recovery
        }
        let pause = after(name, interval, &mut backoff, outcome);
        let failing = backoff.failures() > 0;
        tokio::select! {
            biased;
            () = shutdown.soft().cancelled() => {}
            () = wake.notified(), if !failing => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Logs a first failure and a recovery, and returns how long to pause.
fn after<E: Display>(
    name: &'static str,
    interval: Duration,
    backoff: &mut Backoff,
    outcome: Result<(), E>,
) -> Duration {
    match outcome {
        Ok(()) => {
            let failures = backoff.reset();
            if failures > 0 {
                tracing::info!(loop.name = name, failures, "loop recovered");
            }
            interval.mul_f64(rand::random_range(0.9..=1.1))
        }
        Err(error) => {
            let error = format!("{error:#}");
            let pause = backoff.fail().max(BACKOFF_FLOOR);
            tracing::debug!(loop.name = name, error, failures = backoff.failures(), "loop failed");
            pause
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::Instant;

    fn counter() -> (Arc<AtomicU32>, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        (count.clone(), count)
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_at_once_and_then_about_every_interval() {
        let shutdown = Shutdown::new();
        let (sender, mut ticks) = tokio::sync::mpsc::unbounded_channel();
        let began = Instant::now();
        let task = shutdown.spawn(every("test", Duration::from_mins(1), shutdown.clone(), move || {
            sender.send(Instant::now()).unwrap();
            std::future::ready(Ok::<(), Infallible>(()))
        }));
        assert_eq!(ticks.recv().await.unwrap(), began, "the first tick does not wait");
        let mut last = began;
        for _ in 0..20 {
            let now = ticks.recv().await.unwrap();
            let pause = now - last;
            assert!((Duration::from_secs(54)..=Duration::from_millis(66_001)).contains(&pause), "{pause:?}");
            last = now;
        }
        shutdown.begin();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_without_a_hot_loop_and_recover() {
        let shutdown = Shutdown::new();
        let (count, ticks) = counter();
        let began = Instant::now();
        let stop = shutdown.clone();
        // a notification before every tick must not disable the backoff
        let wake = Arc::new(Notify::new());
        let waker = wake.clone();
        every_or_woken("test", Duration::from_millis(1), &wake, shutdown, move || {
            waker.notify_one();
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            if n > 40 {
                stop.begin();
            }
            std::future::ready(if n <= 40 { Err(anyhow::anyhow!("unreachable")) } else { Ok(()) })
        })
        .await;
        assert_eq!(ticks.load(Ordering::SeqCst), 41);
        let spent = began.elapsed();
        assert!(spent >= BACKOFF_FLOOR * 40, "{spent:?}");
        assert!(spent <= BACKOFF_CAP * 40, "{spent:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_up_is_early_and_one_during_a_tick_is_not_lost() {
        let shutdown = Shutdown::new();
        let wake = Arc::new(Notify::new());
        let (count, ticks) = counter();
        let began = Instant::now();
        let (inner, stop) = (wake.clone(), shutdown.clone());
        every_or_woken("test", Duration::from_hours(1), &wake, shutdown, move || {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => inner.notify_one(),
                _ => stop.begin(),
            }
            std::future::ready(Ok::<(), Infallible>(()))
        })
        .await;
        assert_eq!(ticks.load(Ordering::SeqCst), 2);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_tick_that_has_begun_is_finished() {
        let shutdown = Shutdown::new();
        let (count, finished) = counter();
        let stop = shutdown.clone();
        every("test", Duration::from_millis(1), shutdown, move || {
            let (stop, count) = (stop.clone(), count.clone());
            async move {
                stop.begin();
                tokio::task::yield_now().await;
                count.fetch_add(1, Ordering::SeqCst);
                Ok::<(), Infallible>(())
            }
        })
        .await;
        assert_eq!(finished.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hundreds_of_starts_and_stops_leave_no_task_behind() {
        for round in 0..500_u32 {
            let shutdown = Shutdown::new();
            let (inside, overlapping) = counter();
            let task =
                shutdown.spawn(every("test", Duration::from_micros(50), shutdown.clone(), move || {
                    let inside = inside.clone();
                    async move {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "ticks overlap");
                        tokio::task::yield_now().await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                        if rand::random::<bool>() { Ok(()) } else { Err("sometimes") }
                    }
                }));
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            shutdown.begin();
            shutdown.wait().await;
            task.await.unwrap();
            assert_eq!(overlapping.load(Ordering::SeqCst), 0, "a tick was cut short");
            assert_eq!(shutdown.failure(), None);
        }
    }
}
