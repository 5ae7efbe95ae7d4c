//! Webhooks with real processes and a real receiver, which checks the signatures by an implementation of its own, in Python: nothing is lost
//! when the worker is killed between the end of a job and the delivery, or while the receiver is down.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command};

use jobqueue_testkit::{TestDb, eventually};
use serde_json::{Value, json};

use crate::cluster::{Cluster, LIMIT};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Writes one line for each webhook. The path decides about the answer.
const RECEIVER: &str = r#"
import base64, hashlib, hmac, http.server, json, os, sys, time

key = base64.b64decode(sys.argv[2][len("whsec_"):])
seen = {}

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        id, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        digest = hmac.new(key, b".".join([id.encode(), at.encode(), body]), hashlib.sha256).digest()
        wanted = "v1," + base64.b64encode(digest).decode()
        signed = any(hmac.compare_digest(wanted, given) for given in self.headers["webhook-signature"].split())
        event = json.loads(body)
        line = {"id": id, "signed": signed, "fresh": abs(time.time() - int(at)) < 300, "event": event, "path": self.path,
                "type": self.headers["content-type"]}
        with open(sys.argv[3], "a") as out:
            out.write(json.dumps(line) + "\n")
        seen[id] = seen.get(id, 0) + 1
        if self.path == "/gone":
            self.send_response(410)
        elif self.path == "/busy" and seen[id] == 1:
            self.send_response(429)
            self.send_header("retry-after", "1")
        else:
            self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
"#;

struct Receiver {
    address: SocketAddr,
    script: PathBuf,
    out: PathBuf,
    process: Option<Child>,
}

impl Receiver {
    /// One that does not run yet.
    fn new(cluster: &Cluster) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let file = |ending: &str| cluster.work.config().with_file_name(format!("receiver.{ending}"));
        let (script, out) = (file("py"), file("jsonl"));
        fs::write(&script, RECEIVER).unwrap();
        Self { address, script, out, process: None }
    }

    async fn start(&mut self) {
        let port = self.address.port().to_string();
        let mut python = Command::new("python3");
        let process = python.arg(&self.script).arg(port).arg(SECRET).arg(&self.out).spawn().unwrap();
        self.process = Some(process);
        eventually(LIMIT, "the receiver listens", async || {
            tokio::net::TcpStream::connect(self.address).await.map(drop)
        })
        .await;
    }

    fn on_end(&self, path: &str) -> Value {
        json!({ "url": format!("http://{}/{path}", self.address), "secret": SECRET })
    }

    /// All webhooks so far.
    fn seen(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.out).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn has_seen(&self, count: usize) -> Vec<Value> {
        eventually(LIMIT, &format!("{count} webhooks have arrived"), async || match self.seen() {
            seen if seen.len() >= count => Ok(seen),
            seen => Err(seen),
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ended = process.kill();
            let _reaped = process.wait();
        }
    }
}

#[tokio::test]
async fn webhooks_arrive_signed_and_the_answer_decides() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await.with("WORKER_WEBHOOK_ALLOW", "127.0.0.1");
    let mut receiver = Receiver::new(&cluster);
    receiver.start().await;
    let (api, _reaper, _worker) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("w", 4));
    let submit = async |path: &str, more: Value| {
        let mut job = json!({ "kind": "echo", "payload": { "n": 1 }, "on_end": receiver.on_end(path) });
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        api.client.submit(&job).await
    };
    let completed = submit("ok", json!({})).await;
    let later = submit("ok", json!({ "delay_seconds": 3600 })).await;
    let shown = api.client.get(&format!("/v1/jobs/{completed}")).await.text;
    assert!(shown.contains("webhook_url") && !shown.contains("MfKQ"), "{shown}");
    api.client.post(&format!("/v1/jobs/{later}/cancel"), &json!({})).await;
    let seen = receiver.has_seen(2).await;
    for one in &seen {
        assert_eq!(
            (&one["signed"], &one["fresh"], &one["event"]["id"]),
            (&json!(true), &json!(true), &one["id"])
        );
        assert_eq!(one["type"], "application/cloudevents+json");
    }
    let of = |id: &str| seen.iter().find(|one| one["event"]["subject"] == id).unwrap()["event"].clone();
    assert_eq!(
        (&of(&completed)["type"], &of(&completed)["data"]["result"]),
        (&json!("jobqueue.job.completed"), &json!({ "n": 1 }))
    );
    assert_eq!(of(&later)["data"]["error"]["type"], "cancelled");

    // 410 ends the delivery, 429 with Retry-After postpones it at no cost
    let gone = submit("gone", json!({})).await;
    let busy = submit("busy", json!({})).await;
    let delivery = async |job: &str| {
        let path = format!("/v1/jobs?tag=job:{job}");
        eventually(LIMIT, "the delivery has ended", async || {
            let page: Value = serde_json::from_str(&api.client.get(&path).await.text).unwrap();
            match page["jobs"][0]["status"].as_str() {
                Some("completed" | "failed") => Ok(page["jobs"][0].clone()),
                _ => Err(page),
            }
        })
        .await
    };
    let ended = delivery(&gone).await;
    assert_eq!(
        (&ended["status"], &ended["error"]["type"], &ended["attempt"]),
        (&json!("failed"), &json!("http_410"), &json!(1))
    );
    let ended = delivery(&busy).await;
    assert_eq!(
        (&ended["status"], &ended["attempt"], &ended["snoozes"]),
        (&json!("completed"), &json!(1), &json!(1))
    );
    assert!(!ended.to_string().contains("MfKQ"), "{ended}");
    let dump = db.number("SELECT count(*) FROM jobqueue.jobs j WHERE j::text LIKE '%MfKQ%'").await;
    assert_eq!(dump, 0, "no reader sees the secret");
}

#[tokio::test]
async fn nothing_is_lost_when_the_worker_is_killed_and_the_receiver_is_down() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await.with("WORKER_WEBHOOK_ALLOW", "127.0.0.1");
    let mut receiver = Receiver::new(&cluster);
    let (api, _reaper, mut victim) =
        tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("victim", 2));
    let id =
        api.client.submit(&json!({ "kind": "echo", "payload": 7, "on_end": receiver.on_end("ok") })).await;
    assert_eq!(api.client.finished(&id).await["status"], "completed");
    victim.process.kill();
    let deliveries = "SELECT count(*) FROM jobqueue.body WHERE tags IS NOT NULL";
    assert_eq!(db.number(deliveries).await, 1, "enqueued with the end");
    receiver.start().await;
    let _heir = cluster.worker("heir", 2).await;
    let seen = receiver.has_seen(1).await;
    assert_eq!((&seen[0]["signed"], &seen[0]["event"]["subject"]), (&json!(true), &json!(id)));
    eventually(LIMIT, "the delivery is completed", async || {
        let done =
            "SELECT count(*) FROM jobqueue.jobs WHERE status = 'completed' AND kind = 'jobqueue.webhook'";
        if db.number(done).await == 1 { Ok(()) } else { Err("it is not") }
    })
    .await;
    assert_eq!(db.number(deliveries).await, 1);
    assert!(receiver.seen().iter().all(|one| one["id"] == seen[0]["id"]), "the same id in every attempt");
}

#[tokio::test]
async fn a_private_address_is_refused_unless_it_is_allowed() {
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (api, _reaper, _worker) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("w", 2));
    let on_end = json!({ "url": "http://127.0.0.1:9/", "secret": SECRET });
    let id = api.client.submit(&json!({ "kind": "echo", "on_end": on_end })).await;
    api.client.finished(&id).await;
    let refused = "SELECT count(*) FROM jobqueue.jobs WHERE status = 'failed' AND error->>'type' = 'bad_target' AND error::text LIKE '%127.0.0.1%'";
    eventually(LIMIT, "the delivery is refused", async || {
        if db.number(refused).await == 1 { Ok(()) } else { Err("it is not") }
    })
    .await;
}
