//! heartbeat, extend, report: whoever holds a lease keeps it, and learns what a user wants; nobody else.

use jobqueue_core::limits::MAX_LOG_BYTES;
use jobqueue_core::{JobId, Lease, Outcome, Status, WorkerId};
use jobqueue_store::{AttemptReport, Extended, Retried, Settled};
use uuid::Uuid;

use crate::bench::{Bench, MINUTE, boom, copy, draft, end, json, request, twin};

fn log(text: &str) -> AttemptReport {
    AttemptReport { progress: None, log: text.to_owned() }
}

async fn stored_log(bench: &Bench, id: JobId) -> String {
    bench.store.attempts(id).await.unwrap().pop().unwrap().log
}

#[tokio::test]
async fn a_beat_renews_leases_that_run_low_and_tells_what_is_held() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    let expires = |record: jobqueue_core::JobRecord| record.lease_expires_at.unwrap();
    let first = expires(bench.record(id).await);
    let beat = bench.store.heartbeat(bench.worker, 5 * MINUTE, false, None).await.unwrap();
    assert_eq!((beat.known, beat.cancelled.len(), beat.held), (true, 0, vec![leased.lease.epoch()]));
    assert_eq!(expires(bench.record(id).await), first, "plenty left: nothing is written");
    bench.pass(2 * MINUTE);
    bench.store.heartbeat(bench.worker, 5 * MINUTE, true, None).await.unwrap();
    let gained = (expires(bench.record(id).await) - first).num_seconds();
    assert!((119..=125).contains(&gained), "{gained}");
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.worker WHERE draining").await, 1);
    let stranger = WorkerId::from_uuid(Uuid::new_v4());
    let beat = bench.store.heartbeat(stranger, MINUTE, false, None).await.unwrap();
    assert_eq!((beat.known, beat.held.len()), (false, 0));
    assert_eq!(bench.end(leased, Outcome::Completed(None)).await, Settled::Applied(Status::Completed));
    assert!(bench.store.heartbeat(bench.worker, MINUTE, false, None).await.unwrap().held.is_empty());
}

#[tokio::test]
async fn of_an_id_that_was_given_up_only_known_leases_are_renewed() {
    let mut bench = Bench::new().await;
    let (known, orphan) = (bench.add(draft()).await, bench.add(draft()).await);
    let expires = async |bench: &Bench, id| bench.record(id).await.lease_expires_at.unwrap();
    let (mine, _lost) = (bench.lease_one().await, bench.lease_one().await);
    assert_eq!(
        (mine.job.id, expires(&bench, known).await.timestamp()),
        (known, expires(&bench, orphan).await.timestamp())
    );
    bench.pass(2 * MINUTE);
    let before = (expires(&bench, known).await, expires(&bench, orphan).await);
    bench.store.heartbeat(bench.worker, 5 * MINUTE, false, Some(&[mine.lease.epoch()])).await.unwrap();
    let after = (expires(&bench, known).await, expires(&bench, orphan).await);
    assert!(after.0 > before.0, "{before:?} {after:?}");
    assert_eq!(after.1, before.1, "nobody runs it");
}

#[tokio::test]
async fn a_beat_tells_of_wishes_and_forgets_those_of_an_earlier_life() {
    let bench = Bench::new().await;
    let ids = bench.add_many(2).await;
    let mut leased = bench.lease(2).await;
    bench.store.cancel(&ids[1..], &boom()).await.unwrap();
    let beat = bench.store.heartbeat(bench.worker, MINUTE, false, None).await.unwrap();
    assert_eq!(beat.cancelled, ids[1..]);
    // it stops, and an operator runs it again on the same worker while the old grant is still held
    bench.end(leased.pop().unwrap(), Outcome::Cancelled).await;
    assert_eq!(bench.store.retry(&ids[1..]).await.unwrap(), [Retried::Now]);
    let again = bench.lease_one().await;
    assert_eq!(again.job.id, ids[1]);
    let beat = bench.store.heartbeat(bench.worker, MINUTE, false, None).await.unwrap();
    assert_eq!((beat.cancelled.len(), beat.held.len()), (0, 2));
    assert!(!bench.record(ids[1]).await.cancel_requested);
}

#[tokio::test]
async fn a_remote_lease_is_extended_by_its_holder_alone() {
    let mut bench = Bench::new().await;
    let ids = bench.add_many(2).await;
    let mut leased = bench.store.lease(&request(None, &["default"], 2)).await.unwrap();
    let good = copy(&leased[0].lease);
    let forged = Lease::grant(good.epoch(), Uuid::new_v4(), good.job_id(), good.ordinal(), 1).unwrap();
    bench.pass(MINUTE);
    bench.store.cancel(&ids[1..], &boom()).await.unwrap();
    let used = copy(&leased[1].lease);
    let answers = bench.store.extend(&[good, forged, copy(&used)], 9 * MINUTE).await.unwrap();
    let [
        Extended::Until { expires_at, cancel_requested: false },
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
    let zombie = twin(&leased[0]);
    bench.end(leased.remove(0), Outcome::Released).await;
    assert_eq!(bench.store.report(&[(&zombie.lease, log("late\n"))]).await.unwrap(), [false]);
    assert_eq!(stored_log(&bench, ids[0]).await, "one\ntwo\nthree\n");
    assert_eq!(bench.store.report(&[]).await.unwrap(), Vec::<bool>::new());
}

#[tokio::test]
async fn the_log_keeps_its_last_bytes_and_loses_its_nul() {
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
