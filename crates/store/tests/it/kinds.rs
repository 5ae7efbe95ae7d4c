//! Settings and pauses of kinds hold with the next lease, for every job that does not say otherwise.

use std::time::Duration;

use jobqueue_core::kind_settings::MAX_KINDS;
use jobqueue_core::limits::REMOTE_TIMEOUT_GRACE;
use jobqueue_core::{
    Failure, JobDraft, KindName, Outcome, RetryPolicy, ScheduleDraft, Status, WorkerId, settle,
};
use jobqueue_store::{AttemptEnd, Extended, KindChange, KindChanged, WorkerEntry};
use jobqueue_testkit::eventually;

use crate::bench::{Bench, MINUTE, draft, entry, request, submission};

fn kind(text: &str) -> KindName {
    text.parse().unwrap()
}

fn of_kind(text: &str) -> JobDraft {
    JobDraft { kind: text.into(), ..draft() }
}

fn fixed(delay_seconds: f64) -> RetryPolicy {
    RetryPolicy::Fixed { delay_seconds }
}

async fn leased_kinds(bench: &Bench, limit: usize) -> Vec<String> {
    let leased = bench.store.lease(&request(Some(bench.worker), &["default"], limit)).await.unwrap();
    leased.iter().map(|leased| leased.job.kind.to_string()).collect()
}

#[tokio::test]
async fn a_paused_kind_waits_and_the_others_run() {
    let bench = Bench::new().await;
    assert_eq!(bench.store.kinds().pause(&kind("a")).await.unwrap(), KindChanged::Unknown);
    // a long backlog of the paused kind is in front
    bench.submit(vec![of_kind("a"); 300]).await;
    bench.submit(vec![of_kind("b"); 3]).await;
    assert_eq!(bench.store.kinds().pause(&kind("a")).await.unwrap(), KindChanged::Done);
    let since = bench.store.kinds().get(&kind("a")).await.unwrap().unwrap().paused_at;
    assert_eq!(bench.store.kinds().pause(&kind("a")).await.unwrap(), KindChanged::Done);
    let again = bench.store.kinds().get(&kind("a")).await.unwrap().unwrap().paused_at;
    assert!(since.is_some() && since == again, "the first pause counts");

    assert_eq!(leased_kinds(&bench, 100).await, ["b", "b", "b"]);
    assert_eq!(leased_kinds(&bench, 100).await, Vec::<String>::new());
    // what is submitted during the pause waits too, and a pause outlives every process
    bench.submit(vec![of_kind("a"), of_kind("b")]).await;
    assert_eq!(leased_kinds(&bench, 100).await, ["b"]);
    assert_eq!(bench.store.kinds().resume(&kind("a")).await.unwrap(), KindChanged::Done);
    let mut found = 0;
    while let more @ 1.. = leased_kinds(&bench, 200).await.len() {
        found += more;
    }
    assert_eq!(found, 301);
}

#[tokio::test]
async fn defaults_apply_to_jobs_that_wait_already_and_yield_to_their_own() {
    let bench = Bench::new().await;
    bench.add(of_kind("a")).await;
    let own = JobDraft { timeout_seconds: Some(9.0), retry: Some(fixed(9.0)), ..of_kind("a") };
    bench.add(own).await;
    bench.add(of_kind("b")).await;
    let change = KindChange { timeout_ms: Some(Some(2_500)), retry: Some(Some(fixed(77.0))) };
    assert_eq!(bench.store.kinds().configure(&kind("a"), change).await.unwrap(), KindChanged::Done);
    let leased = bench.store.lease(&request(Some(bench.worker), &["default"], 10)).await.unwrap();
    let found: Vec<_> = leased.iter().map(|leased| (leased.job.timeout, leased.job.retry.clone())).collect();
    let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
    assert_eq!(found, [(seconds(2.5), Some(fixed(77.0))), (seconds(9.0), Some(fixed(9.0))), (None, None)]);

    // the policy decides about the retry
    let first = leased.into_iter().next().unwrap();
    let failed = Outcome::Failed { failure: Failure::new("boom", "it broke"), retry_after: None };
    let settlement = settle(&first.job, failed, 0.0);
    let id = first.job.id;
    bench.store.settle(vec![AttemptEnd { lease: first.lease, settlement, ran: None }]).await.unwrap();
    let record = bench.record(id).await;
    let delay = record.run_at.unwrap() - bench.now().await;
    assert!((70..=77).contains(&delay.num_seconds()), "{delay}");
    assert_eq!((record.job.timeout, record.job.retry), (None, None), "a reader sees what the submitter sent");

    // back to the defaults
    let change = KindChange { timeout_ms: Some(None), retry: Some(None) };
    assert_eq!(bench.store.kinds().configure(&kind("a"), change).await.unwrap(), KindChanged::Done);
    bench.add(of_kind("a")).await;
    let plain = bench.lease_one().await.job;
    assert_eq!((plain.timeout, plain.retry), (None, None));
}

#[tokio::test]
async fn a_remote_worker_is_held_to_the_settings_of_the_kind() {
    let mut bench = Bench::new().await;
    let id = bench.add(of_kind("a")).await;
    let other = bench.add(of_kind("b")).await;
    let change = KindChange { timeout_ms: Some(Some(2_000)), retry: Some(Some(fixed(500.0))) };
    bench.store.kinds().configure(&kind("a"), change).await.unwrap();
    let leased = bench.store.lease(&request(None, &["default"], 2)).await.unwrap();
    let right = vec![leased.into_iter().next().unwrap().lease];
    let remote = bench.store.leased_jobs(&right).await.unwrap();
    assert_eq!(remote[0].as_ref().unwrap().job.retry, Some(fixed(500.0)));
    bench.pass(REMOTE_TIMEOUT_GRACE + Duration::from_secs(3));
    let beat = bench.store.extend(&right, MINUTE).await.unwrap();
    assert!(matches!(beat[..], [Extended::Until { timed_out: true, .. }]), "{beat:?}");
    assert_eq!(bench.store.end_overruns(10).await.unwrap().jobs, [id]);
    let delay = bench.record(id).await.run_at.unwrap() - bench.now().await;
    assert!((490..=500).contains(&delay.num_seconds()), "{delay}");
    assert_eq!(bench.record(other).await.status, Status::Running);
}

#[tokio::test]
async fn the_number_of_kinds_that_every_lease_reads_is_bounded_and_a_broken_row_stops_nothing() {
    let bench = Bench::new().await;
    bench
        .execute(&format!(
            "INSERT INTO jobqueue.kind (name, paused_at, timeout_ms) SELECT 'k' || n, now(), 5 FROM generate_series(1, {MAX_KINDS}) n"
        ))
        .await;
    bench.add(of_kind("a")).await;
    assert_eq!(bench.store.kinds().pause(&kind("a")).await.unwrap(), KindChanged::TooMany);
    assert_eq!(bench.store.kinds().pause(&kind("k1")).await.unwrap(), KindChanged::Done);
    let change = KindChange { timeout_ms: Some(Some(1)), ..KindChange::default() };
    assert_eq!(
        bench.store.kinds().configure(&kind("a"), change.clone()).await.unwrap(),
        KindChanged::TooMany
    );
    assert_eq!(bench.store.kinds().configure(&kind("k1"), change).await.unwrap(), KindChanged::Done);
    let change = KindChange { timeout_ms: Some(None), ..KindChange::default() };
    assert_eq!(bench.store.kinds().configure(&kind("a"), change).await.unwrap(), KindChanged::Done);

    bench
        .execute(
            r#"UPDATE jobqueue.kind SET retry = '{"strategy": "none"}' WHERE name = 'k1';
                    UPDATE jobqueue.kind SET timeout_ms = -1 WHERE name = 'k2';
                    UPDATE jobqueue.kind SET retry = '[]', paused_at = NULL WHERE name = 'a'"#,
        )
        .await;
    assert_eq!(leased_kinds(&bench, 10).await, ["a"]);
}

async fn listed(bench: &Bench) -> Vec<String> {
    let kinds = bench.store.kinds().list(None, 100).await.unwrap();
    kinds.into_iter().map(|kind| kind.name.to_string()).collect()
}

async fn expire(bench: &Bench) -> u32 {
    bench.store.upkeep().expire_kinds(100).await.unwrap()
}

#[tokio::test]
async fn kinds_that_nothing_uses_expire_and_no_others() {
    let mut bench = Bench::new().await;
    for name in ["unused", "paused", "configured", "scheduled", "handled"] {
        bench.store.kinds().create(&kind(name)).await.unwrap();
    }
    bench.store.kinds().pause(&kind("paused")).await.unwrap();
    let change = KindChange { timeout_ms: Some(Some(1000)), ..KindChange::default() };
    bench.store.kinds().configure(&kind("configured"), change).await.unwrap();
    bench.add(JobDraft { delay_seconds: Some(900.0 * 86400.0), ..of_kind("waits") }).await;
    bench.done(of_kind("done")).await;
    bench
        .put(
            "s",
            &ScheduleDraft {
                job: of_kind("scheduled"),
                at: Some("2100-01-01T00:00:00Z".into()),
                ..ScheduleDraft::default()
            },
        )
        .await;
    bench.store.take_census(10).await.unwrap();
    let all = ["configured", "done", "handled", "paused", "scheduled", "unused", "waits"];
    bench.pass(Duration::from_hours(399 * 24));
    assert_eq!((expire(&bench).await, listed(&bench).await), (0, all.map(str::to_owned).to_vec()));
    bench.done(of_kind("recent")).await;
    bench.store.take_census(10).await.unwrap();
    bench.pass(Duration::from_hours(48));
    let handles =
        WorkerEntry { kinds: vec!["handled".into()], ..entry(WorkerId::from_uuid(uuid::Uuid::from_u128(2))) };
    bench.store.register_worker(&handles).await.unwrap();
    assert_eq!(expire(&bench).await, 1, "the final job is kept, too");
    assert_eq!(
        listed(&bench).await,
        ["configured", "done", "handled", "paused", "recent", "scheduled", "waits"]
    );
    assert_eq!(expire(&bench).await, 0);
    let old = "SELECT count(*) FROM jobqueue.kind WHERE used_at < jobqueue.now() - interval '300 days' AND paused_at IS NULL AND timeout_ms IS NULL
               AND deleted_at IS NULL";
    assert_eq!(bench.count(old).await, 0, "those in use are looked at again later");
    assert_eq!(bench.store.kinds().get(&kind("unused")).await.unwrap(), None);
    assert_eq!(bench.store.kinds().pause(&kind("unused")).await.unwrap(), KindChanged::Unknown);
    bench.store.kinds().create(&kind("unused")).await.unwrap();
    assert_eq!(bench.store.kinds().pause(&kind("unused")).await.unwrap(), KindChanged::Done);
}

/// A process that has cached the number of a deleted kind submits its jobs as before, and the kind exists again at once.
#[tokio::test]
async fn a_deleted_kind_exists_again_with_its_next_job() {
    let mut bench = Bench::new().await;
    bench.done(of_kind("a")).await;
    bench.store.take_census(10).await.unwrap();
    bench
        .execute(
            "UPDATE jobqueue.kind SET used_at = used_at - interval '401 days'; DELETE FROM jobqueue.body",
        )
        .await;
    let cached = bench.store.clone();
    assert_eq!(expire(&bench).await, 1);
    assert_eq!(listed(&bench).await, Vec::<String>::new());
    let number = "SELECT id::bigint FROM jobqueue.kind WHERE name = 'a'";
    let before = bench.count(number).await;
    let answers = cached.enqueue(&[submission(vec![of_kind("a")])]).await.unwrap();
    assert_eq!((answers.len(), listed(&bench).await, expire(&bench).await), (1, vec!["a".to_owned()], 0));
    bench.store.take_census(10).await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.kind WHERE deleted_at IS NULL").await, 1);
    assert_eq!((leased_kinds(&bench, 1).await, bench.count(number).await), (vec!["a".to_owned()], before));
    // a process without the number finds it as well
    bench.execute("UPDATE jobqueue.kind SET deleted_at = now()").await;
    bench.pass(Duration::from_secs(1));
    bench.add(of_kind("a")).await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.kind").await, 1);
    assert_eq!(listed(&bench).await, ["a"]);
}

/// What a user wrote by hand may name no kind.
#[tokio::test]
async fn kinds_expire_although_a_schedule_or_a_tally_names_none() {
    let bench = Bench::new().await;
    bench.store.kinds().create(&kind("unused")).await.unwrap();
    bench.store.kinds().create(&kind("counted")).await.unwrap();
    bench
        .execute(
            "UPDATE jobqueue.kind SET used_at = used_at - interval '401 days';
             INSERT INTO jobqueue.schedule (name, spec) VALUES ('by-hand', '{}');
             INSERT INTO jobqueue.tally (queue_id, created, kinds) SELECT 0, 1, ARRAY[id, NULL] FROM jobqueue.kind WHERE name = 'counted'",
        )
        .await;
    assert_eq!((expire(&bench).await, listed(&bench).await), (1, vec!["counted".to_owned()]));
}

/// A use is noted once an hour, so a job may be younger than the last note.
#[tokio::test]
async fn a_job_that_is_younger_than_the_last_note_keeps_its_kind() {
    let mut bench = Bench::new().await;
    bench.store.kinds().create(&kind("a")).await.unwrap();
    bench.pass(Duration::from_mins(50));
    bench.done(of_kind("a")).await;
    bench.store.take_census(10).await.unwrap();
    bench.pass(Duration::from_hours(400 * 24) - Duration::from_mins(45));
    assert_eq!((expire(&bench).await, listed(&bench).await), (0, vec!["a".to_owned()]));
    bench.pass(Duration::from_hours(1));
    assert_eq!((expire(&bench).await, listed(&bench).await), (0, vec!["a".to_owned()]));
}

/// Commits a change that another session waits for.
async fn commit_when_awaited(bench: &Bench, change: sqlx::Transaction<'_, sqlx::Postgres>) {
    eventually(MINUTE, "the other session waits", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        match bench.count(waiting).await {
            0 => Err(0),
            _ => Ok(()),
        }
    })
    .await;
    change.commit().await.unwrap();
}

#[tokio::test]
async fn a_kind_that_is_created_again_does_not_expire() {
    let bench = Bench::new().await;
    let age = "UPDATE jobqueue.kind SET used_at = used_at - interval '401 days'";
    bench.store.kinds().create(&kind("a")).await.unwrap();
    bench.execute(age).await;
    bench.store.kinds().create(&kind("a")).await.unwrap();
    assert_eq!((expire(&bench).await, listed(&bench).await), (0, vec!["a".to_owned()]));

    // while it is being deleted
    bench.execute(age).await;
    let mut change = bench.pool.begin().await.unwrap();
    sqlx::query("UPDATE jobqueue.kind SET deleted_at = now()").execute(&mut *change).await.unwrap();
    let create = async || bench.store.kinds().create(&kind("a")).await;
    let (created, ()) = tokio::join!(create(), commit_when_awaited(&bench, change));
    created.unwrap();
    assert_eq!(listed(&bench).await, ["a"]);

    // just before it would be deleted
    bench.execute(age).await;
    let mut change = bench.pool.begin().await.unwrap();
    sqlx::query("UPDATE jobqueue.kind SET used_at = now()").execute(&mut *change).await.unwrap();
    let (expired, ()) = tokio::join!(expire(&bench), commit_when_awaited(&bench, change));
    assert_eq!((expired, listed(&bench).await), (0, vec!["a".to_owned()]));
}
