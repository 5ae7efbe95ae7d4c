//! Watching jobs: the state agrees with the reader of single jobs, and reports arrive once, however the log is cut.

use jobqueue_core::{AttemptLog, Job, JobId, LogPosition, Outcome, Status};
use jobqueue_store::{AttemptReport, Leased, WatchedJob, WatchedState};

use crate::bench::{Bench, DAY, boom, delayed, draft, failed, json};

fn unknown(id: JobId) -> WatchedJob {
    WatchedJob { id, lease: None, log: LogPosition::default(), reported_at: None }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap()
}

async fn watch(bench: &Bench, job: WatchedJob) -> WatchedState {
    bench.store.watched(&[job]).await.unwrap().pop().unwrap().unwrap()
}

async fn log(bench: &Bench, leased: &Leased, text: &str) {
    let report = AttemptReport { progress: None, log: text.to_owned() };
    assert_eq!(bench.store.report(&[(&leased.lease, report)]).await.unwrap(), [true]);
}

#[tokio::test]
async fn the_state_is_that_of_the_job() {
    let bench = Bench::new().await;
    let mut ids = vec![bench.done(draft()).await, bench.dead(draft()).await];
    let running = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    let asked = bench.add(draft()).await;
    bench.lease_one().await;
    bench.store.jobs().cancel(&[asked], &boom()).await.unwrap();
    let again = bench.add(draft()).await;
    let first = bench.lease_one().await;
    bench.end(first, Outcome::Released).await;
    bench.lease_one().await;
    ids.extend([running, asked, again, bench.add(draft()).await, bench.add(delayed(60.0)).await]);
    ids.push(JobId::from_ticks(7, 7));
    let mut known: Vec<WatchedJob> = ids.iter().map(|id| unknown(*id)).collect();
    // the second round knows the leases
    for _ in 0..2 {
        let states = bench.store.watched(&known).await.unwrap();
        let states: Vec<WatchedState> = states.into_iter().map(Result::unwrap).collect();
        assert_eq!(states.len(), ids.len() - 1, "one does not exist");
        for state in &states {
            let record = bench.record(state.id).await;
            let Job { queue, kind, attempt, max_attempts, .. } = &record.job;
            assert_eq!((&state.queue, &state.kind, state.status), (queue, kind, record.status));
            assert_eq!((state.attempt, state.max_attempts), (Some(*attempt), *max_attempts), "{state:?}");
            assert_eq!(
                (state.worker_id, state.started_at),
                (record.worker_id, record.started_at),
                "{state:?}"
            );
            assert_eq!((state.finished_at, state.run_at), (record.finished_at, record.run_at), "{state:?}");
            assert_eq!(state.cancel_requested, record.cancel_requested);
            assert_eq!(
                state.error.as_ref().map(|error| &error.message),
                record.error.as_ref().map(|e| &e.message)
            );
            assert_eq!(state.lease.is_some(), state.status == Status::Running);
        }
        for job in &mut known {
            job.lease = states.iter().find(|state| state.id == job.id).and_then(|state| state.lease);
        }
    }
    assert_eq!(watch(&bench, known[2]).await.lease, Some(leased.lease.epoch()));
    // a lease that the job no longer has is not believed
    bench.end(leased, Outcome::Released).await;
    assert_eq!(watch(&bench, known[2]).await.status, Status::Queued);
    let next = bench.lease(10).await;
    let next = next.iter().find(|leased| leased.job.id == running).unwrap();
    assert_eq!(watch(&bench, known[2]).await.lease, Some(next.lease.epoch()));
}

#[tokio::test]
async fn a_log_is_read_from_where_it_is_known() {
    let mut bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    let mut kept = AttemptLog { epoch: leased.lease.epoch(), ..AttemptLog::default() };
    let (mut known, mut whole) = (unknown(id), String::new());
    // also less than four bytes, more than is kept, and characters of several bytes
    for text in ["a\n", "ü\n", "line two\n", "", &"äöü\n".repeat(3_000), "x\n", "ß"] {
        if !text.is_empty() {
            log(&bench, &leased, text).await;
        }
        whole.push_str(text);
        let state = watch(&bench, known).await;
        assert_eq!(state.reports.len(), usize::from(!text.is_empty()), "only what has changed");
        for report in state.reports {
            assert_eq!((report.epoch, report.attempt), (kept.epoch, Some(1)));
            assert_eq!(report.log_end, length(&whole));
            kept.append(&report.text, report.log_end, 1 << 20);
            known = WatchedJob { log: kept.end(), reported_at: Some(report.stored_at), ..known };
        }
        assert!(whole.ends_with(&kept.text) && kept.end().bytes == length(&whole), "{}", kept.text.len());
    }
    let report = AttemptReport { progress: Some(json("7")), log: String::new() };
    bench.store.report(&[(&leased.lease, report)]).await.unwrap();
    let state = watch(&bench, known).await;
    assert_eq!((state.reports[0].text.as_str(), state.reports[0].progress.clone()), ("", Some(json("7"))));

    bench.end(leased, failed()).await;
    bench.pass(DAY);
    bench.store.promote_due(10).await.unwrap();
    let second = bench.lease_one().await;
    log(&bench, &second, "again\n").await;
    let reports = watch(&bench, known).await.reports;
    assert_eq!(reports.iter().map(|report| report.attempt).collect::<Vec<_>>(), [Some(1), Some(2)]);
    let logs = bench.store.job_logs(id, LogPosition::default(), 5).await.unwrap();
    let shape: Vec<_> = logs.iter().map(|log| (log.attempt, log.is_complete, log.end().bytes)).collect();
    assert_eq!(shape, [(Some(1), true, length(&whole)), (None, false, 6)]);
    assert!(whole.ends_with(&logs[0].text) && logs[0].text.len() <= 16 * 1024);
    assert_eq!(bench.store.job_logs(id, logs[1].end(), 5).await.unwrap(), logs[1..]);
    assert_eq!(bench.store.job_logs(id, LogPosition::default(), 1).await.unwrap(), logs[..1]);
}

/// Two reports of one attempt in one call count as one after the other, and a row of the version before continues.
#[tokio::test]
async fn bytes_are_counted_across_reports_and_versions() {
    let bench = Bench::new().await;
    let id = bench.add(draft()).await;
    let leased = bench.lease_one().await;
    let report = |log: &str| AttemptReport { progress: None, log: log.to_owned() };
    let both = [(&leased.lease, report(&"a".repeat(12_000))), (&leased.lease, report(&"b".repeat(12_000)))];
    bench.store.report(&both).await.unwrap();
    assert_eq!(watch(&bench, unknown(id)).await.reports[0].log_end, 24_000);
    bench.execute("UPDATE jobqueue.report SET logged_bytes = NULL, log = 'old\n'").await;
    assert_eq!(watch(&bench, unknown(id)).await.reports[0].log_end, 4);
    log(&bench, &leased, "new\n").await;
    let state = watch(&bench, unknown(id)).await;
    assert_eq!((state.reports[0].log_end, state.reports[0].text.as_str()), (8, "old\nnew\n"));
}

#[tokio::test]
async fn a_corrupt_job_does_not_hinder_the_others() {
    let bench = Bench::new().await;
    let (corrupt, fine) = (bench.done(draft()).await, bench.done(draft()).await);
    bench.execute(&format!("UPDATE jobqueue.outcome SET status = 77 WHERE job_id = '{corrupt}'")).await;
    let states = bench.store.watched(&[unknown(corrupt), unknown(fine)]).await.unwrap();
    let (read, unread): (Vec<_>, Vec<_>) = states.into_iter().partition(Result::is_ok);
    assert_eq!((read.len(), unread.len()), (1, 1));
    assert_eq!(read[0].as_ref().unwrap().id, fine);
    let unread = unread[0].as_ref().unwrap_err();
    assert_eq!((unread.id, unread.error.word()), (corrupt, "corrupt"), "{unread:?}");
}
