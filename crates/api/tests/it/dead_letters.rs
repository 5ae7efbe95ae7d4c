//! Dead letters over REST: search, groups, retry, purge, redrives, and bad input.

use jobqueue_core::{Failure, Outcome};
use serde_json::{Value, json};

use crate::bench::Api;

const UNKNOWN: &str = "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6";

async fn dead(api: &Api, message: &str) -> String {
    api.ended(Outcome::Discarded(Failure::new("boom", message))).await
}

/// Counts the groups, as the reaper does.
async fn count(api: &Api) {
    while api.store.upkeep().count_dead_letters().await.unwrap() {}
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn dead_letters_are_searched_and_shown() {
    let api = Api::start().await;
    let (first, second) = (dead(&api, "user 1 is gone").await, dead(&api, "user 2 is gone").await);
    dead(&api, "disk full").await;
    let page =
        api.get("/v1/dead-letters?text=IS%20GONE&queue=q&kind=k&error_type=boom&limit=1").await.expect(200);
    assert_eq!(ids(&page["dead_letters"]), [second.as_str()]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = api.get(&format!("/v1/dead-letters?text=is%20gone&limit=1&cursor={cursor}")).await.expect(200);
    assert_eq!((ids(&page["dead_letters"]), &page["next_cursor"]), (vec![first.clone()], &Value::Null));
    let letter = api.get(&format!("/v1/dead-letters/{first}")).await.expect(200);
    assert_eq!(
        (&letter["job"]["id"], &letter["job"]["error"]["message"]),
        (&json!(first), &json!("user 1 is gone"))
    );
    assert_eq!(letter["group"], page["dead_letters"][0]["group"]);
    let group = letter["group"].as_str().unwrap();
    let page = api.get(&format!("/v1/dead-letters?group={group}")).await.expect(200);
    assert_eq!(page["dead_letters"].as_array().unwrap().len(), 2);
    assert_eq!(
        api.get("/v1/dead-letters?failed_before=2020-01-01T00:00:00Z").await.expect(200)["dead_letters"],
        json!([])
    );
    assert_eq!(api.get(&format!("/v1/dead-letters/{UNKNOWN}")).await.problem(404), "not-found");
}

#[tokio::test]
async fn groups_are_listed_and_shown() {
    let api = Api::start().await;
    for message in ["user 1 is gone", "user 2 is gone", "disk full"] {
        dead(&api, message).await;
    }
    assert_eq!(api.get("/v1/dead-letters/groups").await.expect(200)["groups"], json!([]), "not counted yet");
    count(&api).await;
    let page = api.get("/v1/dead-letters/groups?limit=1&queue=q").await.expect(200);
    let largest = &page["groups"][0];
    assert_eq!(
        (&largest["count"], &largest["message"], &largest["kind"]),
        (&json!(2), &json!("user <n> is gone"), &json!("k"))
    );
    assert_eq!(largest["examples"].as_array().unwrap().len(), 2);
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = api.get(&format!("/v1/dead-letters/groups?limit=1&cursor={cursor}")).await.expect(200);
    assert_eq!((&page["groups"][0]["message"], &page["next_cursor"]), (&json!("disk full"), &Value::Null));
    let wrong = api.get(&format!("/v1/dead-letters/groups?sort=last_failed_at&cursor={cursor}")).await;
    assert_eq!(wrong.problem(400), "invalid-cursor", "of another order");
    let by_time = api.get("/v1/dead-letters/groups?sort=last_failed_at").await.expect(200);
    assert_eq!(by_time["groups"][0]["message"], "disk full");
    let detail =
        api.get(&format!("/v1/dead-letters/groups/{}", largest["group"].as_str().unwrap())).await.expect(200);
    assert_eq!(detail["queues"], json!([{ "queue": "q", "count": 2 }]));
    assert_eq!(detail["dead_letters"].as_array().unwrap().len(), 2);
    let metrics = api.raw("GET", "/metrics", &[], b"").await;
    assert!(metrics.text.contains("job_dead_letters{queue=\"q\"} 3\n"), "{}", metrics.text);
    assert_eq!(api.get(&format!("/v1/dead-letters/groups/{UNKNOWN}")).await.problem(404), "not-found");
}

#[tokio::test]
async fn a_group_has_the_hours_in_which_it_failed() {
    let api = Api::start().await;
    for message in ["user 1 is gone", "user 2 is gone", "disk full"] {
        dead(&api, message).await;
    }
    count(&api).await;
    let groups = api.get("/v1/dead-letters/groups").await.expect(200);
    let group = groups["groups"][0]["group"].as_str().unwrap();
    // at the first and the last microsecond of an hour, more than are counted of another one, and too old ones
    let at = api
        .db
        .number("SELECT extract(epoch FROM date_trunc('hour', now(), 'UTC') - interval '5 hours')::bigint")
        .await;
    let earlier = format!("to_timestamp({at})");
    api.db
        .execute(&format!(
            "INSERT INTO jobqueue.dead_letter (job_id, failed_at, fingerprint, queue_id, kind)
             SELECT gen_random_uuid(), t.at, d.fingerprint, d.queue_id, d.kind
             FROM (SELECT * FROM jobqueue.dead_letter WHERE fingerprint = '{group}' LIMIT 1) d, (
                 SELECT {earlier} UNION ALL SELECT {earlier} + interval '1 hour' - interval '1 us'
                 UNION ALL SELECT {earlier} - interval '2 hours' + n * interval '1 s' FROM generate_series(1, 1001) n
                 UNION ALL SELECT {earlier} - interval '20 hours') t (at)"
        ))
        .await;
    let detail = api.get(&format!("/v1/dead-letters/groups/{group}")).await.expect(200);
    let hours = detail["recent"].as_array().unwrap();
    assert_eq!(hours.len(), 24);
    let of = |seconds: i64| {
        let at = chrono::DateTime::from_timestamp(seconds, 0)
            .unwrap()
            .to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        hours.iter().find(|hour| hour["at"] == at.as_str()).map(|hour| hour["count"].clone())
    };
    assert_eq!((of(at), of(at - 7200)), (Some(json!(2)), Some(json!(1000))), "{detail}");
    let rest: u64 = hours.iter().rev().take(4).map(|hour| hour["count"].as_u64().unwrap()).sum();
    assert_eq!(rest, 2, "the two that failed just now, and none of another group: {detail}");
    let all: u64 = hours.iter().map(|hour| hour["count"].as_u64().unwrap()).sum();
    assert_eq!(all, 2 + 1000 + 2, "{detail}");
}

#[tokio::test]
async fn a_dead_letter_is_retried_as_it_is_or_as_a_new_job() {
    let api = Api::start().await;
    let (first, second) = (dead(&api, "a").await, dead(&api, "b").await);
    let third = dead(&api, "c").await;
    let again = api.act(&format!("/v1/dead-letters/{first}/retry")).await.expect(200);
    assert_eq!((&again["id"], &again["status"]), (&json!(first), &json!("queued")));
    let path = format!("/v1/dead-letters/{second}/retry");
    let answer = api.keyed(&path, "key-1", &json!({ "payload": { "n": 2 } })).await;
    let new = answer.expect(201);
    assert_eq!(answer.header("location"), Some(format!("/v1/jobs/{}", new["id"].as_str().unwrap()).as_str()));
    assert_eq!((&new["payload"], &new["metadata"]["retry_of"]), (&json!({ "n": 2 }), &json!(second)));
    let replayed = api.keyed(&path, "key-1", &json!({ "payload": { "n": 2 } })).await.expect(201);
    assert_eq!(replayed["id"], new["id"], "the same request is answered again");
    let refused = api.post(&path, &json!({ "payload": 3 })).await;
    assert_eq!((refused.problem(409).as_str(), &refused.json()["job_id"]), ("wrong-status", &new["id"]));
    let gone = api.get(&format!("/v1/dead-letters/{second}")).await;
    assert_eq!((gone.problem(404).as_str(), &gone.json()["job_id"]), ("not-found", &new["id"]));
    assert_eq!(api.status(&second).await, "failed");
    // the new job runs in its place
    assert_eq!(api.act(&format!("/v1/jobs/{second}/retry")).await.problem(409), "wrong-status");
    assert_eq!(api.status(&second).await, "failed");
    let waiting = api.post(&format!("/v1/dead-letters/{first}/retry"), &json!({ "payload": null })).await;
    assert_eq!(waiting.problem(409), "wrong-status");
    assert_eq!(
        api.post(&format!("/v1/dead-letters/{UNKNOWN}/retry"), &json!({ "payload": 1 })).await.problem(404),
        "not-found"
    );
    let null =
        api.post(&format!("/v1/dead-letters/{third}/retry"), &json!({ "payload": null })).await.expect(201);
    assert_eq!(null["payload"], Value::Null);
}

#[tokio::test]
async fn dead_letters_are_purged() {
    let api = Api::start().await;
    for n in 0..3 {
        dead(&api, &n.to_string()).await;
    }
    let kept = api.enqueue_in("q").await;
    let dry = api
        .post("/v1/dead-letters/purge", &json!({ "filter": { "all": true }, "limit": 2, "dry_run": true }))
        .await;
    let dry = dry.expect(200);
    assert_eq!((&dry["matched"], &dry["deleted"], &dry["more"]), (&json!(2), &json!(0), &json!(true)));
    assert_eq!((dry["ids"].as_array().unwrap().len(), api.count().await), (2, 4));
    let purged = api
        .post("/v1/dead-letters/purge", &json!({ "filter": { "kind": ["k"] }, "limit": 2 }))
        .await
        .expect(200);
    assert_eq!((&purged["deleted"], &purged["more"]), (&json!(2), &json!(true)));
    let purged = api.post("/v1/dead-letters/purge", &json!({ "filter": { "all": true } })).await.expect(200);
    assert_eq!((&purged["deleted"], &purged["more"], api.count().await), (&json!(1), &json!(false), 1));
    assert_eq!(api.status(&kept).await, "queued");
}

#[tokio::test]
async fn a_redrive_is_started_listed_and_stopped() {
    let api = Api::start().await;
    let id = dead(&api, "a").await;
    let body = json!({ "filter": { "text": "A", "tag": [] }, "rate": 2.5, "dry_run": true });
    let plan = api.post("/v1/dead-letters/redrives", &body).await.expect(200);
    assert_eq!(plan, json!({ "dry_run": true, "total": 1, "as_of": plan["as_of"] }));
    // the time of the plan spares what fails after it
    let until = |as_of: &Value| json!({ "filter": { "failed_before": as_of }, "rate": 1, "dry_run": true });
    let known = api.post("/v1/dead-letters/redrives", &until(&plan["as_of"])).await.expect(200);
    dead(&api, "b").await;
    let later = api.post("/v1/dead-letters/redrives", &until(&plan["as_of"])).await.expect(200);
    assert_eq!((&known["total"], &later["total"]), (&json!(1), &json!(1)));
    let answer =
        api.post("/v1/dead-letters/redrives", &json!({ "filter": { "text": "A" }, "rate": 2.5 })).await;
    let redrive = answer.expect(201);
    let path = answer.header("location").unwrap().to_owned();
    assert_eq!(
        (&redrive["state"], &redrive["total"], &redrive["filter"]),
        (&json!("running"), &json!(1), &json!({ "text": "A" }))
    );
    assert_eq!(
        (&redrive["rate"], &redrive["stop_share"], &redrive["stop_window"]),
        (&json!(2.5), &json!(0.25), &json!(20))
    );
    api.store.redrive_step().await.unwrap();
    for n in 0..2 {
        api.post("/v1/dead-letters/redrives", &json!({ "filter": { "queue": [format!("q{n}")] } }))
            .await
            .expect(201);
    }
    let page = api.get("/v1/dead-letters/redrives?limit=2").await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let last = api.get(&format!("/v1/dead-letters/redrives?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((ids(&last["redrives"]).len(), &last["redrives"][0]["id"]), (1, &redrive["id"]));
    for _ in 0..2 {
        assert_eq!(api.act(&format!("{path}/stop")).await.expect(200)["state"], "stopped");
    }
    assert_eq!(api.get(&path).await.expect(200)["state"], "stopped");
    assert!(["queued", "failed"].contains(&api.status(&id).await.as_str()));
    for path in [UNKNOWN.to_owned(), format!("{UNKNOWN}/stop")] {
        let method = if path.ends_with("stop") { "POST" } else { "GET" };
        let answer = api.send(method, &format!("/v1/dead-letters/redrives/{path}"), &[], b"").await;
        assert_eq!(answer.problem(404), "not-found");
    }
}

#[tokio::test]
async fn bad_input_is_refused() {
    let api = Api::start().await;
    let long = "x".repeat(256);
    let text = |text: &str| json!({ "filter": { "text": text } });
    for (path, body, pointer) in [
        ("purge", json!({}), "/filter"),
        ("purge", json!({ "filter": {} }), "/filter"),
        ("purge", json!({ "filter": { "all": false } }), "/filter"),
        ("purge", json!({ "filter": { "all": true, "kind": ["k"] } }), "/filter/all"),
        ("purge", json!({ "filter": { "all": true }, "limit": 1001 }), "/limit"),
        ("purge", json!({ "filter": { "group": "x" } }), "/filter/group"),
        ("purge", json!({ "filter": { "group": UNKNOWN.to_uppercase() } }), "/filter/group"),
        ("purge", json!({ "filter": { "error_type": ["a\u{0}"] } }), "/filter/error_type/0"),
        ("purge", json!({ "filter": { "tag": ["a\u{0}"] } }), "/filter/tag/0"),
        ("purge", text(""), "/filter/text"),
        ("purge", text("\u{0}"), "/filter/text"),
        ("purge", text(&long), "/filter/text"),
        ("purge", json!({ "filter": { "failed_after": "soon" } }), "/filter/failed_after"),
        ("purge", json!({ "filter": { "failed_before": "2026-02-30T00:00:00Z" } }), "/filter/failed_before"),
        ("purge", json!({ "filter": { "queue": ["a/b"] } }), "/filter/queue/0"),
        ("redrives", json!({ "filter": { "all": true }, "rate": 0 }), "/rate"),
        ("redrives", json!({ "filter": { "all": true }, "rate": 1000.5 }), "/rate"),
        ("redrives", json!({ "filter": { "all": true }, "rate": "1" }), "/rate"),
        ("redrives", json!({ "filter": { "all": true }, "stop_share": 0.0001 }), "/stop_share"),
        ("redrives", json!({ "filter": { "all": true }, "stop_share": 1.1 }), "/stop_share"),
        ("redrives", json!({ "filter": { "all": true }, "stop_window": 1001 }), "/stop_window"),
        ("redrives", json!({ "filter": { "all": true }, "stop_window": 1.5 }), "/stop_window"),
    ] {
        let answer = api.post(&format!("/v1/dead-letters/{path}"), &body).await;
        assert_eq!(
            (answer.problem(422).as_str(), answer.pointers()),
            ("invalid-body", vec![pointer.to_owned()]),
            "{body}"
        );
    }
    for (path, kind) in [
        ("?group=x", "invalid-query"),
        ("?text=", "invalid-query"),
        ("?text=%00", "invalid-query"),
        ("?tag=%00", "invalid-query"),
        ("?error_type=%00", "invalid-query"),
        ("?failed_after=soon", "invalid-query"),
        ("?limit=0", "invalid-query"),
        ("?limit=1001", "invalid-query"),
        ("?cursor=x", "invalid-cursor"),
        ("/groups?sort=name", "invalid-query"),
        ("/groups?error_type=a&error_type=b", "invalid-query"),
        ("/groups?queue=a/b", "invalid-query"),
        ("/groups?cursor=AAAA", "invalid-cursor"),
        ("/groups/x", "invalid-path"),
        ("/groups/%ff", "invalid-path"),
        ("/redrives?cursor=x", "invalid-cursor"),
        ("/redrives/x", "invalid-path"),
        ("/x", "invalid-path"),
    ] {
        assert_eq!(api.get(&format!("/v1/dead-letters{path}")).await.problem(400), kind, "{path}");
    }
    let id = dead(&api, "a").await;
    let large = format!("{{\"payload\":\"{}\"}}", "x".repeat(1024 * 1024));
    let answer = api.post_text(&format!("/v1/dead-letters/{id}/retry"), &large).await;
    assert!([413, 422].contains(&answer.status), "{answer:?}");
    let surrogate = api.post_text(&format!("/v1/dead-letters/{id}/retry"), r#"{"payload":"\ud800"}"#).await;
    assert!((400..500).contains(&surrogate.status), "{surrogate:?}");
    assert_eq!(api.status(&id).await, "failed");
}
