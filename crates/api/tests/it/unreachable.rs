//! The binary with a database in which nothing can be stored: 503 with `Retry-After`, the cause in `/ready` and in the
//! log, and recovery without a restart.

use jobqueue_testkit::{Fault, FaultProxy, Process, TestDb, eventually};
use serde_json::Value;

use crate::client::{Answer, HANG};
use crate::process::{address, binary, get, post};

const JOB: &str = r#"{"kind":"k"}"#;

/// Waits until a submission gets this status.
async fn submissions_get(addr: std::net::SocketAddr, status: u16) -> Answer {
    eventually(HANG, &format!("submissions get {status}"), async || {
        let answer = post(addr, "/v1/jobs", JOB).await;
        if answer.status == status { Ok(answer) } else { Err(answer) }
    })
    .await
}

/// Checks that every request gets 503 with `Retry-After`, and that readiness and log name the cause.
async fn names(process: &Process, addr: std::net::SocketAddr, cause: &str, words: &str) {
    assert_eq!(submissions_get(addr, 503).await.problem(503), "unavailable");
    for _ in 0..20 {
        assert_eq!(post(addr, "/v1/jobs", JOB).await.problem(503), "unavailable", "{cause}");
    }
    let ready = get(addr, "/ready").await;
    assert!(ready.status == 503 && ready.text.contains(words), "{cause}: {ready:?}");
    let label = format!("\"cause\":\"{cause}\"");
    process.wait_for_line(cause, |line| line.contains(&label) && line.contains("cannot be used"), HANG).await;
    let lines = process.lines().iter().filter(|line| line.contains(&label)).count();
    assert_eq!(lines, 1, "one line a minute for {cause}:\n{}", process.lines().join("\n"));
}

#[tokio::test]
async fn a_rejected_connection_is_503_and_its_cause_is_logged_once() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let process = binary(&proxy.through(db.url())).env("LOG_FORMAT", "json").spawn();
    let addr = address(&process).await;
    let job = post(addr, "/v1/jobs", JOB).await.expect(201);
    let lease = post(addr, "/v1/leases", r#"{"queues":["default"]}"#).await.expect(200)["leases"][0].clone();
    let settle =
        format!(r#"{{"items":[{{"lease":{},"outcome":"completed","result":"kept"}}]}}"#, lease["lease"]);
    for (state, cause, words) in [
        ("28P01", "password", "the user or the password"),
        ("3D000", "no_database", "does not exist"),
        ("55000", "not_accepting", "does not accept connections"),
        ("42501", "missing_grant", "lacks a grant"),
        ("XX000", "pooler", "the database or its pooler refuses"),
    ] {
        proxy.set(Fault::Reject(state));
        names(&process, addr, cause, words).await;
        assert_eq!(post(addr, "/v1/leases/settle", &settle).await.problem(503), "unavailable", "{state}");
        assert_eq!(get(addr, "/v1/jobs").await.problem(503), "unavailable", "{state}");
        proxy.set(Fault::Pass);
        submissions_get(addr, 201).await;
    }
    let settled = post(addr, "/v1/leases/settle", &settle).await.expect(200);
    assert_eq!(settled["items"][0]["status"], "completed", "{settled}");
    let shown: Value = get(addr, &format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&shown["status"], &shown["result"]), (&"completed".into(), &"kept".into()));
}

/// sqlx retries these until the connect timeout, which is longer than a probe waits.
#[tokio::test]
async fn readiness_names_a_cause_that_connecting_retries() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let process = binary(&proxy.through(db.url())).spawn();
    let addr = address(&process).await;
    submissions_get(addr, 201).await;
    for (fault, words) in [
        (Fault::Reject("53300"), "too many connections"),
        (Fault::Reject("57P03"), "starting, stopping or in recovery"),
        (Fault::Cut, "the connection to the database broke"),
    ] {
        proxy.set(Fault::Cut);
        submissions_get(addr, 503).await;
        proxy.set(fault);
        // a session from before the fault may be asked first: then the cause is that it broke
        eventually(HANG, &format!("the cause of {fault:?}"), async || {
            let ready = get(addr, "/ready").await;
            assert_eq!(ready.status, 503, "{fault:?}");
            if ready.text.contains(words) { Ok(()) } else { Err(ready) }
        })
        .await;
        proxy.set(Fault::Pass);
        submissions_get(addr, 201).await;
    }
}

#[tokio::test]
async fn a_read_only_database_is_not_ready_and_its_sessions_are_dropped() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    let process = binary(&proxy.through(db.url())).env("LOG_FORMAT", "json").spawn();
    let addr = address(&process).await;
    submissions_get(addr, 201).await;
    db.execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", db.name())).await;
    proxy.set(Fault::Cut);
    submissions_get(addr, 503).await;
    proxy.set(Fault::Pass);
    names(&process, addr, "read_only", "the database is read-only").await;
    get(addr, "/v1/jobs").await.expect(200);
    // a session from before would stay read-only
    db.execute(&format!(
        "SET default_transaction_read_only = off; ALTER DATABASE {} RESET default_transaction_read_only",
        db.name()
    ))
    .await;
    submissions_get(addr, 201).await;
    eventually(HANG, "ready again", async || {
        let ready = get(addr, "/ready").await;
        if ready.status == 200 { Ok(()) } else { Err(ready) }
    })
    .await;
}

/// As on a full disk, every job is refused while the table `disk` says so. A sequence counts the tries.
const DISK: &str = "CREATE TABLE public.disk (is_full boolean); INSERT INTO public.disk VALUES (false);
    CREATE SEQUENCE public.tries;
    CREATE FUNCTION public.store() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM nextval('public.tries');
        IF (SELECT is_full FROM public.disk) THEN
            RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER store BEFORE INSERT ON jobqueue.body FOR EACH ROW EXECUTE FUNCTION public.store()";

#[tokio::test]
async fn a_full_disk_is_not_ready_until_jobs_can_be_stored_and_a_ready_process_writes_nothing() {
    let db = TestDb::new().await;
    db.execute(DISK).await;
    let process = binary(db.url()).env("LOG_FORMAT", "json").spawn();
    let addr = address(&process).await;
    submissions_get(addr, 201).await;
    let ready_without_writing = async || {
        eventually(HANG, "ready", async || {
            let ready = get(addr, "/ready").await;
            if ready.status == 200 { Ok(()) } else { Err(ready) }
        })
        .await;
        let tries = db.number("SELECT last_value FROM public.tries").await;
        for _ in 0..5 {
            get(addr, "/ready").await.expect(200);
        }
        assert_eq!(db.number("SELECT last_value FROM public.tries").await, tries);
    };
    ready_without_writing().await;
    db.execute("UPDATE public.disk SET is_full = true").await;
    names(&process, addr, "disk_full", "the disk of the database is full").await;
    let jobs = db.number("SELECT count(*) FROM jobqueue.jobs").await;
    db.execute("UPDATE public.disk SET is_full = false").await;
    ready_without_writing().await;
    assert_eq!(db.number("SELECT count(*) FROM jobqueue.jobs").await, jobs, "nothing is left of the trial");
    submissions_get(addr, 201).await;
}
