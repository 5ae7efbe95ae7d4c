//! Plans: with a lot waiting and a lot done, and statistics that know it or know nothing, the hot statements look up and
//! never walk a table.

use jobqueue_core::{JobId, Outcome};
use jobqueue_store::{JobFilter, Pooler, Store};
use jobqueue_testkit::TestServer;
use sqlx::{PgPool, Row as _};

use crate::bench::{end, request};

/// 200,000 ready jobs and as many completed ones, of which 200 failed, as the verbs would have left them.
const FILL: &str = "
    SELECT jobqueue.lane_id('default', 0::smallint), jobqueue.kind_id('noop');
    CREATE TEMP TABLE fill AS SELECT n, jobqueue.new_id() AS id FROM generate_series(1, 400000) n;
    INSERT INTO jobqueue.body (id, lane, kind, max_attempts, payload) SELECT id, 1, 1, 10, '{}' FROM fill;
    INSERT INTO jobqueue.ready SELECT id, 1, 1, 0 FROM fill WHERE n > 200000;
    INSERT INTO jobqueue.outcome (job_id, status, attempt, finished_at)
      SELECT id, CASE WHEN n % 1000 = 0 THEN 6 ELSE 5 END, 1, now() FROM fill WHERE n <= 200000;
    INSERT INTO jobqueue.tally (queue_id, created, completed) VALUES (1, 400000, 200000);
    DROP TABLE fill";

/// Nobody knows what plan a statement got but the server's log, so statements are run as the store runs them and asked again here.
async fn big(analyzed: bool) -> (TestServer, Store, PgPool) {
    let settings = [
        ("shared_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_format", "text"),
        ("autovacuum", "off"),
        ("fsync", "off"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
        ("log_destination", "csvlog"),
        ("logging_collector", "on"),
        ("log_directory", "log"),
        ("log_filename", "all.log"),
        ("log_truncate_on_rotation", "off"),
    ];
    let server = TestServer::with_settings(&settings).await;
    let pool = server.pool();
    sqlx::raw_sql(FILL).execute(&pool).await.unwrap();
    if analyzed {
        sqlx::raw_sql("ANALYZE").execute(&pool).await.unwrap();
    }
    let options = jobqueue_store::StoreOptions {
        url: server.url().to_owned(),
        application_name: "plans".into(),
        max_connections: 1,
        connect_timeout: std::time::Duration::from_secs(20),
        pooler: Pooler::None,
    };
    (server, Store::connect_lazy(&options).unwrap(), pool)
}

/// The plans that the server logged for a statement, each as its lines.
async fn plans(pool: &PgPool, name: &str) -> Vec<Vec<String>> {
    let log: String = sqlx::query_scalar("SELECT pg_read_file('log/all.csv')").fetch_one(pool).await.unwrap();
    let start = format!("Query Text: -- {name}\n");
    log.split("duration: ")
        .filter(|entry| entry.contains(&start))
        .map(|entry| entry.lines().map(str::to_owned).collect())
        .collect()
}

/// A line of a plan that reads a table from end to end, if it read more than a handful of rows.
fn walks(plan: &[String]) -> Option<&String> {
    plan.iter().find(|line| {
        let rows = line
            .split("actual rows=")
            .nth(1)
            .and_then(|rest| rest.split([' ', '.']).next())
            .and_then(|n| n.parse::<f64>().ok());
        let big = ["body", "outcome", "ready", "scheduled", "attempt"]
            .iter()
            .any(|table| line.contains(&format!(" on {table}")));
        line.contains("Seq Scan") && big || rows.is_some_and(|rows| rows > 2500.0)
    })
}

async fn cycles(store: &Store) -> Vec<JobId> {
    let mut ids = Vec::new();
    // often enough that Postgres turns from custom to generic plans
    for _ in 0..12 {
        let leased = store.lease(&request(None, &["default"], 100)).await.unwrap();
        assert_eq!(leased.len(), 100);
        ids.extend(leased.iter().map(|leased| leased.job.id));
        let mut ends: Vec<_> = leased.into_iter().map(|one| end(one, Outcome::Completed(None))).collect();
        ends.extend(
            store
                .lease(&request(None, &["default"], 3))
                .await
                .unwrap()
                .into_iter()
                .map(|one| end(one, crate::bench::failed())),
        );
        store.settle(ends).await.unwrap();
        store.jobs_by_id(&ids[..20]).await.unwrap();
        store.job(ids[0]).await.unwrap();
        store.cancel(&ids[..5], &crate::bench::boom()).await.unwrap();
        store.promote_due(100).await.unwrap();
        for statuses in [
            vec![],
            vec![jobqueue_core::Status::Completed],
            vec![jobqueue_core::Status::Failed],
            vec![jobqueue_core::Status::Queued],
        ] {
            let filter = JobFilter { statuses, ..JobFilter::default() };
            assert_eq!(store.list(&filter, None, 50).await.unwrap().jobs.len(), 50);
        }
    }
    ids
}

async fn hot_statements_look_up(analyzed: bool) {
    let (_server, store, pool) = big(analyzed).await;
    cycles(&store).await;
    let all: i64 =
        sqlx::query("SELECT count(*) FROM jobqueue.outcome").fetch_one(&pool).await.unwrap().get(0);
    assert_eq!(all, 201_200);
    for name in [
        "store.lease",
        "store.bodies",
        "store.settle",
        "store.places",
        "store.withdraw",
        "store.promote",
        "store.list",
    ] {
        let plans = plans(&pool, name).await;
        assert!(plans.len() >= 12, "{name}: {} plans were logged", plans.len());
        for plan in plans {
            assert_eq!(walks(&plan), None, "{name}, analyzed: {analyzed}\n{}", plan.join("\n"));
        }
    }
}

#[tokio::test]
async fn hot_statements_look_up_with_statistics() {
    hot_statements_look_up(true).await;
}

#[tokio::test]
async fn hot_statements_look_up_without_statistics() {
    hot_statements_look_up(false).await;
}
