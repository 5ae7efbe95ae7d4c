//! Single submissions share transactions, but nobody waits for a stranger's key.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use futures_util::future::join_all;
use jobqueue_testkit::eventually;
use serde_json::json;

use crate::aborts::{ask, psql};
use crate::bench::Api;
use crate::client::HANG;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_submission_does_not_wait_for_a_key_that_somebody_holds() {
    let api = Api::start().await;
    // The names are known to all, so that the key alone is in the way.
    api.enqueue(json!({ "kind": "k", "queue": "q" })).await;
    let mut holder = Holder::open(api.db.url());
    eventually(HANG, "the key is held", async || waiting(&api, "state = 'idle in transaction'", 1)).await;
    let body = json!({ "kind": "k", "queue": "q", "unique": { "key": "held" } });
    let locked = async |least| {
        let look = async || waiting(&api, "wait_event_type = 'Lock'", least);
        eventually(HANG, "submissions wait for the key", look).await;
    };
    let second = async {
        locked(1).await;
        api.post("/v1/jobs", &body).await
    };
    let neighbours = async {
        locked(2).await;
        let plain = json!({ "kind": "k", "queue": "q" });
        for answer in join_all((0..50).map(|_| api.post("/v1/jobs", &plain))).await {
            answer.expect(201);
        }
        assert_eq!(waiting(&api, "wait_event_type = 'Lock'", 2), Ok(()), "the key is still held");
        holder.commit();
    };
    let (first, second, ()) = tokio::join!(api.post("/v1/jobs", &body), second, neighbours);
    assert_eq!(first.expect(200)["id"], second.expect(200)["id"]);
    assert_eq!(api.count().await, 1 + 1 + 50);
}

/// Whether at least `least` sessions are in a state.
fn waiting(api: &Api, state: &str, least: u32) -> Result<(), String> {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {state}");
    let count = ask(api.db.url(), &sql);
    if count.parse::<u32>().unwrap() >= least { Ok(()) } else { Err(count) }
}

/// Somebody's transaction that submitted a job with a key and stays open.
struct Holder(Child);

impl Holder {
    fn open(url: &str) -> Self {
        let mut command = Command::new(psql());
        command.args([url, "-XAtq", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut holder = Self(command.spawn().expect("run psql"));
        holder.say("BEGIN; SELECT jobqueue.enqueue('k', queue := 'q', unique_key := 'held');");
        holder
    }

    fn commit(&mut self) {
        self.say("COMMIT;");
    }

    fn say(&mut self, sql: &str) {
        let input = self.0.stdin.as_mut().unwrap();
        writeln!(input, "{sql}").unwrap();
        input.flush().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
