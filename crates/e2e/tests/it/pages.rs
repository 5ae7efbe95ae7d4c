//! The code of docs/handlers.md and docs/rust-worker.md runs: a worker takes the handler file of the one page, and the program of the
//! other is a worker.

use std::fs;
use std::path::Path;

use jobqueue_testkit::{Binary, TestDb, eventually};
use serde_json::{Value, json};

use crate::cluster::{Cluster, LIMIT};

/// The first block of a page in a language.
fn block(page: &str, language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let text = fs::read_to_string(path).unwrap();
    let (_, block) = text.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_handler_file_of_the_page_runs_its_command() {
    let db = TestDb::new().await;
    // the page passes PATH on
    let cluster = Cluster::quick(db.url()).await.with("PATH", "/usr/local/bin:/usr/bin:/bin");
    fs::write(cluster.work.config(), block("handlers.md", "toml")).unwrap();
    let (api, mut worker) = tokio::join!(cluster.api(), cluster.worker("of-the-page", 2));
    let id = api.client.submit(&json!({ "kind": "report.build", "payload": "five" })).await;
    assert_eq!(api.client.finished(&id).await["result"], 6, "`wc -c` of the payload with its quotes");
    worker.ends_well().await;
}

#[tokio::test]
async fn the_program_of_the_page_is_a_worker() {
    let db = TestDb::new().await;
    let _built = Cluster::new("unused").await;
    let example =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../worker/examples/send_email.rs"))
            .unwrap();
    let (_, program) = example.split_once("\n\n").unwrap();
    assert_eq!(program, block("rust-worker.md", "rust,no_run"), "the example is the program of the page");
    let mut worker = Binary::example("send_email").env("DATABASE_URL", db.url()).spawn();
    db.execute(
        "SELECT jobqueue.enqueue('send_email', '{\"to\": \"ann@example.org\"}', queue => 'emails');
         SELECT jobqueue.enqueue('send_email', '{\"to\": \"nobody\"}')",
    )
    .await;
    let ended = eventually(LIMIT, "both jobs have ended", async || {
        let query = "SELECT coalesce(result, error) FROM jobqueue.jobs WHERE status IN ('completed', 'failed') ORDER BY id";
        let ended: Vec<Value> = sqlx::query_scalar(query).fetch_all(db.pool()).await.unwrap();
        if ended.len() == 2 { Ok(ended) } else { Err(ended) }
    })
    .await;
    assert_eq!(ended[0], 15);
    assert_eq!(
        (&ended[1]["type"], &ended[1]["message"]),
        (&"bad_address".into(), &"`nobody` is not an address".into())
    );
    worker.signal(jobqueue_testkit::Signal::TERM);
    assert!(worker.wait_exit(LIMIT).await.success(), "{:#?}", worker.lines());
}
