//! Upgrades: the database of every released version, in `tests/snapshots`, is migrated; then every job reads as it did, and can be run to its
//! end. `scripts/snapshot VERSION` writes a new one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use jobqueue_store::Store;
use jobqueue_testkit::{Clock, TestDb};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::bench::Api;

mod fill;
mod run_all;

/// Where `scripts/snapshot` wants the SQL of the new snapshot. The answers are written beside it.
const WRITE_TO: &str = "JOBQUEUE_SNAPSHOT_TO";

/// What a database answered over REST when its snapshot was taken.
#[derive(Debug, Serialize, Deserialize)]
struct Answers {
    /// By id: the job, its attempts and its events.
    jobs: BTreeMap<String, [Value; 3]>,
    queues: Value,
    /// Submissions with an `Idempotency-Key`, and their answers.
    keyed: Vec<Keyed>,
    /// Jobs that hold a unique key.
    unique: Vec<Unique>,
    /// Running jobs whose workers will settle them.
    held: Vec<Held>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Keyed {
    path: String,
    key: String,
    body: Value,
    answer: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct Unique {
    body: Value,
    holder: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Held {
    id: String,
    lease: String,
}

#[tokio::test]
async fn the_database_of_every_released_version_is_upgraded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let mut versions: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    assert!(!versions.is_empty());
    for dump in versions {
        let text = fs::read_to_string(&dump).unwrap();
        let answers = fs::read(dump.with_extension("json")).unwrap();
        upgrades(&text, &serde_json::from_slice(&answers).unwrap()).await;
    }
}

#[tokio::test]
async fn a_snapshot_of_this_version_can_be_taken() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    let answers = fill::fill(&api, &clock).await;
    let dump = api.db.dump().await;
    upgrades(&dump, &answers).await;
    if let Some(path) = env::var_os(WRITE_TO).map(PathBuf::from) {
        fs::write(&path, dump).unwrap();
        fs::write(path.with_extension("json"), serde_json::to_string_pretty(&answers).unwrap() + "\n")
            .unwrap();
    }
}

/// Restores the dump, migrates it, compares what it answers, and runs every job to its end.
async fn upgrades(dump: &str, answers: &Answers) {
    let db = TestDb::restored(dump).await;
    Store::migrate(db.url()).await.unwrap();
    let clock = Clock::new();
    let api = Api::restored(db, &clock).await;
    api.store.check_schema().await.unwrap();

    for (id, before) in &answers.jobs {
        for (before, now) in before.iter().zip(read(&api, id).await) {
            assert!(has_all(before, &now), "{id}: was {before:#}\nis {now:#}");
        }
    }
    assert_eq!(api.count().await, answers.jobs.len());
    let queues = api.get("/v1/queues").await.expect(200);
    assert!(has_all(&answers.queues, &queues), "was {:#}\nis {queues:#}", answers.queues);
    for Keyed { path, key, body, answer } in &answers.keyed {
        let again = api.keyed(path, key, body).await;
        assert_eq!((again.header("idempotent-replayed"), &again.json()), (Some("true"), answer), "{key}");
    }
    for Unique { body, holder } in &answers.unique {
        assert_eq!(&api.post("/v1/jobs", body).await.expect(200)["id"], holder, "{body}");
    }
    run_all::run_all(&api, &clock, answers).await;
}

/// The job, its attempts and its events. What users gave as JSON is kept as text, which must not change by a byte.
async fn read(api: &Api, id: &str) -> [Value; 3] {
    let path = format!("/v1/jobs/{id}");
    let answer = api.get(&path).await;
    let mut job = answer.expect(200);
    let texts: BTreeMap<&str, &RawValue> = serde_json::from_str(&answer.text).unwrap();
    for name in ["payload", "metadata", "result"] {
        job[name] = texts.get(name).map(|text| text.get()).into();
    }
    let attempts = api.get(&format!("{path}/attempts")).await.expect(200);
    [job, attempts, api.get(&format!("{path}/events")).await.expect(200)]
}

/// Whether a value says all that an earlier version said. It may say more: responses grow.
fn has_all(before: &Value, now: &Value) -> bool {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            before.iter().all(|(name, value)| now.get(name).is_some_and(|now| has_all(value, now)))
        }
        (Value::Array(before), Value::Array(now)) => {
            before.len() == now.len() && before.iter().zip(now).all(|(before, now)| has_all(before, now))
        }
        _ => before == now,
    }
}
