//! The dashboard in a real browser: the scenarios of `crates/dashboard/web/e2e` against real processes. This test starts the servers, answers
//! what the scenarios ask of the database, and stops and starts servers for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use jobqueue_testkit::TestServer;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

use crate::client::KEY;
use crate::cluster::{Api, Cluster, Node};

/// A directory for pictures: then the test only takes these.
const SCREENSHOTS: &str = "JOBQUEUE_TEST_SCREENSHOTS";
/// A number of jobs: then the test only measures how long the screens take with so many.
const JOBS: &str = "JOBQUEUE_TEST_DASHBOARD_JOBS";

/// Handlers that succeed, fail, and write a log slowly.
const HANDLERS: &str = r#"
[handlers."text.words"]
type = "command"
argv = ["/usr/bin/wc", "-w"]

[handlers."card.charge"]
type = "command"
argv = ["/bin/sh", "-c", "if grep -q pay; then echo '{\"paid\": true}'; else echo 'connecting to the bank' >&2; echo 'the bank said no: card 4242 is expired' >&2; exit 1; fi"]

[handlers."refund.pay"]
type = "command"
argv = ["/bin/sh", "-c", "echo 'account 77 is closed' >&2; exit 1"]

[handlers."file.upload"]
type = "command"
argv = ["/bin/sh", "-c", "echo 'upload interrupted after 3 MB' >&2; exit 75"]

[handlers."log.slow"]
type = "command"
argv = ["/bin/sh", "-c", "n=0; while [ $n -lt 1200 ]; do n=$((n + 1)); echo \"line $n\" >&2; sleep 0.1; done"]

[handlers."newsletter.send"]
type = "command"
argv = ["/bin/true"]
"#;

/// The servers that the scenarios may stop and start.
struct Stage {
    server: TestServer,
    pool: PgPool,
    cluster: Cluster,
    api: Option<Api>,
    _others: [Node; 3],
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_works_in_a_browser() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboard/web");
    let Some(chromium) = browser(&web) else { return };
    let server = TestServer::durable().await;
    let cluster = Cluster::quick(server.url())
        .await
        .with("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
        .with("WORKER_QUEUES", "default");
    fs::write(cluster.work.config(), HANDLERS).unwrap();
    // the scenarios drain this one
    let side = cluster.clone().with("WORKER_QUEUES", "side");
    let (api, worker, other, reaper) = tokio::join!(
        cluster.api(),
        cluster.worker("worker-1", 4),
        side.worker("worker-2", 2),
        cluster.reaper()
    );
    let url = format!("http://{}", api.address);
    let mut stage =
        Stage { pool: server.pool(), server, cluster, api: Some(api), _others: [worker, other, reaper] };
    let mut scenarios = Command::new("node");
    scenarios.arg("e2e/run.mjs").current_dir(&web).env("DASHBOARD_URL", &url).env("DASHBOARD_KEY", KEY);
    scenarios.env("CHROMIUM", chromium).kill_on_drop(true);
    for (from, to) in [(SCREENSHOTS, "DASHBOARD_SCREENSHOTS"), (JOBS, "DASHBOARD_JOBS")] {
        if let Some(value) = std::env::var_os(from) {
            scenarios.env(to, value);
        }
    }
    let mut scenarios = scenarios.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = scenarios.stdin.take().unwrap();
    let mut lines = BufReader::new(scenarios.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let Some(question) = line.strip_prefix('@') else {
            println!("{line}");
            continue;
        };
        let answer = stage.answer(&serde_json::from_str(question).unwrap()).await;
        answers.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
    }
    assert!(scenarios.wait().await.unwrap().success(), "a scenario failed");
}

impl Stage {
    async fn answer(&mut self, question: &Value) -> Value {
        if let Some(query) = question["sql"].as_str() {
            return self.rows(query).await;
        }
        if let Some(statement) = question["execute"].as_str() {
            let done = sqlx::raw_sql(statement).execute(&self.pool).await;
            done.unwrap_or_else(|error| panic!("{error}: {statement}"));
            return json!(null);
        }
        match question["control"].as_str().unwrap() {
            "stop-api" => {
                let api = self.api.as_mut().unwrap();
                api.node.ends_well().await;
            }
            "start-api" => {
                let address = self.api.take().unwrap().address;
                self.api = Some(self.cluster.api_at(address).await);
            }
            "stop-postgres" => self.server.stop_immediate().await,
            "start-postgres" => self.server.start().await,
            other => panic!("{other}"),
        }
        json!(null)
    }

    /// The rows of a query, as objects.
    async fn rows(&self, query: &str) -> Value {
        let query = format!("SELECT coalesce(json_agg(row_to_json(found)), '[]') FROM ({query}) AS found");
        sqlx::query_scalar(&query)
            .fetch_one(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{error}: {query}"))
    }
}

/// The browser, if everything is there that the scenarios need. In CI a missing tool is a failure.
fn browser(web: &Path) -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let find =
        |name: &str| std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.exists());
    let chromium = names.iter().find_map(|name| find(name));
    let missing = match (&chromium, find("node"), web.join("node_modules/playwright-core").exists()) {
        (None, _, _) => "chromium is not installed (Debian: apt-get install chromium)",
        (_, None, _) => "node is not installed",
        (_, _, false) => "the packages of the dashboard are not installed (scripts/dashboard-build --check)",
        _ => return chromium,
    };
    eprintln!("SKIPPED: {missing}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
    None
}
