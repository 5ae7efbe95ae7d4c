//! The next job of a schedule: what holds it is named exactly, its overlap rule alone and with every other cause.

use jobqueue_core::explain::{Explanation, explain};
use jobqueue_core::schedule::Overlap;
use jobqueue_core::{Outcome, ScheduleDraft};
use jobqueue_store::{Leased, Store};

use super::Cause::{Behind, Busy, CensusOld, KindPaused, NoWorker, Paused, ReadOnly, WorkersPaused};
use super::{Cause, codes, resolve_around, surround};
use crate::bench::{Bench, draft, production_at, request};
use crate::schedules::{name, parsed};

/// What holds the job of a tick as well as a stored job.
const AROUND: [Cause; 8] = [ReadOnly, CensusOld, Paused, KindPaused, NoWorker, WorkersPaused, Busy, Behind];

fn hourly() -> ScheduleDraft {
    hourly_with(Overlap::QueueOne)
}

fn hourly_with(overlap: Overlap) -> ScheduleDraft {
    ScheduleDraft {
        interval_seconds: Some(3600.0),
        overlap: Some(overlap),
        job: draft(),
        ..ScheduleDraft::default()
    }
}

async fn explained(store: &Store) -> Explanation {
    let schedule = parsed("s", &hourly());
    let facts = store.schedules().explain_facts(&name("s"), schedule.template()).await.unwrap();
    explain(&facts.expect("the schedule exists"))
}

/// Makes the next tick due and fires it.
async fn tick(bench: &Bench) {
    bench
        .execute(
            "TRUNCATE jobqueue.tick;
             UPDATE jobqueue.schedule SET next_at = next_at - interval '1 h', fires_at = fires_at - interval '1 h'",
        )
        .await;
    bench.fire().await;
}

/// A schedule with a tick that waits, and the job that it waits for, which runs without a worker that is known.
async fn waiting(bench: &Bench) -> Leased {
    bench.store.take_census(10).await.unwrap();
    bench.put("s", &hourly()).await;
    tick(bench).await;
    let running = bench.store.lease(&request(None, &["default"], 1)).await.unwrap().pop().unwrap();
    tick(bench).await;
    assert!(bench.schedule("s").await.waiting.is_some());
    running
}

async fn check(causes: &[Cause]) {
    let bench = Bench::new().await;
    let running = waiting(&bench).await;
    surround(&bench, causes).await;
    // new sessions, for the setting of the database
    let fresh = production_at(bench.db.url(), jobqueue_store::Pooler::None, 1);
    let early = causes.iter().take_while(|cause| **cause == ReadOnly).count();
    let mut expected: Vec<&str> = causes.iter().map(|cause| cause.code()).collect();
    expected.insert(early, "overlap");
    let explanation = explained(&fresh).await;
    assert_eq!(codes(&explanation), expected, "{causes:?}: {explanation:?}");

    resolve_around(&bench, causes).await;
    let previous = running.job.id;
    bench.end(running, Outcome::Completed(None)).await;
    if causes.is_empty() {
        assert_eq!(explained(&bench.store).await, Explanation::CanStart, "{previous} has ended");
    }
    assert_eq!(bench.fire().await.jobs, 1, "{causes:?}: the tick no longer waits");
}

#[tokio::test]
async fn a_tick_that_waits_for_the_job_before_it_is_named_alone_and_with_every_other_cause() {
    check(&[]).await;
    for cause in AROUND {
        check(&[cause]).await;
    }
}

/// After two ticks: the job of the first one runs.
#[tokio::test]
async fn each_overlap_rule_says_whether_the_job_of_an_earlier_tick_holds_the_next() {
    for (overlap, expected) in [
        (Overlap::Allow, vec!["scheduled_until", "behind"]),
        (Overlap::Skip, vec!["scheduled_until", "overlap_skips"]),
        (Overlap::QueueOne, vec!["overlap"]),
        (Overlap::CancelPrevious, vec!["scheduled_until", "behind"]),
    ] {
        let bench = Bench::new().await;
        bench.store.take_census(10).await.unwrap();
        bench.put("s", &hourly_with(overlap)).await;
        tick(&bench).await;
        let running = bench.store.lease(&request(None, &["default"], 1)).await.unwrap().pop().unwrap();
        tick(&bench).await;
        let held = explained(&bench.store).await;
        assert_eq!(codes(&held), expected, "{overlap:?}");
        let previous = running.job.id;
        let named = held.reasons().iter().find_map(|reason| reason.facts().get("previous_job").cloned());
        let holds = matches!(overlap, Overlap::Skip | Overlap::QueueOne);
        assert_eq!(named, holds.then(|| previous.to_string().into()), "{overlap:?}");
        bench.end(running, Outcome::Completed(None)).await;
        bench.fire().await;
        let freed = codes(&explained(&bench.store).await);
        let after = match overlap {
            Overlap::Skip => vec!["scheduled_until"],
            _ => vec!["scheduled_until", "behind"],
        };
        assert_eq!(freed, after, "{overlap:?}");
    }
}

#[tokio::test]
async fn a_schedule_that_is_paused_disabled_or_over_says_so() {
    let bench = Bench::new().await;
    bench.store.take_census(10).await.unwrap();
    bench.put("s", &hourly()).await;
    assert_eq!(codes(&explained(&bench.store).await), ["scheduled_until"]);
    bench.store.schedules().pause(&name("s")).await.unwrap();
    assert_eq!(codes(&explained(&bench.store).await), ["schedule_paused"]);
    bench.store.schedules().resume(&name("s")).await.unwrap();
    bench.put("s", &ScheduleDraft { enabled: Some(false), ..hourly() }).await;
    assert_eq!(codes(&explained(&bench.store).await), ["schedule_disabled"]);
    bench.execute("UPDATE jobqueue.schedule SET enabled = true").await;
    assert_eq!(codes(&explained(&bench.store).await), ["schedule_ended"]);
    bench.execute("UPDATE jobqueue.schedule SET error = 'it broke', failed_at = now()").await;
    assert_eq!(codes(&explained(&bench.store).await), ["schedule_failed"]);
    let schedule = parsed("s", &hourly());
    let unknown = bench.store.schedules().explain_facts(&name("other"), schedule.template()).await.unwrap();
    assert_eq!(unknown, None);
}
