//! Redrives: the rate, the stop when failures return, and steps of several reapers.

use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, JobId, Outcome, RedriveRules, RetryPolicy, Status};
use jobqueue_store::{DeadLetterFilter, Redrive, RedriveState, RedriveStep, RedriveStop};

use super::counted;
use crate::bench::{Bench, MINUTE, boom, draft, failed, start};

const SECOND: Duration = Duration::from_secs(1);

fn rules(rate: f64, stop_share: f64, stop_window: u32) -> RedriveRules {
    RedriveRules { rate, stop_share, stop_window }
}

/// So many dead letters, oldest first.
async fn dead(bench: &Bench, count: usize) -> Vec<JobId> {
    let ids = bench.add_many(count).await;
    for leased in bench.lease(count).await {
        bench.end(leased, Outcome::Discarded(boom())).await;
    }
    ids
}

async fn begin(bench: &Bench, rules: RedriveRules) -> Redrive {
    let all = DeadLetterFilter::default();
    let total = bench.store.dead_letters().count(&all).await.unwrap();
    bench.store.dead_letters().begin_redrive(&all, rules, total).await.unwrap()
}

async fn read(bench: &Bench, redrive: &Redrive) -> Redrive {
    bench.store.dead_letters().redrive(redrive.id).await.unwrap().unwrap()
}

/// Moves the clock and makes the steps that are due.
async fn step(bench: &mut Bench, after: Duration) -> Vec<RedriveStep> {
    bench.pass(after);
    let mut steps = Vec::new();
    while let Some(step) = bench.store.redrive_step().await.unwrap() {
        steps.push(step);
    }
    steps
}

fn jobs(steps: &[RedriveStep]) -> u64 {
    steps.iter().map(|step| step.jobs).sum()
}

#[tokio::test]
async fn the_rate_is_kept_and_the_end_is_found() {
    let mut bench = Bench::new().await;
    let ids = dead(&bench, 16).await;
    let redrive = begin(&bench, rules(2.0, 0.5, 20)).await;
    assert_eq!((redrive.total, redrive.state), (Some(16), RedriveState::Running));
    let steps = step(&mut bench, SECOND).await;
    assert!((3..=4).contains(&jobs(&steps)), "one at once, and two a second: {steps:?}");
    assert_eq!(steps[0].queues.iter().map(ToString::to_string).collect::<Vec<_>>(), ["default"]);
    // a reaper that was away for long does not make up for it at once
    assert_eq!(jobs(&step(&mut bench, MINUTE).await), 4);
    while read(&bench, &redrive).await.redriven < 16 {
        assert!(jobs(&step(&mut bench, SECOND).await) <= 4);
    }
    // the oldest were first, and each job runs again
    let leased = bench.lease(20).await;
    assert_eq!(leased.iter().map(|one| one.job.id).collect::<Vec<_>>(), ids);
    for one in leased {
        bench.end(one, Outcome::Completed(None)).await;
    }
    let mut ends = vec![];
    while ends.is_empty() {
        ends.extend(step(&mut bench, SECOND).await.into_iter().filter_map(|step| step.ended));
    }
    assert_eq!(ends, [(redrive.id, RedriveState::Done)]);
    let ended = read(&bench, &redrive).await;
    assert_eq!((ended.succeeded, ended.failed, ended.state), (16, 0, RedriveState::Done));
    assert!(ended.ended_at.is_some());
    assert_eq!(step(&mut bench, SECOND).await, []);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.redriven").await, 0);
    assert!(counted(&bench).await.is_empty());
}

#[tokio::test]
async fn it_stops_when_the_failures_return_even_if_the_jobs_are_retried_later() {
    let mut bench = Bench::new().await;
    let retry = Some(RetryPolicy::Fixed { delay_seconds: 3600.0 });
    for _ in 0..40 {
        bench.dead(JobDraft { retry: retry.clone(), ..draft() }).await;
    }
    // 3 of the last 10
    let redrive = begin(&bench, rules(4.0, 0.3, 10)).await;
    let mut ended = None;
    let mut good = 6;
    while ended.is_none() {
        let steps = step(&mut bench, SECOND).await;
        ended = steps.iter().find_map(|step| step.ended);
        for leased in bench.lease(10).await {
            good -= 1;
            let outcome = if good > 0 { Outcome::Completed(None) } else { failed() };
            bench.end(leased, outcome).await;
        }
    }
    assert_eq!(ended, Some((redrive.id, RedriveState::Failing)));
    let stopped = read(&bench, &redrive).await;
    assert!(stopped.failed >= 3 && stopped.redriven < 20, "{stopped:?}");
    // the attempts have failed; the jobs wait for their retry and are no dead letters
    assert_eq!(step(&mut bench, SECOND).await, []);
    let left = u64::try_from(bench.count("SELECT count(*) FROM jobqueue.dead_letter").await).unwrap();
    assert_eq!(left, 40 - stopped.redriven);
    counted(&bench).await;
}

#[tokio::test]
async fn it_waits_for_results() {
    let mut bench = Bench::new().await;
    dead(&bench, 60).await;
    // no worker runs: a window is under way, and no more
    let redrive = begin(&bench, rules(1.0, 0.5, 12)).await;
    for _ in 0..40 {
        step(&mut bench, SECOND).await;
    }
    assert_eq!(read(&bench, &redrive).await.redriven, 12);
    for leased in bench.lease(3).await {
        bench.end(leased, Outcome::Completed(None)).await;
    }
    for _ in 0..5 {
        step(&mut bench, SECOND).await;
    }
    let now = read(&bench, &redrive).await;
    assert_eq!((now.redriven, now.succeeded), (15, 3));
}

#[tokio::test]
async fn jobs_that_fail_during_a_redrive_are_not_redriven_by_it() {
    let mut bench = Bench::new().await;
    dead(&bench, 3).await;
    let redrive = begin(&bench, rules(100.0, 1.0, 1000)).await;
    bench.pass(SECOND);
    dead(&bench, 2).await;
    for _ in 0..4 {
        step(&mut bench, SECOND).await;
        for leased in bench.lease(10).await {
            bench.end(leased, Outcome::Discarded(boom())).await;
        }
    }
    let ended = read(&bench, &redrive).await;
    assert_eq!((ended.redriven, ended.failed, ended.state), (3, 3, RedriveState::Done));
    assert_eq!(counted(&bench).await[0].count, 5);
}

#[tokio::test]
async fn a_stopped_redrive_does_nothing_more() {
    let mut bench = Bench::new().await;
    dead(&bench, 5).await;
    let redrive = begin(&bench, rules(1.0, 0.5, 20)).await;
    step(&mut bench, SECOND).await;
    let letters = bench.store.dead_letters();
    let RedriveStop::Now(stopped) = letters.stop_redrive(redrive.id).await.unwrap() else {
        panic!("not stopped")
    };
    assert_eq!((stopped.state, stopped.redriven), (RedriveState::Stopped, 2));
    assert_eq!(letters.stop_redrive(redrive.id).await.unwrap(), RedriveStop::Ended(stopped));
    assert_eq!(letters.stop_redrive(uuid::Uuid::nil()).await.unwrap(), RedriveStop::Unknown);
    assert_eq!(step(&mut bench, MINUTE).await, []);
    assert_eq!(counted(&bench).await[0].count, 3);
    let listed = bench.store.dead_letters().redrives(None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), [redrive.id]);
}

#[tokio::test]
async fn only_what_matches_is_redriven_and_what_cannot_run_is_refused() {
    let mut bench = Bench::new().await;
    let tagged = || JobDraft { tags: Some(vec!["t".to_owned()]), ..draft() };
    let keyed =
        || JobDraft { unique: Some(UniqueDraft { key: "k".into(), ..UniqueDraft::default() }), ..tagged() };
    let good = bench.dead(tagged()).await;
    let other = bench.dead(draft()).await;
    let taken = bench.dead(keyed()).await;
    let holder = bench.add(keyed()).await;
    let filter = DeadLetterFilter { tags: vec!["t".to_owned()], ..DeadLetterFilter::default() };
    let redrive =
        bench.store.dead_letters().begin_redrive(&filter, rules(10.0, 0.5, 20), Some(2)).await.unwrap();
    step(&mut bench, SECOND).await;
    step(&mut bench, SECOND).await;
    let now = read(&bench, &redrive).await;
    assert_eq!((now.redriven, now.refused, now.filter), (1, 1, filter));
    let status = |id| bench.status(id);
    assert_eq!((status(good).await, status(other).await), (Status::Queued, Status::Failed));
    assert_eq!((status(taken).await, status(holder).await), (Status::Failed, Status::Queued));
    // a deleted job is no result
    bench.store.jobs().cancel(&[good], &boom()).await.unwrap();
    step(&mut bench, SECOND).await;
    let ended = read(&bench, &redrive).await;
    assert_eq!((ended.other, ended.state), (1, RedriveState::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_reapers_redrive_each_job_once() {
    let bench = Bench::new().await;
    dead(&bench, 64).await;
    let mut redrives = Vec::new();
    for _ in 0..2 {
        redrives.push(begin(&bench, rules(1000.0, 1.0, 1000)).await);
    }
    let mut reapers = Vec::new();
    for _ in 0..4 {
        let store = jobqueue_store::Store::from_pool(bench.pool.clone());
        let clock = bench.clock.clone();
        reapers.push(start(async move {
            for _ in 0..20 {
                clock.advance(SECOND);
                while store.redrive_step().await.unwrap().is_some() {}
            }
        }));
    }
    for reaper in reapers {
        reaper.await.unwrap();
    }
    let mut jobs = 0;
    for redrive in &redrives {
        jobs += read(&bench, redrive).await.redriven;
    }
    assert_eq!(jobs, 64);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.ready").await, 64);
    assert_eq!(bench.count("SELECT sum(retried)::bigint FROM jobqueue.tally").await, 64);
    assert!(counted(&bench).await.is_empty());
}

#[tokio::test]
async fn a_redrive_whose_steps_fail_blocks_no_other() {
    let mut bench = Bench::new().await;
    dead(&bench, 2).await;
    let broken = begin(&bench, rules(1.0, 1.0, 20)).await;
    begin(&bench, rules(1.0, 1.0, 20)).await;
    let corrupt = "UPDATE jobqueue.redrive SET filter = '7', paced_at = paced_at - interval '1 s' WHERE id =";
    bench.execute(&format!("{corrupt} '{}'", broken.id)).await;
    bench.pass(SECOND);
    bench.store.redrive_step().await.unwrap_err();
    assert!(bench.store.redrive_step().await.unwrap().is_some_and(|step| step.jobs > 0));
    assert_eq!(bench.store.redrive_step().await.unwrap(), None);
}
