//! Tests of the shutdown of a worker.

use std::time::Duration;

use jobqueue_core::{Ended, Status};
use jobqueue_worker::{HandlerError, JobContext, StopReason};
use tokio::sync::{mpsc, watch};

use crate::bench::{AtWork, Bench, opened};

#[tokio::test]
async fn running_jobs_finish_and_no_new_ones_start() {
    let bench = Bench::new().await;
    let (release, held) = watch::channel(false);
    let worker = bench.worker().slots(2).handle("held", move |_, (): ()| opened(held.clone()));
    let mut worker = AtWork::start(worker);
    let running = [bench.enqueue("held", "null").await, bench.enqueue("held", "null").await];
    worker.runs(2).await;
    worker.shutdown.begin();
    let late = bench.enqueue("held", "null").await;
    release.send(true).unwrap();
    worker.ended().await;
    for id in running {
        assert_eq!(bench.status(id).await, Status::Completed);
    }
    assert_eq!(bench.status(late).await, Status::Queued);
}

#[tokio::test]
async fn jobs_that_do_not_finish_within_the_grace_are_released() {
    let bench = Bench::new().await;
    let (sender, mut reasons) = mpsc::unbounded_channel();
    let worker = bench
        .worker()
        .shutdown_grace(Duration::from_millis(200))
        .handle("deaf", async |_, (): ()| {
            std::future::pending::<()>().await;
            Ok(())
        })
        .handle("listens", move |context: JobContext, (): ()| {
            let sender = sender.clone();
            async move {
                sender.send(context.cancelled().await).unwrap();
                Err::<(), _>(HandlerError::retry("interrupted", "by the drain"))
            }
        });
    let worker = AtWork::start(worker);
    let ids = [bench.enqueue("deaf", "null").await, bench.enqueue("listens", "null").await];
    worker.runs(2).await;
    worker.drain().await;
    assert_eq!(reasons.recv().await, Some(StopReason::Drain));
    for id in ids {
        let record = bench.store.job(id).await.unwrap().unwrap();
        assert_eq!((record.status, record.job.attempt), (Status::Queued, 0));
        assert_eq!(bench.attempts(id).await[0].ended, Ended::Released);
    }
}

#[tokio::test]
async fn force_releases_at_once() {
    let bench = Bench::new().await;
    let worker = bench.worker().handle("deaf", async |_, (): ()| {
        std::future::pending::<()>().await;
        Ok(())
    });
    let mut worker = AtWork::start(worker.shutdown_grace(Duration::from_secs(51)));
    let id = bench.enqueue("deaf", "null").await;
    worker.runs(1).await;
    worker.shutdown.begin();
    worker.shutdown.force();
    worker.ended().await;
    assert_eq!((bench.status(id).await, bench.job(id).await.attempt), (Status::Queued, 0));
}

#[tokio::test]
async fn a_thread_that_cannot_be_stopped_does_not_delay_the_end() {
    let bench = Bench::new().await;
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let worker = bench.worker().shutdown_grace(Duration::from_millis(100)).handle_blocking(
        "stuck",
        move |_, (): ()| {
            blocked.lock().unwrap().recv()?;
            Ok(())
        },
    );
    let worker = AtWork::start(worker);
    let id = bench.enqueue("stuck", "null").await;
    worker.runs(1).await;
    worker.drain().await;
    assert_eq!(bench.status(id).await, Status::Queued);
    release.send(()).unwrap();
}
