//! The stream of queues, workers and groups of dead letters: snapshot, changes, resumption, a slow listener, and what many listeners cost.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use jobqueue_core::{Failure, Outcome};
use jobqueue_runtime::Shutdown;
use jobqueue_store::Store;
use jobqueue_testkit::{TestServer, eventually};
use serde_json::{Value, json};

use crate::bench::{Api, options, settings};
use crate::client::HANG;
use crate::listener::{Listener, Received};
use crate::process::post;
use crate::streams::{replica, serve};

/// The state that a listener knows: objects by name.
#[derive(Debug, Default)]
struct Known {
    queues: BTreeMap<String, Value>,
    workers: BTreeMap<String, Value>,
    groups: BTreeMap<String, Value>,
}

impl Known {
    /// Takes an event in, as a client does.
    fn apply(&mut self, event: &Received) {
        let name = |key: &str| event.json[key].as_str().unwrap().to_owned();
        match event.name.as_str() {
            "snapshot" => *self = Self::default(),
            "queue" => drop(self.queues.insert(name("queue"), event.json.clone())),
            "queue_removed" => assert!(self.queues.remove(&name("queue")).is_some(), "{event:?}"),
            "worker" => drop(self.workers.insert(name("worker_id"), event.json.clone())),
            "worker_removed" => assert!(self.workers.remove(&name("worker_id")).is_some(), "{event:?}"),
            "dead_letter_group" => drop(self.groups.insert(name("group"), event.json.clone())),
            "dead_letter_group_removed" => assert!(self.groups.remove(&name("group")).is_some(), "{event:?}"),
            "ready" => {}
            other => panic!("{other}"),
        }
    }

    /// Takes the next event in.
    async fn apply_next(&mut self, listener: &mut Listener) -> Received {
        let event = listener.next().await.expect("the stream continues");
        self.apply(&event);
        event
    }

    /// Reads events until the state is as wanted.
    async fn until(&mut self, listener: &mut Listener, wanted: impl Fn(&Self) -> bool) -> Received {
        loop {
            let event = self.apply_next(listener).await;
            if wanted(self) {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn queues_and_workers_are_a_snapshot_and_then_changes() {
    let api = Api::start().await;
    api.enqueue_in("a").await;
    let worker = api.register_worker("ada", "other").await;
    api.store.take_census(10).await.unwrap();
    let mut listener = Listener::open(api.addr, "/v1/stream", None).await;
    let mut known = Known::default();
    let first = listener.next().await.unwrap();
    assert_eq!(first.name, "snapshot");
    known.apply(&first);
    let ready = loop {
        let event = listener.next().await.unwrap();
        known.apply(&event);
        if event.name == "ready" {
            break event;
        }
    };
    assert_eq!((&known.queues["a"]["queued"], &known.queues["a"]["paused"]), (&json!(1), &json!(false)));
    assert_eq!(
        (&known.workers[&worker]["name"], &known.workers[&worker]["remote"]),
        (&json!("ada"), &json!(true))
    );

    api.act("/v1/queues/a/pause").await.expect(200);
    known.until(&mut listener, |known| known.queues["a"]["paused"] == true).await;
    api.enqueue_in("b").await;
    api.store.take_census(10).await.unwrap();
    known.until(&mut listener, |known| known.queues.get("b").is_some_and(|b| b["queued"] == 1)).await;
    api.send("DELETE", "/v1/queues/b?force=true", &[], b"").await.expect(200);
    known.until(&mut listener, |known| !known.queues.contains_key("b")).await;
    api.db.execute("DELETE FROM jobqueue.worker").await;
    let last = known.until(&mut listener, |known| known.workers.is_empty()).await;

    // the process that sent an id continues there, another one begins again, and both lead to the same state
    drop(listener);
    api.act("/v1/queues/a/resume").await.expect(200);
    let mut same = Listener::open(api.addr, "/v1/stream", last.id.as_deref()).await;
    let event = known.until(&mut same, |known| known.queues["a"]["paused"] == false).await;
    assert_eq!(event.name, "queue", "without a snapshot");
    for id in [last.id, ready.id] {
        let mut other = Listener::open(replica(&api).await, "/v1/stream", id.as_deref()).await;
        let first = other.next().await.unwrap();
        assert_eq!(first.name, "snapshot");
        let mut again = Known::default();
        again.apply(&first);
        again.until(&mut other, |again| again.queues == known.queues).await;
    }
}

#[tokio::test]
async fn groups_of_dead_letters_come_grow_and_go() {
    let api = Api::start().await;
    let dead = async |message: &str| api.ended(Outcome::Discarded(Failure::new("boom", message))).await;
    let first = dead("user 1 is gone").await;
    count_dead_letters(&api).await;
    let mut listener = Listener::open(api.addr, "/v1/stream", None).await;
    let mut known = Known::default();
    while known.apply_next(&mut listener).await.name != "ready" {}
    let group = known.groups.values().next().cloned().unwrap();
    assert_eq!(
        (&group["count"], &group["kind"], &group["error_type"], &group["message"]),
        (&json!(1), &json!("k"), &json!("boom"), &json!("user <n> is gone"))
    );
    let id = group["group"].as_str().unwrap().to_owned();
    let shown = api.get(&format!("/v1/dead-letters/groups/{id}")).await.expect(200);
    assert_eq!(shown["last_failed_at"], group["last_failed_at"]);
    let second = dead("user 2 is gone").await;
    count_dead_letters(&api).await;
    known.until(&mut listener, |known| known.groups[&id]["count"] == 2).await;
    for job in [first, second] {
        api.act(&format!("/v1/jobs/{job}/retry")).await.expect(200);
    }
    count_dead_letters(&api).await;
    let last = known.until(&mut listener, |known| known.groups.is_empty()).await;
    assert_eq!((last.name.as_str(), &last.json), ("dead_letter_group_removed", &json!({ "group": id })));
}

/// As the reaper does.
async fn count_dead_letters(api: &Api) {
    while api.store.upkeep().count_dead_letters().await.unwrap() {}
}

/// A client that does not read gets the latest values later, and each of them once; what it missed is kept nowhere.
#[tokio::test]
async fn a_slow_listener_skips_replaced_values() {
    let api = Api::start().await;
    // a snapshot that is larger than the buffers of a connection
    api.db
        .execute(
            "INSERT INTO jobqueue.queue (name) SELECT 'queue-' || to_char(n, 'FM000000') || repeat('x', 60) FROM generate_series(1, 30000) n;
             INSERT INTO jobqueue.queue (name) VALUES ('zz')",
        )
        .await;
    let addr = replica(&api).await;
    let mut slow = Listener::open_with(addr, "/v1/stream", None, Some(4096)).await;
    let mut fast = Listener::open(addr, "/v1/stream", None).await;
    fast.named("ready").await;
    for round in 0..3 {
        let (act, paused) = if round % 2 == 0 { ("pause", true) } else { ("resume", false) };
        api.act(&format!("/v1/queues/zz/{act}")).await.expect(200);
        loop {
            let event = fast.named("queue").await;
            if event.json["queue"] == "zz" && event.json["paused"] == paused {
                break;
            }
        }
    }
    let (mut queues, mut of_zz) = (0, Vec::new());
    loop {
        let event = slow.next().await.unwrap();
        match event.name.as_str() {
            "queue" if event.json["queue"] == "zz" => of_zz.push(event.json["paused"].clone()),
            "queue" => queues += 1,
            "ready" => break,
            _ => {}
        }
    }
    assert_eq!((queues, of_zz), (30_000, vec![json!(true)]), "only the last of three values");
}

/// The statements of an API that contain a text, from the log of the server.
struct Statements {
    directory: std::path::PathBuf,
}

impl Statements {
    /// A server that logs every statement into a directory of the test.
    async fn server() -> (TestServer, Self) {
        let directory = std::env::temp_dir().join(format!("jobqueue-statements-{}", std::process::id()));
        let settings = [
            ("logging_collector", "on"),
            ("log_directory", directory.to_str().unwrap()),
            ("log_filename", "statements.log"),
            ("log_statement", "all"),
            ("log_line_prefix", "%a|"),
            ("fsync", "off"),
        ];
        let server = TestServer::with_settings(&settings).await;
        (server, Self { directory })
    }

    fn count(&self, text: &str) -> usize {
        self.lines(|line| line.contains(text))
    }

    /// All statements but those that do not depend on listeners: the check of a connection that was idle, of the routes, and of the room in queues.
    fn all(&self) -> usize {
        let others = ["current_setting('transaction_read_only')", "-- store.routes", "-- store.queue_rooms"];
        let is_one = |line: &str| line.contains("statement: ") || line.contains("execute ");
        self.lines(|line| is_one(line) && !others.iter().any(|other| line.contains(other)))
    }

    fn lines(&self, is_counted: impl Fn(&str) -> bool) -> usize {
        let log = std::fs::read(self.directory.join("statements.log")).unwrap();
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.starts_with("api-test|") && is_counted(line)).count()
    }
}

impl Drop for Statements {
    fn drop(&mut self) {
        let _absent = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_listeners_cost_one_query_a_second() {
    let (server, statements) = Statements::server().await;
    let (store, shutdown) = (Store::connect_lazy(&options(server.url())).unwrap(), Shutdown::new());
    let addr = serve(&store, settings(), &shutdown).await;
    let jobs = json!({ "jobs": vec![json!({ "kind": "k" }); 500] });
    let items = post(addr, "/v1/jobs/batch", &jobs.to_string()).await.expect(201)["items"].clone();
    let ids: Vec<String> =
        items.as_array().unwrap().iter().map(|item| item["job"]["id"].as_str().unwrap().to_owned()).collect();
    // two for each of 500 jobs, and as many for the queues
    let paths = ids.iter().chain(&ids).map(|id| format!("/v1/jobs/{id}/stream"));
    let of_jobs = join_all(paths.map(async |path: String| {
        let mut listener = Listener::open(addr, &path, None).await;
        listener.named("status").await;
        listener
    }))
    .await;
    assert_eq!(of_jobs.len(), 1_000);
    // the check of the API keys once a second is another duty
    let of_streams = || statements.all() - statements.count("-- store.api_keys");
    let (began, all_before) = (Instant::now(), of_streams());
    let reads_before = statements.count("-- store.watch");
    eventually(HANG, "the jobs are read some more times", async || {
        let reads = statements.count("-- store.watch") - reads_before;
        if reads >= 4 { Ok(()) } else { Err(reads) }
    })
    .await;
    let reads = statements.count("-- store.watch") - reads_before;
    let all = of_streams() - all_before;
    let seconds = began.elapsed().as_secs_f64();
    println!("{reads} reads, {all} statements of the API in {seconds:.1} s with 1,000 listeners");
    let most = seconds + 2.0;
    assert!(number(reads) <= most, "{reads} reads in {seconds} s");
    assert!(number(all) <= most, "{all} statements in {seconds} s");
    drop(of_jobs);

    let mut listeners = join_all((0..1_000).map(async |_| {
        let mut listener = Listener::open(addr, "/v1/stream", None).await;
        listener.named("ready").await;
        listener
    }))
    .await;
    let (began, before) = (Instant::now(), reads_of_the_board(&statements));
    eventually(HANG, "the topics are read some more times", async || {
        let reads = reads_of_the_board(&statements) - before;
        if reads >= 4 { Ok(()) } else { Err(reads) }
    })
    .await;
    let (reads, seconds) = (reads_of_the_board(&statements) - before, began.elapsed().as_secs_f64());
    println!("{reads} reads of the topics in {seconds:.1} s with 1,000 listeners");
    assert!(number(reads) <= seconds + 2.0, "{reads} reads in {seconds} s");
    listeners.truncate(1);

    // without a listener nothing is read
    drop(listeners);
    let quiet = async || {
        let before = reads_of_the_board(&statements) + statements.count("-- store.watch");
        // nothing may happen for this time, which is that of three reads
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let after = reads_of_the_board(&statements) + statements.count("-- store.watch");
        if after == before { Ok(()) } else { Err(after - before) }
    };
    eventually(HANG, "it is quiet", quiet).await;
    shutdown.begin();
    shutdown.wait().await;
}

fn number(count: usize) -> f64 {
    u32::try_from(count).unwrap().into()
}

fn reads_of_the_board(statements: &Statements) -> usize {
    ["-- store.census.read", "-- store.workers", "-- store.dead_letters.groups"]
        .iter()
        .map(|statement| statements.count(statement))
        .sum()
}
