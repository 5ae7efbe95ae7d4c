//! Tests of each way in which an attempt can end, from the handler to the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jobqueue_core::{Ended, JobDraft, RetryPolicy, Status};
use jobqueue_testkit::eventually;
use jobqueue_worker::{HandlerError, JobContext, StopReason};
use serde::{Deserialize, Serialize};

use crate::bench::{AtWork, Bench, SOON, draft};

#[derive(Deserialize)]
struct Add {
    a: u32,
    b: u32,
}

#[derive(Serialize)]
struct Sum {
    sum: u32,
}

#[tokio::test]
async fn a_typed_handler_gets_its_input_and_its_output_is_the_result() {
    let bench = Bench::new().await;
    let worker = bench
        .worker()
        .handle("add", async |context: JobContext, add: Add| {
            assert_eq!(
                (context.attempt(), context.max_attempts(), context.queue().as_str()),
                (1, 10, "default")
            );
            assert_eq!(context.tags(), ["red"]);
            assert!(context.remaining() > Duration::from_mins(50));
            Ok(Sum { sum: add.a + add.b })
        })
        .handle("nothing", async |_, (): ()| Ok(()))
        .handle_blocking("shout", |_, text: String| Ok(text.to_uppercase()));
    let worker = AtWork::start(worker);
    let added = JobDraft { tags: Some(vec!["red".into()]), ..draft("add", r#"{"a":1,"b":41}"#) };
    let (added, nothing) = (bench.submit(added).await, bench.enqueue("nothing", "null").await);
    let shouted = bench.enqueue("shout", "\"hey\"").await;
    assert_eq!(bench.reaches(added, Status::Completed).await.result.unwrap().as_str(), r#"{"sum":42}"#);
    assert_eq!(bench.reaches(nothing, Status::Completed).await.result, None);
    assert_eq!(bench.reaches(shouted, Status::Completed).await.result.unwrap().as_str(), "\"HEY\"");
    worker.drain().await;
}

#[tokio::test]
async fn an_error_is_retried_by_the_policy_and_its_reports_are_kept() {
    let bench = Bench::new().await;
    let worker = bench.worker().handle("flaky", async |context: JobContext, (): ()| {
        context.log(format!("attempt {}", context.attempt()));
        context.progress(&serde_json::json!({ "done": context.attempt() }))?;
        if context.attempt() < 3 {
            "seven".parse::<u8>()?;
        }
        Ok(context.attempt())
    });
    let worker = AtWork::start(worker);
    let retry = Some(RetryPolicy::Fixed { delay_seconds: 0.01 });
    let id = bench.submit(JobDraft { retry, ..draft("flaky", "null") }).await;
    let record = bench.promoted(id, Status::Completed).await;
    assert_eq!((record.job.attempt, record.result.unwrap().as_str()), (3, "3"));
    let attempts = bench.attempts(id).await;
    let ends: Vec<_> = attempts.iter().map(|attempt| attempt.ended.as_str()).collect();
    assert_eq!(ends, ["retried", "retried", "completed"]);
    assert_eq!(attempts[0].error.as_ref().unwrap().message, "invalid digit found in string");
    for (attempt, number) in attempts.iter().zip(1..) {
        assert_eq!(attempt.log, format!("attempt {number}\n"));
        assert_eq!(attempt.progress.as_ref().unwrap().as_str(), format!("{{\"done\":{number}}}"));
    }
    worker.drain().await;
}

#[tokio::test]
async fn reports_of_a_running_attempt_can_be_read_while_it_runs() {
    let bench = Bench::new().await;
    let worker = bench.worker().handle("slow", async |context: JobContext, (): ()| {
        context.log("half-way");
        context.progress(&50)?;
        context.must_stop().await;
        Ok(())
    });
    let _worker = AtWork::start(worker);
    let id = bench.enqueue("slow", "null").await;
    eventually(SOON, "the report of the running attempt", async || {
        let attempt = bench.attempts(id).await.pop().ok_or("no attempt")?;
        let seen =
            attempt.log == "half-way\n" && attempt.progress.is_some_and(|progress| progress.as_str() == "50");
        if seen && attempt.ended == Ended::Running { Ok(()) } else { Err("not yet") }
    })
    .await;
}

#[tokio::test]
async fn a_discarded_job_fails_at_once() {
    let bench = Bench::new().await;
    let worker = bench
        .worker()
        .handle("strict", async |_, _: Add| Ok(()))
        .handle("hopeless", async |_, (): ()| Err::<(), _>(HandlerError::discard("gone", "no such customer")))
        .handle("huge", async |_, (): ()| Ok("x".repeat(2 << 20)))
        .handle("unstorable", async |_, (): ()| Ok("a\0b"));
    let worker = AtWork::start(worker);
    for (kind, payload, error) in [
        ("strict", r#"{"a":"one"}"#, "bad_input"),
        ("hopeless", "null", "gone"),
        ("huge", "null", "result_too_large"),
        ("unstorable", "null", "bad_result"),
    ] {
        let id = bench.enqueue(kind, payload).await;
        let record = bench.reaches(id, Status::Failed).await;
        assert_eq!((record.error.unwrap().kind.as_str(), record.job.attempt), (error, 1), "{kind}");
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_panic_is_a_failure_and_the_worker_continues() {
    let bench = Bench::new().await;
    let worker = bench
        .worker()
        .handle("panics", async |context: JobContext, (): ()| {
            assert!(context.attempt() > 1, "expected by this test");
            Ok(())
        })
        .handle_blocking("thread", |_, (): ()| -> Result<(), HandlerError> { panic!("in a thread") });
    let worker = AtWork::start(worker);
    let once = |kind| JobDraft { max_attempts: Some(1), ..draft(kind, "null") };
    let failed = bench.submit(once("panics")).await;
    let error = bench.reaches(failed, Status::Failed).await.error.unwrap();
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("panic", "expected by this test"));
    let thread = bench.submit(once("thread")).await;
    assert_eq!(bench.reaches(thread, Status::Failed).await.error.unwrap().message, "in a thread");
    let retry = Some(RetryPolicy::Fixed { delay_seconds: 0.0 });
    let again = bench.submit(JobDraft { retry, ..draft("panics", "null") }).await;
    bench.promoted(again, Status::Completed).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_snooze_costs_no_attempt() {
    let bench = Bench::new().await;
    let worker = bench
        .worker()
        .handle("later", async |_, (): ()| Err::<(), _>(HandlerError::Snooze(Duration::from_hours(1))));
    let worker = AtWork::start(worker);
    let id = bench.enqueue("later", "null").await;
    let record = bench.reaches(id, Status::Scheduled).await;
    assert_eq!(record.job.attempt, 0);
    assert_eq!(bench.attempts(id).await[0].ended, Ended::Snoozed);
    worker.drain().await;
}

#[tokio::test]
async fn the_soft_timeout_warns_and_the_hard_timeout_ends_the_attempt() {
    let bench = Bench::new().await;
    let worker = bench
        .worker()
        .handle("deaf", async |_, (): ()| {
            std::future::pending::<()>().await;
            Ok(())
        })
        .handle("warned", async |context: JobContext, (): ()| {
            assert_eq!(context.cancelled().await, StopReason::SoftTimeout);
            assert!(context.remaining() > Duration::from_mins(1));
            Ok("saved in time")
        });
    let worker = AtWork::start(worker);
    let deaf = JobDraft { timeout_seconds: Some(0.05), max_attempts: Some(1), ..draft("deaf", "null") };
    let deaf = bench.submit(deaf).await;
    assert_eq!(bench.reaches(deaf, Status::Failed).await.error.unwrap().kind, "timeout");
    let soft = Some(0.05);
    let warned =
        JobDraft { timeout_seconds: Some(600.0), soft_timeout_seconds: soft, ..draft("warned", "null") };
    let warned = bench.submit(warned).await;
    assert_eq!(bench.reaches(warned, Status::Completed).await.result.unwrap().as_str(), "\"saved in time\"");
    worker.drain().await;
}

#[tokio::test]
async fn a_thread_that_cannot_be_stopped_keeps_its_slot_but_not_its_job() {
    let bench = Bench::new().await;
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let worker = bench
        .worker()
        .slots(1)
        .handle_blocking("stuck", move |_, (): ()| {
            blocked.lock().unwrap().recv()?;
            Ok(())
        })
        .handle("next", async |_, (): ()| Ok(()));
    let worker = AtWork::start(worker);
    let stuck = JobDraft { timeout_seconds: Some(0.05), max_attempts: Some(1), ..draft("stuck", "null") };
    let stuck = bench.submit(stuck).await;
    assert_eq!(bench.reaches(stuck, Status::Failed).await.error.unwrap().kind, "timeout");
    let next = bench.enqueue("next", "null").await;
    assert_eq!(bench.status(next).await, Status::Queued, "the only slot is taken");
    release.send(()).unwrap();
    bench.reaches(next, Status::Completed).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_cancel_reaches_a_running_handler_through_the_heartbeat() {
    let bench = Bench::new().await;
    let heard = Arc::new(AtomicU32::new(0));
    let ears = heard.clone();
    let worker = bench
        .worker()
        .handle("listens", move |context: JobContext, (): ()| {
            let heard = ears.clone();
            async move {
                assert_eq!(context.cancelled().await, StopReason::Cancel);
                heard.fetch_add(1, Ordering::SeqCst);
                Err::<(), _>(HandlerError::Cancelled)
            }
        })
        .handle("deaf", async |_, (): ()| {
            std::future::pending::<()>().await;
            Ok(())
        })
        .handle("just_done", async |context: JobContext, (): ()| {
            context.cancelled().await;
            Ok("too late")
        });
    let worker = AtWork::start(worker);
    let mut ids = Vec::new();
    for kind in ["listens", "deaf", "just_done"] {
        ids.push(bench.enqueue(kind, "null").await);
    }
    worker.runs(3).await;
    bench.store.jobs().cancel(&ids, &jobqueue_worker::Failure::new("cancelled", "by a user")).await.unwrap();
    bench.reaches(ids[0], Status::Cancelled).await;
    bench.reaches(ids[1], Status::Cancelled).await;
    assert_eq!(bench.reaches(ids[2], Status::Completed).await.result.unwrap().as_str(), "\"too late\"");
    assert_eq!(heard.load(Ordering::SeqCst), 1);
    worker.drain().await;
}

#[tokio::test]
async fn a_kind_without_a_handler_waits_for_another_worker() {
    let bench = Bench::new().await;
    let first = AtWork::start(bench.worker().handle("known", async |_, (): ()| Ok(())));
    let unknown = bench.enqueue("unknown", "null").await;
    let known = bench.enqueue("known", "null").await;
    bench.reaches(known, Status::Completed).await;
    assert_eq!(bench.status(unknown).await, Status::Queued);
    let second =
        bench.worker().handle("*", async |context: JobContext, (): ()| Ok(context.kind().to_string()));
    let second = AtWork::start(second);
    assert_eq!(bench.reaches(unknown, Status::Completed).await.result.unwrap().as_str(), "\"unknown\"");
    first.drain().await;
    second.drain().await;
}

#[tokio::test]
async fn queues_are_emptied_in_the_order_given() {
    let bench = Bench::new().await;
    let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..5 {
        for queue in ["slow", "critical", "unserved"] {
            bench.submit(JobDraft { queue: Some(queue.into()), ..draft("note", "null") }).await;
        }
    }
    let worker = bench.worker().queues(["critical", "slow"]).slots(1).handle(
        "note",
        move |context: JobContext, (): ()| {
            sender.send(context.queue().to_string()).unwrap();
            async { Ok(()) }
        },
    );
    let worker = AtWork::start(worker);
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(tokio::time::timeout(SOON, order.recv()).await.unwrap().unwrap());
    }
    assert_eq!(seen, [["critical"; 5], ["slow"; 5]].concat());
    worker.drain().await;
    assert!(order.try_recv().is_err(), "the third queue is not ours");
}
