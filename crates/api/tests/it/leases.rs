//! Remote workers: they need only HTTP.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use jobqueue_testkit::{Clock, eventually};
use serde_json::{Value, json};

use crate::bench::Api;
use crate::client::HANG;
use crate::submitter::waiting;

#[tokio::test]
async fn outcomes_lead_to_the_statuses_of_the_core() {
    let api = Api::start().await;
    for (item, status, attempt) in [
        (json!({ "outcome": "completed" }), "completed", 1),
        (
            json!({ "outcome": "failed", "error": { "type": "x", "message": "m", "details": { "a": [1] } } }),
            "scheduled",
            1,
        ),
        (json!({ "outcome": "failed", "error": { "type": "x" }, "retry_after_seconds": 7 }), "scheduled", 1),
        (json!({ "outcome": "discarded", "error": { "type": "x" } }), "failed", 1),
        (json!({ "outcome": "snoozed", "delay_seconds": 5 }), "scheduled", 0),
        (json!({ "outcome": "released" }), "queued", 0),
        (json!({ "outcome": "cancelled" }), "cancelled", 1),
    ] {
        let queue = format!("q{}", rand_name(&item));
        let id = api.enqueue_in(&queue).await;
        let lease = api.lease(&queue).await.unwrap();
        let settled = api.settle(item.clone(), &lease).await.expect(200);
        assert_eq!(settled["items"][0], json!({ "code": 200, "status": status }), "{item}");
        let job = api.get(&format!("/v1/jobs/{id}")).await.expect(200);
        assert_eq!((&job["status"], &job["attempt"]), (&json!(status), &json!(attempt)), "{item}");
        if item["outcome"] == "discarded" {
            assert_eq!(job["error"]["type"], "x");
        }
    }
}

/// One queue per case.
fn rand_name(item: &Value) -> String {
    item.to_string().chars().filter(char::is_ascii_alphanumeric).take(50).collect()
}

#[tokio::test]
async fn leases_are_ordered_by_queue_and_priority_and_limited() {
    let api = Api::start().await;
    let low = api.enqueue(json!({ "kind": "k", "queue": "a", "priority": -1 })).await;
    let high = api.enqueue(json!({ "kind": "k", "queue": "a", "priority": 1 })).await;
    let other = api.enqueue(json!({ "kind": "other", "queue": "b" })).await;
    let take = |body: Value| {
        let api = &api;
        async move {
            let view = api.post("/v1/leases", &body).await.expect(200);
            let leases = view["leases"].as_array().unwrap();
            leases.iter().map(|lease| lease["job"]["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        }
    };
    assert_eq!(take(json!({ "queues": ["b", "a"], "kinds": ["k"], "limit": 1 })).await, [high]);
    assert_eq!(take(json!({ "queues": ["b", "a"], "limit": 100 })).await, [other, low]);
}

#[tokio::test]
async fn a_heartbeat_renews_and_reports() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    assert_eq!(lease["expires_in_seconds"], 30);
    let before = api.get(&format!("/v1/jobs/{id}")).await.expect(200)["lease_expires_at"].clone();
    let beat = json!({ "leases": [{ "lease": lease["lease"], "progress": { "done": 0.5 }, "log": "half\n" }], "lease_seconds": 600 });
    let renewed = api.post("/v1/leases/heartbeat", &beat).await.expect(200);
    assert_eq!(renewed["leases"][0]["status"], "ok");
    let after = api.get(&format!("/v1/jobs/{id}")).await.expect(200)["lease_expires_at"].clone();
    assert_eq!(renewed["leases"][0]["expires_at"], after);
    assert!(after.as_str() > before.as_str(), "{before} → {after}");
    let attempts = api.get(&format!("/v1/jobs/{id}/attempts")).await.expect(200);
    let attempt = &attempts["attempts"][0];
    assert_eq!(
        (&attempt["ended"], &attempt["progress"], &attempt["log"]),
        (&json!("running"), &json!({ "done": 0.5 }), &json!("half\n"))
    );
}

/// A worker that waits with its heartbeat learns of a cancel or a command as soon as there is one. Without the hint it would get `ok`.
#[tokio::test]
async fn a_heartbeat_that_waits_is_answered_when_there_is_something_to_do() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    eventually(HANG, "the API listens", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        let listening = api.db.number(sql).await;
        if listening > 0 { Ok(()) } else { Err(listening) }
    })
    .await;
    let shown = async || api.get(&format!("/v1/jobs/{id}")).await.expect(200)["lease_expires_at"].clone();
    let before = shown().await;
    let beat =
        json!({ "leases": [lease["lease"]], "lease_seconds": 600, "wait": 30, "worker": { "name": "far" } });
    let cancel = async {
        eventually(HANG, "the heartbeat waits", async || match shown().await {
            after if after.as_str() > before.as_str() => Ok(()),
            after => Err(after),
        })
        .await;
        api.act(&format!("/v1/jobs/{id}/cancel")).await.expect(202);
    };
    let (answer, ()) = tokio::join!(api.post("/v1/leases/heartbeat", &beat), cancel);
    let answer = answer.expect(200);
    assert_eq!(
        (&answer["leases"][0]["status"], &answer["commands"]),
        (&json!("cancel_requested"), &json!([]))
    );
    // what is known already is returned without a wait
    let again = api.post("/v1/leases/heartbeat", &beat).await.expect(200);
    assert_eq!(again["leases"][0]["status"], "cancel_requested");

    let waits = json!({ "worker": { "name": "far" }, "wait": 30 });
    let worker = api.get("/v1/workers").await.expect(200)["workers"].as_array().unwrap().clone();
    let worker = worker.into_iter().find(|worker| worker["name"] == "far").unwrap()["id"].clone();
    let path = format!("/v1/workers/{}/commands", worker.as_str().unwrap());
    // it may be sent before the heartbeat or while that waits
    let command = json!({ "command": "ping" });
    let (answer, _) = tokio::join!(api.post("/v1/leases/heartbeat", &waits), api.post(&path, &command));
    assert_eq!(answer.expect(200)["commands"][0]["command"], "ping");
    let refused = api
        .post("/v1/leases/heartbeat", &json!({ "worker": { "name": "far" }, "wait": 31, "lease_seconds": 1 }))
        .await;
    assert_eq!(refused.pointers(), ["/lease_seconds", "/wait"]);
}

/// No hint announces a timeout. The attempt would be ended 5 seconds after it.
#[tokio::test]
async fn a_heartbeat_that_waits_is_answered_at_a_timeout() {
    let api = Api::start().await;
    api.enqueue(json!({ "kind": "k", "queue": "q", "timeout_seconds": 2 })).await;
    let lease = api.lease("q").await.unwrap();
    let beat = json!({ "leases": [lease["lease"]], "lease_seconds": 60, "wait": 30 });
    let ended = eventually(HANG, "the attempt ends", async || {
        let jobs = api.store.end_overruns(10).await.unwrap().jobs;
        if jobs.is_empty() { Err(jobs) } else { Ok(()) }
    });
    tokio::select! {
        answer = api.post("/v1/leases/heartbeat", &beat) => {
            assert_eq!(answer.expect(200)["leases"][0]["status"], "timed_out");
        }
        () = ended => panic!("the attempt was ended before its worker knew of the timeout"),
    }
}

/// A hint may be lost, so the answer at the end of the wait is of that time.
#[tokio::test]
async fn a_heartbeat_that_waited_to_the_end_has_renewed_once_more() {
    let api = Api::start().await;
    api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    let earliest = api.db.number("SELECT (extract(epoch FROM now()) * 1000)::bigint").await + 600_500;
    let beat = json!({ "leases": [lease["lease"]], "lease_seconds": 600, "wait": 0.5 });
    let answer = api.post("/v1/leases/heartbeat", &beat).await.expect(200);
    assert_eq!(answer["leases"][0]["status"], "ok");
    let expires_at = answer["leases"][0]["expires_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert!(expires_at.timestamp_millis() >= earliest, "{expires_at}");
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_gets_stale_and_changes_nothing() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    let id = api.enqueue_in("q").await;
    let lost = api.lease("q").await.unwrap();
    clock.advance(Duration::from_secs(31));
    let reclaimed = api.store.reclaim(Duration::ZERO, 100).await.unwrap();
    assert_eq!(reclaimed.jobs.len(), 1);
    let held = api.lease("q").await.unwrap();
    assert_eq!((&held["job"]["id"], &held["job"]["attempt"]), (&json!(id), &json!(2)));

    let late = api.settle(json!({ "outcome": "completed", "result": "late" }), &lost).await;
    assert_eq!(late.problem(409), "stale-lease");
    let beat = json!({ "leases": [{ "lease": lost["lease"], "progress": 1, "log": "late" }] });
    assert_eq!(api.post("/v1/leases/heartbeat", &beat).await.problem(409), "stale-lease");
    let both = json!({ "leases": [lost["lease"], held["lease"]] });
    let beats = api.post("/v1/leases/heartbeat", &both).await.expect(200);
    assert_eq!(
        (&beats["leases"][0]["status"], &beats["leases"][1]["status"]),
        (&json!("stale"), &json!("ok"))
    );
    let items = json!({ "items": [
        { "lease": lost["lease"], "outcome": "completed", "result": "late" },
        { "lease": held["lease"], "outcome": "completed", "result": "right" },
        { "lease": held["lease"], "outcome": "released" },
    ] });
    let settled = api.post("/v1/leases/settle", &items).await.expect(200);
    let codes: Vec<&Value> = settled["items"].as_array().unwrap().iter().map(|item| &item["code"]).collect();
    assert_eq!(codes, [409, 200, 409]);
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.expect(200)["result"], "right");
    let attempts = api.get(&format!("/v1/jobs/{id}/attempts")).await;
    assert!(!attempts.text.contains("late"), "{attempts:?}");
}

#[tokio::test]
async fn a_timeout_applies_to_remote_workers_and_the_heartbeat_reports_it() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    let id = api.enqueue(json!({ "kind": "k", "queue": "q", "timeout_seconds": 600 })).await;
    let lease = api.lease("q").await.unwrap();
    let beat = json!({ "leases": [lease["lease"]], "lease_seconds": 3600 });
    assert_eq!(api.post("/v1/leases/heartbeat", &beat).await.expect(200)["leases"][0]["status"], "ok");
    clock.advance(Duration::from_secs(630));
    assert_eq!(api.post("/v1/leases/heartbeat", &beat).await.expect(200)["leases"][0]["status"], "timed_out");
    assert_eq!(api.store.end_overruns(10).await.unwrap().jobs.len(), 1);
    assert_eq!(api.settle(json!({ "outcome": "completed" }), &lease).await.problem(409), "stale-lease");
    let attempts = api.get(&format!("/v1/jobs/{id}/attempts")).await.expect(200);
    assert_eq!(attempts["attempts"][0]["error"]["type"], "timeout");
}

/// Waits until this many requests wait for a running call to end.
async fn pending(api: &Api, what: &str, count: usize) {
    eventually(HANG, what, async || {
        let detailed = api.get("/health/detailed").await.expect(200);
        if detailed[what] == json!(count) { Ok(()) } else { Err(detailed) }
    })
    .await;
}

/// Sends two requests one after the other, each of which waits for a lock in its own call, then the other requests,
/// which share a call behind them, and then releases the lock.
async fn share_a_call<T>(
    api: &Api,
    (lock, pending_name): (&str, &str),
    requests: Vec<impl Future<Output = T>>,
) -> Vec<T> {
    let holder = api.db.hold(lock).await;
    let stuck = async |calls| {
        let blocked = async || waiting(&api.db, "wait_event_type = 'Lock'", calls).await;
        eventually(HANG, "a call is under way", blocked).await;
    };
    let mut requests = requests.into_iter();
    let (first, second) = (requests.next().unwrap(), requests.next().unwrap());
    let rest: Vec<_> = requests.collect();
    let count = rest.len();
    let go = async {
        pending(api, pending_name, count).await;
        holder.commit().await.unwrap();
    };
    let third = async {
        stuck(2).await;
        tokio::join!(join_all(rest), go).0
    };
    let second = async {
        stuck(1).await;
        tokio::join!(second, third)
    };
    let (first, (second, others)) = tokio::join!(first, second);
    [first, second].into_iter().chain(others).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_workers_share_only_transactions() {
    let api = Api::start().await;
    for _ in 0..32 {
        api.enqueue_in("q").await;
    }
    let asking = (0..40).map(|_| api.lease("q")).collect();
    let leases = share_a_call(&api, ("LOCK TABLE jobqueue.ready", "pending_leases"), asking).await;
    let leases: Vec<Value> = leases.into_iter().flatten().collect();
    let jobs: HashSet<String> = leases.iter().map(|lease| lease["job"]["id"].to_string()).collect();
    assert_eq!((leases.len(), jobs.len()), (32, 32), "each job went to one of them");
    let calls = api.db.number("SELECT last_value / 1000 + 1 FROM jobqueue.lease_epoch").await;
    assert_eq!(calls, 3, "two were under way, and the rest came together");
    assert_eq!(api.db.number("SELECT count(*) FROM jobqueue.lease").await, 32, "each has a lease of his own");

    // requests with one, two and three ends; one end is sent twice
    let mut left = leases.iter();
    let mut ends: Vec<Vec<&Value>> = Vec::new();
    for size in [1, 1, 3, 1, 2, 1, 3] {
        ends.push(left.by_ref().take(size).collect());
    }
    ends.push(ends[4].clone());
    let settle = |leases: &Vec<&Value>| {
        let item = |lease: &&Value| json!({ "lease": lease["lease"], "outcome": "completed", "result": lease["job"]["id"] });
        let body = json!({ "items": leases.iter().map(item).collect::<Vec<_>>() });
        let api = &api;
        async move { api.post("/v1/leases/settle", &body).await }
    };
    let lock = ("LOCK TABLE jobqueue.lease", "pending_settles");
    let answers = share_a_call(&api, lock, ends.iter().map(settle).collect()).await;
    let codes: Vec<Vec<u64>> = answers
        .iter()
        .map(|answer| {
            let view = answer.expect(200);
            view["items"].as_array().unwrap().iter().map(|item| item["code"].as_u64().unwrap()).collect()
        })
        .collect();
    let fine = |size| vec![200; size];
    assert_eq!(codes[..4], [fine(1), fine(1), fine(3), fine(1)]);
    assert_eq!(codes[5..7], [fine(1), fine(3)]);
    let mut twice = [codes[4].clone(), codes[7].clone()];
    twice.sort();
    assert_eq!(twice, [fine(2), vec![409, 409]], "the first of two counts");
    for lease in ends[2].iter().chain(&ends[6]) {
        let job = api.get(&format!("/v1/jobs/{}", lease["job"]["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(job["result"], job["id"], "each got its own result");
    }

    // one of them has a corrupt row
    let rest: Vec<Vec<&Value>> = left.map(|lease| vec![lease]).collect();
    let broken = rest[7][0]["job"]["id"].as_str().unwrap();
    let breaking = format!("UPDATE jobqueue.body SET max_attempts = -1 WHERE id = '{broken}'");
    api.db.hold(&breaking).await.commit().await.unwrap();
    let answers = share_a_call(&api, lock, rest.iter().map(settle).collect()).await;
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, if at == 7 { 500 } else { 200 }, "{at}: {answer:?}");
    }
}

/// The end of a job without `on_end` does not ask the database for its webhook, regardless of the outcome.
#[tokio::test]
async fn plain_jobs_are_settled_without_a_search_for_their_webhooks() {
    let api = Api::start().await;
    api.db
        .execute(
            "CREATE OR REPLACE FUNCTION jobqueue.announce_ends(jobs uuid[]) RETURNS void LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'nothing announces these ends'; END $$",
        )
        .await;
    for (item, status) in [
        (json!({ "outcome": "completed", "result": 1 }), "completed"),
        (json!({ "outcome": "discarded", "error": { "type": "x" } }), "failed"),
        (json!({ "outcome": "cancelled" }), "cancelled"),
    ] {
        let id = api.enqueue_in("q").await;
        let lease = api.lease("q").await.unwrap();
        let settled = api.settle(item, &lease).await.expect(200);
        assert_eq!(
            (&settled["items"][0]["status"], api.status(&id).await.as_str()),
            (&json!(status), status)
        );
    }
}
