//! Streams with real processes: every line that a job wrote arrives once and in order although the API is killed, a drain is not held up by
//! listeners, and the command line follows a log over a restart.

use std::fs;

use jobqueue_testkit::{Signal, TestDb};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::client::KEY;
use crate::cluster::{Api, Cluster, LIMIT};

/// Writes its lines to a file and to the log, and fails at its first attempt. All of them fit into what is kept.
const WRITER: &str = r#"#!/bin/sh
# writer.sh DIRECTORY
n=0
while [ $n -lt 120 ]; do
    line="attempt $JOBQUEUE_ATTEMPT line $n, ä"
    echo "$line" >>"$1/written"
    echo "$line" >&2
    n=$((n + 1))
    sleep 0.02
done
[ "$JOBQUEUE_ATTEMPT" -gt 1 ]
"#;

/// A client of one stream.
struct Listener {
    response: Response,
    text: String,
    /// Id of the last event.
    last: Option<String>,
}

impl Listener {
    async fn open(api: &Api, path: &str, last: Option<&str>) -> Self {
        jobqueue_runtime::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = http.get(format!("http://{}{path}", api.address)).bearer_auth(KEY);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, text: String::new(), last: last.map(ToOwned::to_owned) }
    }

    /// The next event; `None` if the stream ends or breaks.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name).map(ToOwned::to_owned))
                };
                let (name, id, json) = (field("event: "), field("id: "), field("data: "));
                let rest = rest.to_owned();
                self.text = rest;
                if let Some(name) = name {
                    self.last = id.or(self.last.take());
                    return Some((name, serde_json::from_str(&json.unwrap()).unwrap()));
                }
            }
            let bytes = timeout(LIMIT, self.response.chunk()).await.expect("something comes").ok()??;
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

fn writer(cluster: &Cluster) -> String {
    let directory = cluster.work.path().to_str().unwrap().to_owned();
    fs::write(format!("{directory}/writer.sh"), WRITER).unwrap();
    let argv = json!(["/bin/sh", format!("{directory}/writer.sh"), directory]);
    let handler = format!("[handlers.writer]\ntype = \"command\"\nargv = {argv}\n");
    fs::write(cluster.work.config(), handler).unwrap();
    directory
}

fn job() -> Value {
    json!({ "kind": "writer", "max_attempts": 2, "retry": { "strategy": "fixed", "delay_seconds": 0.1 } })
}

#[tokio::test]
async fn every_line_arrives_once_although_the_api_is_killed() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let directory = writer(&cluster);
    let (mut api, mut spare, _worker, _reaper) =
        tokio::join!(cluster.api(), cluster.api(), cluster.worker("writer", 1), cluster.reaper());
    let id = api.client.submit(&job()).await;
    let path = format!("/v1/jobs/{id}/stream");
    let mut listener = Listener::open(&api, &path, None).await;
    let (mut lines, mut names, mut kills) = (Vec::new(), Vec::new(), 0);
    loop {
        let Some((name, json)) = listener.next().await else {
            // the next API continues after the last event
            let last = listener.last.clone();
            (api, spare) = (spare, cluster.api().await);
            listener = Listener::open(&api, &path, last.as_deref()).await;
            continue;
        };
        if name == "log" {
            assert!(json["skipped_bytes"].is_null(), "{json}");
            let (attempt, line) = (json["attempt"].as_u64().unwrap(), json["line"].as_str().unwrap());
            assert!(line.starts_with(&format!("attempt {attempt} ")), "{json}");
            lines.push(line.to_owned());
            if kills < 2 && lines.len() > 60 * (1 + 2 * kills) {
                kills += 1;
                api.node.process.signal(Signal::KILL);
            }
        }
        let is_end = name == "end";
        names.push(name);
        if is_end {
            assert_eq!(json["status"], "completed");
            break;
        }
    }
    assert_eq!(kills, 2, "the API was killed in both attempts");
    let written = fs::read_to_string(format!("{directory}/written")).unwrap();
    assert_eq!(lines, written.lines().collect::<Vec<_>>());
    assert_eq!(names.iter().filter(|name| *name == "end").count(), 1);
}

#[tokio::test]
async fn listeners_do_not_hold_up_a_drain() {
    let db = TestDb::new().await;
    // the grace is longer than the test may take, so a listener that is waited for fails it
    let cluster = Cluster::quick(db.url()).await.with("API_SHUTDOWN_GRACE_SECONDS", "3600");
    let mut api = cluster.api().await;
    let id = api.client.submit(&json!({ "kind": "none" })).await;
    let mut listeners = Vec::new();
    for _ in 0..20 {
        listeners.push(Listener::open(&api, &format!("/v1/jobs/{id}/stream"), None).await);
        listeners.push(Listener::open(&api, "/v1/stream", None).await);
    }
    for listener in &mut listeners {
        assert!(listener.next().await.is_some());
    }
    api.node.ends_well().await;
    for listener in &mut listeners {
        while listener.next().await.is_some() {}
    }
}

#[tokio::test]
async fn the_command_line_follows_a_log_over_a_restart() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let directory = writer(&cluster);
    let (mut api, _worker, _reaper) =
        tokio::join!(cluster.api(), cluster.worker("writer", 1), cluster.reaper());
    let id = api.client.submit(&job()).await;
    let url = format!("http://{}", api.address);
    let mut follow = std::process::Command::new(jobqueue_binary());
    follow.args(["logs", "-f", "--all", &id]).env_clear().env("HOME", &directory);
    follow.env("JOBQUEUE_URL", &url).env("JOBQUEUE_API_KEY", KEY);
    follow.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::inherit());
    let follow = follow.spawn().unwrap();
    // some lines are there, but not all of them
    let mut listener = Listener::open(&api, &format!("/v1/jobs/{id}/stream"), None).await;
    while listener.next().await.unwrap().0 != "log" {}
    api.node.ends_well().await;
    let _again = cluster.api_at(api.address).await;
    let output = timeout(LIMIT, tokio::task::spawn_blocking(move || follow.wait_with_output().unwrap()));
    let output = output.await.unwrap().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().filter(|line| !line.starts_with("---")).collect();
    let written = fs::read_to_string(format!("{directory}/written")).unwrap();
    assert_eq!(lines, written.lines().collect::<Vec<_>>());
    assert_eq!(printed.lines().filter(|line| line.starts_with("---")).count(), 2, "{printed}");
}

fn jobqueue_binary() -> std::path::PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("jobqueue")
}
