//! `doctor`: planted faults are found, on a real database.

use serde_json::Value;

use crate::service::{Home, Ran, Service, run};
use jobqueue_testkit::{TestDb, eventually};

async fn doctor(db: &TestDb, more: &[&str]) -> Ran {
    let args: Vec<&str> = ["doctor"].iter().chain(more).copied().collect();
    run(&Home::new(), &args, &[("DATABASE_URL", db.url())], "").await
}

/// The finding of one check, as `severity: seen`.
async fn seen(db: &TestDb, check: &str) -> String {
    let ran = doctor(db, &["-o", "json"]).await;
    let findings: Vec<Value> =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_check
        .map(|finding| format!("{}: {}", text(&finding["severity"]), text(&finding["seen"])))
        .collect::<Vec<_>>()
        .join("; ")
}

#[tokio::test]
async fn planted_faults_are_found() {
    let db = TestDb::new().await;
    assert_eq!(seen(&db, "reaper").await, "error: it has never counted");
    assert!(seen(&db, "schema").await.starts_with("ok: version"));
    assert!(seen(&db, "connections").await.starts_with("ok: "));

    db.execute("SELECT jobqueue.enqueue('k', queue => 'mail')").await;
    db.execute("INSERT INTO jobqueue.census (queue_id, scheduled, queued, running, taken_at) SELECT id, 0, 1, 0, jobqueue.now() FROM jobqueue.queue").await;
    db.execute("INSERT INTO jobqueue.census_state (taken_at, named_queues) VALUES (jobqueue.now(), 10)")
        .await;
    assert!(seen(&db, "reaper").await.starts_with("ok: "));
    assert!(seen(&db, "queues").await.contains("mail: 1 jobs can start"));
    assert!(seen(&db, "workers").await.starts_with("error: no worker is alive, 1 jobs"));

    let worker = |age: &str| {
        format!(
            "INSERT INTO jobqueue.worker (id, name, queues, slots, started_at, beat_at, stale_ms) VALUES
             (gen_random_uuid(), 'w{age}', '{{mail}}', 1, jobqueue.now(), jobqueue.now() - interval '{age} s', 30000)"
        )
    };
    db.execute(&worker("900")).await;
    assert_eq!(seen(&db, "stale-workers").await, "warning: no heartbeat from w900");
    db.execute(&worker("0")).await;
    assert!(seen(&db, "queues").await.starts_with("ok: "));

    db.execute("ALTER TABLE jobqueue.ready SET (autovacuum_enabled = false)").await;
    assert_eq!(seen(&db, "autovacuum").await, "error: it is off for ready");
    db.execute("CREATE TABLE jobqueue.new_one (id int PRIMARY KEY); ALTER TABLE jobqueue.new_one OWNER TO pg_monitor").await;
    assert!(seen(&db, "grants").await.contains("new_one"));
    db.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'jobqueue.new_one_pkey'::regclass")
        .await;
    assert!(seen(&db, "indexes").await.contains("new_one_pkey is invalid"));

    let open = db.hold("SELECT 1").await;
    let held = async || {
        let seen = seen(&db, "transactions").await;
        if seen.contains("the oldest has been open") { Ok(()) } else { Err(seen) }
    };
    eventually(crate::service::SOON, "the open transaction is seen", held).await;
    open.commit().await.unwrap();

    let ran = doctor(&db, &["--quiet"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("ALTER TABLE jobqueue.ready RESET (autovacuum_enabled)")
            && !ran.stdout.contains("ok "),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_database_without_the_schema_or_for_reading_only_is_reported() {
    let db = TestDb::empty().await;
    let ran = doctor(&db, &[]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("jobqueue migrate"), "{ran:?}");
    let db = TestDb::new().await;
    db.execute(&format!("ALTER DATABASE \"{}\" SET default_transaction_read_only = on", db.name())).await;
    assert!(seen(&db, "read-only").await.starts_with("error: "));
}

#[tokio::test]
async fn the_api_is_asked_as_well() {
    let service = Service::start().await;
    let url = format!("http://{}", service.address);
    let ran = doctor(&service.db, &["--url", &url, "--api-key", crate::service::KEY]).await;
    assert!(ran.stdout.contains("the database and the host of the API agree"), "{ran:?}");
    let ran = doctor(&service.db, &["--url", &url]).await;
    assert!(ran.stdout.contains("does not accept the key"), "{ran:?}");
    let ran = doctor(&service.db, &["--url", "http://127.0.0.1:1"]).await;
    assert!(ran.code == 1 && ran.stdout.contains("is it running?"), "{ran:?}");
}

#[tokio::test]
async fn a_database_that_is_unreachable_has_its_own_code() {
    let home = Home::new();
    let url = "postgres://postgres:hunter2@127.0.0.1:1/x";
    let ran = run(&home, &["doctor"], &[("DATABASE_URL", url)], "").await;
    ran.fails(5, "DATABASE_URL");
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    assert_eq!(run(&home, &["doctor"], &[], "").await.code, 64);
    run(&home, &["doctor"], &[("DATABASE_URL", "mysql://x")], "").await.fails(64, "DATABASE_URL");
    let missing = run(&home, &["doctor"], &[], "").await;
    let named = "DATABASE_URL (the variable, or --database-url <URL>)";
    assert!(missing.code == 64 && missing.stderr.contains(named), "{missing:?}");
}
