//! The rules: overlap with real leases, missed ticks after an outage, limits, unique keys, and the fence of ticks.

use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::schedule::{Fate, Missed, Overlap, ScheduleStatus};
use jobqueue_core::{JobDraft, OnConflict, Outcome, ScheduleDraft, Status};
use jobqueue_store::Firing;

use super::{HOUR, minutely, name};
use crate::bench::{Bench, DAY, MINUTE, failed};

fn overlapping(overlap: Overlap) -> ScheduleDraft {
    ScheduleDraft { overlap: Some(overlap), ..minutely() }
}

#[tokio::test]
async fn allow_enqueues_at_each_tick() {
    let mut bench = Bench::after_midnight().await;
    bench.put("s", &overlapping(Overlap::Allow)).await;
    for _ in 0..3 {
        assert_eq!(bench.fire_next("s").await.jobs, 1);
    }
    assert_eq!(bench.fates("s").await, [Fate::Fired; 3]);
}

#[tokio::test]
async fn skip_waits_for_the_end_of_the_job_retries_included() {
    let mut bench = Bench::after_midnight().await;
    bench.put("s", &overlapping(Overlap::Skip)).await;
    assert_eq!(bench.fire_next("s").await.jobs, 1);
    assert_eq!(bench.fire_next("s").await.jobs, 0, "queued");
    let leased = bench.lease_one().await;
    bench.register(bench.worker).await;
    assert_eq!(bench.fire_next("s").await.jobs, 0, "running");
    bench.end(leased, failed()).await;
    assert_eq!(bench.fire_next("s").await.jobs, 0, "waits for its retry");
    bench.store.promote_due(10).await.unwrap();
    bench.complete_one().await;
    assert_eq!(bench.fire_next("s").await.jobs, 1);
    let (skipped, fired) = (Fate::Overlap, Fate::Fired);
    assert_eq!(bench.fates("s").await, [fired, skipped, skipped, skipped, fired]);
    assert_eq!(bench.schedule("s").await.runs, 2);

    // a job that was deleted has ended
    bench.execute("SELECT jobqueue.forget(ARRAY(SELECT job_id FROM jobqueue.ready))").await;
    assert_eq!(bench.fire_next("s").await.jobs, 1);
}

#[tokio::test]
async fn queue_one_lets_one_tick_wait_for_the_end_of_the_job() {
    let mut bench = Bench::after_midnight().await;
    bench.put("s", &overlapping(Overlap::QueueOne)).await;
    bench.fire_next("s").await;
    let waits = bench.fire_next("s").await;
    assert_eq!((waits.jobs, waits.ticks[0].0), (0, Fate::Waiting));
    let waiting = bench.schedule("s").await.waiting.unwrap();
    assert_eq!(bench.fire_next("s").await.ticks[0].0, Fate::Overlap);
    assert_eq!(bench.schedule("s").await.waiting, Some(waiting));
    assert_eq!(bench.fire().await, Firing::default());

    bench.register(bench.worker).await;
    let first = bench.complete_one().await;
    let released = bench.fire().await;
    assert_eq!((released.jobs, released.ticks.len()), (1, 0), "the tick was counted when it came");
    let ticks = bench.ticks("s").await;
    assert_eq!(bench.fates("s").await, [Fate::Fired, Fate::Fired, Fate::Overlap]);
    assert_eq!((ticks[0].job, ticks[1].nominal_at), (Some(first), waiting));
    assert!(bench.record(ticks[1].job.unwrap()).await.job.metadata.unwrap().as_str().contains("tick"));
    let after = bench.schedule("s").await;
    assert_eq!((after.waiting, after.runs, after.last_job), (None, 2, ticks[1].job));

    // a tick that waits keeps waiting in a pause, and is released after it
    bench.fire_next("s").await;
    bench.store.schedules().pause(&name("s")).await.unwrap();
    bench.complete_one().await;
    assert_eq!(bench.fire().await, Firing::default());
    bench.store.schedules().resume(&name("s")).await.unwrap();
    assert_eq!(bench.fire().await.jobs, 1);
}

#[tokio::test]
async fn a_waiting_tick_is_released_even_if_it_is_the_last() {
    let mut bench = Bench::after_midnight().await;
    let two = ScheduleDraft { max_runs: Some(2), ..overlapping(Overlap::QueueOne) };
    bench.put("s", &two).await;
    bench.fire_next("s").await;
    bench.fire_next("s").await;
    let waiting = bench.schedule("s").await;
    assert_eq!((waiting.next, waiting.status), (None, ScheduleStatus::Active));
    bench.register(bench.worker).await;
    bench.complete_one().await;
    assert_eq!(bench.fire().await.jobs, 1);
    let ended = bench.schedule("s").await;
    assert_eq!((ended.runs, ended.status, ended.waiting), (2, ScheduleStatus::Ended, None));
}

#[tokio::test]
async fn cancel_previous_cancels_what_waits_and_what_runs() {
    let mut bench = Bench::after_midnight().await;
    bench.put("s", &overlapping(Overlap::CancelPrevious)).await;
    bench.fire_next("s").await;
    bench.fire_next("s").await;
    let ticks = bench.ticks("s").await;
    let first = bench.record(ticks[0].job.unwrap()).await;
    assert_eq!((first.status, first.error.unwrap().kind.as_str()), (Status::Cancelled, "overlap"));
    bench.register(bench.worker).await;
    let running = bench.lease_one().await;
    assert_eq!(Some(running.job.id), ticks[1].job);
    assert_eq!(bench.fire_next("s").await.jobs, 1);
    assert!(bench.record(running.job.id).await.cancel_requested);
    assert_eq!(bench.fates("s").await, [Fate::Fired; 3]);
    bench.end(running, Outcome::Completed(None)).await;
    bench.fire_next("s").await;
    assert_eq!(bench.count("SELECT count(*) FROM jobs WHERE status = 'queued'").await, 1);
}

#[tokio::test]
async fn missed_ticks_follow_the_rule_after_an_outage() {
    for (missed, limit, fired) in
        [(Missed::Skip, None, 0), (Missed::One, None, 1), (Missed::All, None, 24), (Missed::All, Some(5), 5)]
    {
        let mut bench = Bench::after_midnight().await;
        let hourly = ScheduleDraft {
            interval_seconds: Some(3600.0),
            cron: None,
            missed: Some(missed),
            missed_limit: limit,
            ..minutely()
        };
        let next = bench.put("s", &hourly).await.next.unwrap();
        // 24 ticks, the newest half an hour ago
        let until = next + 23 * HOUR + HOUR / 2 - bench.now().await;
        bench.pass(until.to_std().unwrap());
        assert_eq!(bench.fire().await.jobs, fired, "{missed:?}");
        let fates = bench.fates("s").await;
        let (lost, kept) = fates.split_at(24 - usize::try_from(fired).unwrap());
        assert!(lost.iter().all(|fate| *fate == Fate::Missed), "{missed:?}: {fates:?}");
        assert!(kept.iter().all(|fate| *fate == Fate::Fired) && fates.len() == 24, "{missed:?}: {fates:?}");
        assert_eq!(bench.schedule("s").await.next, Some(next + DAY));
    }
}

#[tokio::test]
async fn a_very_long_outage_is_bounded_and_only_the_newest_ticks_are_kept() {
    let mut bench = Bench::after_midnight().await;
    let secondly = ScheduleDraft { interval_seconds: Some(1.0), cron: None, ..minutely() };
    bench.put("s", &secondly).await;
    bench.pass(30 * DAY);
    let fired = bench.fire().await;
    assert!((1..=61).contains(&fired.jobs), "the ticks of the last minute are not late: {}", fired.jobs);
    assert!(fired.ticks.len() < 5000, "{}", fired.ticks.len());
    let behind = bench.now().await - bench.ticks("s").await.last().unwrap().nominal_at;
    assert!(behind.num_seconds() <= 1, "{behind}");
    for _ in 0..70 {
        bench.fire_next("s").await;
    }
    let kept = bench.ticks("s").await.len();
    assert!((1000..1080).contains(&kept), "{kept}");
}

#[tokio::test]
async fn it_ends_and_expired_ticks_have_no_job() {
    let mut bench = Bench::after_midnight().await;
    bench.put("two", &ScheduleDraft { max_runs: Some(2), ..minutely() }).await;
    bench.fire_next("two").await;
    bench.fire_next("two").await;
    assert_eq!(bench.schedule("two").await.status, ScheduleStatus::Ended);
    bench.pass(HOUR);
    assert_eq!(bench.fire().await, Firing::default());
    let more = bench.put("two", &ScheduleDraft { max_runs: Some(3), ..minutely() }).await;
    assert!(more.next.unwrap() > bench.now().await);

    let at = (bench.now().await + MINUTE).to_rfc3339();
    let once = ScheduleDraft { cron: None, at: Some(at), ..minutely() };
    bench.put("once", &once).await;
    bench.fire_next("once").await;
    assert_eq!(
        (bench.schedule("once").await.status, bench.fates("once").await.len()),
        (ScheduleStatus::Ended, 1)
    );
    assert_eq!(
        bench.put("once", &once).await.status,
        ScheduleStatus::Ended,
        "the same file is applied again"
    );

    let expiring =
        ScheduleDraft { cron: Some("0 3 * * *".into()), expires_after_seconds: Some(600.0), ..minutely() };
    bench.put("expiring", &expiring).await;
    bench.fire_next("expiring").await;
    let tick = bench.ticks("expiring").await.remove(0);
    let job = bench.record(tick.job.unwrap()).await.job;
    assert_eq!(job.expires_at, Some(tick.nominal_at + 10 * MINUTE));
    bench.pass(2 * DAY + HOUR);
    assert_eq!(bench.fire().await.ticks.iter().filter(|(fate, _)| *fate == Fate::Expired).count(), 1);
}

fn unique(on_conflict: OnConflict) -> ScheduleDraft {
    let unique = Some(UniqueDraft { key: "k".into(), on_conflict, ..UniqueDraft::default() });
    ScheduleDraft { job: JobDraft { unique, ..minutely().job }, ..minutely() }
}

#[tokio::test]
async fn a_tick_whose_unique_key_is_held_names_the_holder() {
    for on_conflict in [OnConflict::Return, OnConflict::Reject] {
        let mut bench = Bench::after_midnight().await;
        bench.put("s", &unique(on_conflict)).await;
        bench.fire_next("s").await;
        bench.fire_next("s").await;
        assert_eq!(bench.fates("s").await, [Fate::Fired, Fate::Unique]);
        let ticks = bench.ticks("s").await;
        assert_eq!(ticks[1].job, ticks[0].job);
        assert_eq!(bench.schedule("s").await.runs, 1);
    }
}

#[tokio::test]
async fn an_open_transaction_that_holds_a_key_delays_no_other_schedule() {
    let mut bench = Bench::after_midnight().await;
    bench.put("blocked", &unique(OnConflict::Return)).await;
    bench.put("free", &minutely()).await;
    let other = JobDraft {
        unique: Some(UniqueDraft { key: "other".into(), ..UniqueDraft::default() }),
        ..minutely().job
    };
    bench.put("keyed", &ScheduleDraft { job: other, ..minutely() }).await;
    let holder = bench.db.hold("SELECT jobqueue.enqueue('noop', unique_key => 'k')").await;
    let began = std::time::Instant::now();
    assert_eq!(bench.fire_next("free").await.jobs, 2);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(bench.ticks("blocked").await.len(), 0, "not decided yet");
    holder.rollback().await.unwrap();
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.fire().await.jobs, 1);
    assert_eq!(bench.fates("blocked").await, [Fate::Fired]);
}

#[tokio::test]
async fn a_clock_that_goes_back_doubles_no_tick() {
    let mut bench = Bench::after_midnight().await;
    bench.put("s", &minutely()).await;
    bench.fire_next("s").await;
    bench.fire_next("s").await;
    // as after a resume by a database whose clock is three minutes behind
    bench
        .execute("UPDATE jobqueue.schedule SET next_at = next_at - interval '3 min', fires_at = fires_at - interval '3 min'")
        .await;
    let again = bench.fire().await;
    assert_eq!((again.jobs, again.ticks.len()), (0, 1), "only the tick before the first is new: {again:?}");
    assert_eq!(bench.fates("s").await, [Fate::Missed, Fate::Fired, Fate::Fired]);
    assert_eq!(bench.schedule("s").await.runs, 2);
    assert_eq!(bench.fire_next("s").await.jobs, 1);
}
