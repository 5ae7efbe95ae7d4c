//! The set-up of docs/security.md: each process has a login role of its own, which is a member of the group roles of the page and nothing
//! else.

use std::fs;
use std::path::Path;

use jobqueue_testkit::{Binary, TestDb};
use serde_json::json;

use crate::cluster::{Cluster, LIMIT};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The grants of the page. `shop` is a role that exists already there.
fn grants() -> String {
    let page = read("docs/security.md");
    let (_, block) = page.split_once("```sql\nCREATE ROLE queue_migrate").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    format!("CREATE ROLE shop LOGIN; CREATE ROLE queue_migrate{block}")
}

/// The address of the database for one of the page's roles.
fn as_role(db: &TestDb, role: &str) -> String {
    db.url().replace("postgres@", &format!("{role}:CHANGE_ME@"))
}

#[tokio::test]
async fn every_process_does_its_work_with_the_role_of_the_page() {
    let db = TestDb::new().await;
    db.execute(&read("scripts/roles.sql")).await;
    db.execute(&grants()).await;
    let cluster = Cluster::quick(&as_role(&db, "queue_api")).await;
    let grant = format!("GRANT CREATE ON DATABASE {} TO jobqueue_owner", db.name());
    db.execute(&grant).await;
    let mut migrate =
        Binary::named("jobqueue").arg("migrate").env("DATABASE_URL", as_role(&db, "queue_migrate")).spawn();
    assert!(migrate.wait_exit(LIMIT).await.success(), "{:#?}", migrate.lines());

    let api = cluster.api().await;
    let (mut worker, mut reaper) = (
        cluster.clone().through(&as_role(&db, "queue_worker")).worker("with-its-role", 2).await,
        cluster.clone().through(&as_role(&db, "queue_reaper")).reaper().await,
    );
    let id = api
        .client
        .submit(&json!({ "kind": "echo", "payload": "over REST", "unique": { "key": "one" } }))
        .await;
    assert_eq!(api.client.completed(&id).await["result"], "over REST");
    let shop = sqlx::PgPool::connect(&as_role(&db, "shop")).await.unwrap();
    let enqueue = "SELECT jobqueue.enqueue('echo', '\"in SQL\"', queue => 'default')::text";
    let id: String = sqlx::query_scalar(enqueue).fetch_one(&shop).await.unwrap();
    assert_eq!(api.client.completed(&id).await["result"], "in SQL");
    sqlx::query("SELECT payload FROM jobqueue.body").fetch_all(&shop).await.unwrap_err();
    shop.close().await;
    let delayed = api.client.submit(&json!({ "kind": "echo", "payload": 1, "delay_seconds": 0.5 })).await;
    api.client.completed(&delayed).await;

    reaper.metric_reaches("reaper_arrival_notifications_total", 1.0).await;
    let metrics = reaper.admin.get("/metrics").await.text;
    let failed = metrics.lines().find(|line| line.contains("outcome=\"error\"") && !line.ends_with(" 0"));
    assert_eq!(failed, None, "a duty lacks a right: {:#?}", reaper.process.lines());
    for node in [&mut worker, &mut reaper] {
        node.ends_well().await;
        let refused = node.process.lines().into_iter().find(|line| line.contains("permission denied"));
        assert_eq!(refused, None);
    }
}
