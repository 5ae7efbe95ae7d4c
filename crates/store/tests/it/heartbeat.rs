//! heartbeat, extend and report: the holder of a lease can renew it and learns of cancel requests; a stale lease
//! changes nothing.

use std::time::Duration;

use jobqueue_core::limits::MAX_LOG_BYTES;
use jobqueue_core::{JobDraft, JobId, Lease, Outcome, Status, WorkerId};
use jobqueue_store::{AttemptReport, Extended, HeldLeases, Leased, Retried, Settled, WorkerState};
use uuid::Uuid;

use crate::bench::{Bench, MINUTE, boom, copy, draft, end, json, request, twin};

fn log(text: &str) -> AttemptReport {
    AttemptReport { progress: None, log: text.to_owned() }
}

async fn stored_log(bench: &Bench, id: JobId) -> String {
    bench.store.attempts(id).await.unwrap().pop().unwrap().log
}

fn holding(leased: &[&Leased], known_up_to: i64) -> HeldLeases {
    HeldLeases { epochs: leased.iter().map(|leased| leased.lease.epoch()).collect(), known_up_to }
}

#[tokio::test]
async fn a_beat_renews_leases_that_run_low_and_returns_which_are_lost() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    let expires = |record: jobqueue_core::JobRecord| record.lease_expires_at.unwrap();
    let first = expires(bench.record(id).await);
    let beat = bench.beat().await;
    assert_eq!((beat.known, beat.cancelled.len(), beat.lost.len(), beat.given_back), (true, 0, 0, 0));
    assert_eq!(expires(bench.record(id).await), first, "plenty left: nothing is written");
    bench.pass(2 * MINUTE);
    bench
        .store
        .heartbeat(
            bench.worker,
            5 * MINUTE,
            &WorkerState { draining: true, ..WorkerState::default() },
            &holding(&[&leased], 0),
        )
        .await
        .unwrap();
    let gained = (expires(bench.record(id).await) - first).num_seconds();
    assert!((119..=125).contains(&gained), "{gained}");
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.worker WHERE draining").await, 1);
    let stranger = WorkerId::from_uuid(Uuid::new_v4());
    let beat = bench
        .store
        .heartbeat(stranger, 9 * MINUTE, &WorkerState::default(), &holding(&[&leased], i64::MAX))
        .await
        .unwrap();
    assert_eq!((beat.known, &beat.lost[..]), (false, &[leased.lease.epoch()][..]), "it is another worker's");
    let held = holding(&[&leased], 0);
    assert_eq!(bench.end(leased, Outcome::Completed(None)).await, Settled::Applied(Status::Completed));
    assert_eq!(bench.beat_holding(held.clone()).await.lost, held.epochs);
}

#[tokio::test]
async fn leases_that_the_worker_does_not_hold_are_given_back_and_no_others() {
    let mut bench = Bench::new().await;
    let (known, lost, new) = (bench.add(draft()).await, bench.add(draft()).await, bench.add(draft()).await);
    let expires = async |bench: &Bench, id| bench.record(id).await.lease_expires_at.unwrap();
    let reclaim = async |bench: &Bench| bench.store.reclaim(Duration::ZERO, 10).await.unwrap().jobs;
    let nothing_yet = bench.beat_holding(HeldLeases::default()).await;
    let (mine, _lost_reply) = (bench.lease_one().await, bench.lease_one().await);
    assert!(mine.lease.epoch() > nothing_yet.newest_epoch, "the first epoch of all is new too");
    bench.pass(2 * MINUTE);
    let before = expires(&bench, lost).await;
    let first = bench.beat_holding(holding(&[&mine], 0)).await;
    assert!(expires(&bench, known).await > before, "it is renewed");
    assert_eq!(
        (first.given_back, expires(&bench, lost).await),
        (0, before),
        "its reply may be on its way; nobody renews it"
    );
    // a call that began after that answer, and whose reply is on its way
    let _on_its_way = bench.lease_one().await;
    let second = bench.beat_holding(holding(&[&mine], first.newest_epoch)).await;
    assert_eq!((second.given_back, &second.lost[..]), (1, &[][..]));
    assert_eq!(reclaim(&bench).await, [lost]);
    let third = bench.beat_holding(holding(&[&mine], first.newest_epoch)).await;
    assert_eq!((third.given_back, bench.status(new).await), (0, Status::Running));
    assert_eq!(bench.end(mine, Outcome::Completed(None)).await, Settled::Applied(Status::Completed));
    assert_eq!(reclaim(&bench).await, []);
}

/// After an asynchronous failover the numbers of epochs can begin again from an earlier one.
#[tokio::test]
async fn what_was_known_before_a_failover_gives_nothing_back() {
    let bench = Bench::new().await;
    bench.add_many(2).await;
    let _lost_reply = bench.lease_one().await;
    let known_up_to = bench.beat_holding(HeldLeases::default()).await.newest_epoch;
    bench.execute("SELECT setval('jobqueue.lease_epoch', 1, false); DELETE FROM jobqueue.lease; DELETE FROM jobqueue.lease_jobs").await;
    let before = bench.beat_holding(HeldLeases { epochs: vec![], known_up_to }).await;
    assert!(before.newest_epoch < known_up_to, "{before:?}");
    let _on_its_way = bench.lease_one().await;
    let held = HeldLeases { epochs: vec![], known_up_to: known_up_to + 5000 };
    assert_eq!(bench.beat_holding(held).await.given_back, 0);
}

#[tokio::test]
async fn a_heartbeat_returns_cancel_requests_but_not_those_before_a_retry() {
    let bench = Bench::new().await;
    let ids = bench.add_many(2).await;
    let mut leased = bench.lease(2).await;
    bench.store.jobs().cancel(&ids[1..], &boom()).await.unwrap();
    let beat = bench.beat().await;
    assert_eq!(beat.cancelled, ids[1..]);
    // the job is settled, and an operator retries it on the same worker while the old grant is still held
    bench.end(leased.pop().unwrap(), Outcome::Cancelled).await;
    assert_eq!(bench.store.jobs().retry(&ids[1..]).await.unwrap(), [Retried::Now]);
    let again = bench.lease_one().await;
    assert_eq!(again.job.id, ids[1]);
    let beat = bench.beat().await;
    assert_eq!((beat.cancelled.len(), bench.held().await.epochs.len()), (0, 2));
    assert!(!bench.record(ids[1]).await.cancel_requested);
}

#[tokio::test]
async fn only_the_holder_extends_a_remote_lease() {
    let mut bench = Bench::new().await;
    let ids = bench.add_many(2).await;
    let mut leased = bench.store.lease(&request(None, &["default"], 2)).await.unwrap();
    let good = copy(&leased[0].lease);
    let forged = Lease::grant(good.epoch(), Uuid::new_v4(), good.job_id(), good.ordinal(), 1).unwrap();
    bench.pass(MINUTE);
    bench.store.jobs().cancel(&ids[1..], &boom()).await.unwrap();
    let used = copy(&leased[1].lease);
    let answers = bench.store.extend(&[good, forged, copy(&used)], 9 * MINUTE).await.unwrap();
    let [
        Extended::Until {
            expires_at,
            cancel_requested: false,
            timed_out: false,
            times_out_in: None,
            worker_id: None,
        },
        Extended::Stale,
        Extended::Until { cancel_requested: true, .. },
    ] = answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(bench.record(ids[0]).await.lease_expires_at, Some(expires_at));
    bench.store.settle(vec![end(leased.pop().unwrap(), Outcome::Cancelled)]).await.unwrap();
    let kept = copy(&leased[0].lease);
    let answers = bench.store.extend(&[used, kept], MINUTE).await.unwrap();
    assert!(matches!(answers[..], [Extended::Stale, Extended::Until { .. }]), "{answers:?}");
    assert_eq!(bench.store.extend(&[], MINUTE).await.unwrap(), []);
}

#[tokio::test]
async fn a_renewal_never_shortens_a_lease() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let leased = bench.store.lease(&request(None, &["default"], 1)).await.unwrap().pop().unwrap();
    let before = bench.record(id).await.lease_expires_at;
    bench.pass(MINUTE);
    let answers = bench.store.extend(&[leased.lease], MINUTE).await.unwrap();
    assert!(
        matches!(answers[..], [Extended::Until { expires_at, .. }] if Some(expires_at) == before),
        "{answers:?}"
    );
    assert_eq!(bench.record(id).await.lease_expires_at, before);
}

/// The times are minutes, because the real time of the test also counts.
#[tokio::test]
async fn a_remote_worker_cannot_exceed_the_timeout_of_a_job() {
    let mut bench = Bench::new().await;
    let limited = |minutes: u32| JobDraft { timeout_seconds: Some(f64::from(minutes) * 60.0), ..draft() };
    let short = bench.add(JobDraft { max_attempts: Some(1), ..limited(10) }).await;
    let long = bench.add(limited(60)).await;
    let unlimited = bench.add(draft()).await;
    let leased = bench.store.lease(&request(None, &["default"], 3)).await.unwrap();
    let beat = async |bench: &Bench| {
        let held: Vec<_> = leased.iter().map(|one| copy(&one.lease)).collect();
        let answers = bench.store.extend(&held, 30 * MINUTE).await.unwrap();
        answers
            .into_iter()
            .map(|answer| match answer {
                Extended::Until { timed_out: true, times_out_in: None, .. } => "timed out",
                Extended::Until { .. } => "ok",
                Extended::Stale => "stale",
            })
            .collect::<Vec<_>>()
    };
    bench.pass(9 * MINUTE);
    assert_eq!(beat(&bench).await, ["ok"; 3]);
    assert_eq!(bench.store.end_overruns(10).await.unwrap().jobs, []);
    bench.pass(2 * MINUTE);
    assert_eq!(beat(&bench).await, ["timed out", "ok", "ok"]);
    assert_eq!(bench.store.end_overruns(10).await.unwrap().jobs, [short]);
    let failed = bench.record(short).await;
    assert_eq!((failed.status, failed.error.unwrap().kind.as_str()), (Status::Failed, "timeout"));
    assert_eq!(beat(&bench).await, ["stale", "ok", "ok"]);
    for _ in 0..5 {
        bench.pass(10 * MINUTE);
        beat(&bench).await;
    }
    assert_eq!(bench.store.end_overruns(10).await.unwrap().jobs, [long]);
    let again = bench.record(long).await;
    assert_eq!((again.status, again.job.attempt), (Status::Scheduled, 1), "retried by its policy");
    assert_eq!(beat(&bench).await, ["stale", "stale", "ok"]);
    assert_eq!(bench.status(unlimited).await, Status::Running);
}

#[tokio::test]
async fn a_renewal_is_limited_by_the_timeout() {
    let bench = Bench::new().await;
    bench.add(JobDraft { timeout_seconds: Some(60.0), ..draft() }).await;
    let leased = bench.store.lease(&request(None, &["default"], 1)).await.unwrap().pop().unwrap();
    let leased_at = bench.record(leased.job.id).await.started_at.unwrap();
    let answers = bench.store.extend(&[leased.lease], 30 * MINUTE).await.unwrap();
    let [Extended::Until { expires_at, timed_out: false, times_out_in: Some(left), .. }] = answers[..] else {
        panic!("{answers:?}")
    };
    assert!(left <= MINUTE, "{left:?}");
    assert_eq!((expires_at - leased_at).num_seconds(), 65, "the timeout and the grace");
}

#[tokio::test]
async fn reports_are_fenced_and_appended() {
    let bench = Bench::new().await;
    let ids = bench.add_many(2).await;
    let mut leased = bench.lease(2).await;
    let (a, b) = (copy(&leased[0].lease), copy(&leased[1].lease));
    let forged = Lease::grant(a.epoch(), a.token(), ids[1], a.ordinal(), 1).unwrap();
    let progress = |text| AttemptReport { progress: Some(json(text)), log: String::new() };
    let reports = [
        (&a, log("one\n")),
        (&forged, log("forged\n")),
        (&b, progress("0.5")),
        (&a, progress("{\"n\":1}")),
        (&a, log("two\n")),
    ];
    assert_eq!(bench.store.report(&reports).await.unwrap(), [true, false, true, true, true]);
    assert_eq!(bench.store.report(&[(&a, log("three\n"))]).await.unwrap(), [true]);
    let attempt = bench.store.attempts(ids[0]).await.unwrap().pop().unwrap();
    assert_eq!((attempt.log.as_str(), attempt.ended.as_str()), ("one\ntwo\nthree\n", "running"));
    assert_eq!(attempt.progress, Some(json("{\"n\":1}")));
    let late = twin(&leased[0]);
    bench.end(leased.remove(0), Outcome::Released).await;
    assert_eq!(bench.store.report(&[(&late.lease, log("late\n"))]).await.unwrap(), [false]);
    assert_eq!(stored_log(&bench, ids[0]).await, "one\ntwo\nthree\n");
    assert_eq!(bench.store.report(&[]).await.unwrap(), Vec::<bool>::new());
}

#[tokio::test]
async fn the_log_keeps_its_last_bytes_without_nul() {
    let bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    let report = async |text: &str| {
        assert_eq!(bench.store.report(&[(&leased.lease, log(text))]).await.unwrap(), [true]);
    };
    report("a\0b").await;
    assert_eq!(stored_log(&bench, id).await, "a\u{fffd}b");
    report(&"x".repeat(MAX_LOG_BYTES)).await;
    assert_eq!(stored_log(&bench, id).await, "x".repeat(MAX_LOG_BYTES));
    for text in ["é", "€", "😀"] {
        let mut all = text.repeat(MAX_LOG_BYTES / 2);
        for _ in 0..4 {
            all.push('y');
            report(&all).await;
            let kept = stored_log(&bench, id).await;
            assert!(all.ends_with(&kept), "a suffix, cut at a character");
            assert!((MAX_LOG_BYTES - 3..=MAX_LOG_BYTES).contains(&kept.len()), "{}", kept.len());
        }
    }
}
