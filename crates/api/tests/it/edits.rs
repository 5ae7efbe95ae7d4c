//! Edit, delete and count over HTTP, and bulk actions by ids.

use jobqueue_core::{Failure, Outcome};
use serde_json::{Value, json};

use crate::bench::Api;
use crate::client::Answer;

const UNKNOWN: &str = "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6";

async fn patch(api: &Api, id: &str, headers: &[&str], body: &str) -> Answer {
    let headers = [&["Content-Type: application/json"], headers].concat();
    api.send("PATCH", &format!("/v1/jobs/{id}"), &headers, body.as_bytes()).await
}

#[tokio::test]
async fn a_waiting_job_is_edited_and_runs_as_edited() {
    let api = Api::start().await;
    let job = r#"{"kind":"k","queue":"q","payload":{"a": 1.0, "big":18446744073709551616},"tags":["old"],"metadata":{"by":"ann"}}"#;
    let id = api.post_text("/v1/jobs", job).await.expect(201)["id"].as_str().unwrap().to_owned();
    let body = r#"{"priority":7,"payload":{"b":0.10},"tags":["new"],"metadata":{"team":"x"},"timeout_seconds":2.5,
                   "retry":{"strategy":"fixed","delay_seconds":1},"max_attempts":3}"#;
    let answer = patch(&api, &id, &[], body).await;
    let edited = answer.expect(200);
    assert!(answer.text.contains(r#""payload":{"a":1.0,"big":18446744073709551616,"b":0.10}"#), "{answer:?}");
    assert_eq!((&edited["priority"], &edited["tags"]), (&json!(7), &json!(["new"])));
    assert_eq!(
        (&edited["metadata"], &edited["timeout_seconds"]),
        (&json!({"by": "ann", "team": "x"}), &json!(2.5))
    );
    assert_eq!((&edited["max_attempts"], &edited["status"]), (&json!(3), &json!("queued")));
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.expect(200), edited);
    let lease = api.lease("q").await.unwrap();
    assert_eq!((&lease["job"]["id"], &lease["job"]["priority"]), (&json!(id), &json!(7)));

    let late = patch(&api, &id, &[], r#"{"priority":8}"#).await;
    assert_eq!((late.problem(409).as_str(), &late.json()["job_status"]), ("wrong-status", &json!("running")));
    api.settle(json!({ "outcome": "completed" }), &lease).await.expect(200);
    let ended = patch(&api, &id, &[], r#"{"priority":8}"#).await;
    assert_eq!(
        (ended.problem(409).as_str(), &ended.json()["job_status"]),
        ("wrong-status", &json!("completed"))
    );
    assert_eq!(patch(&api, UNKNOWN, &[], "{}").await.problem(404), "not-found");
    assert_eq!(patch(&api, "x", &[], "{}").await.problem(400), "invalid-path");
}

#[tokio::test]
async fn an_edit_moves_a_job_between_now_and_later() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let later = patch(&api, &id, &[], r#"{"run_at":"2100-01-01T00:00:00+01:00"}"#).await.expect(200);
    assert_eq!((&later["status"], &later["run_at"]), (&json!("scheduled"), &json!("2099-12-31T23:00:00Z")));
    assert!(api.lease("q").await.is_none());
    let soon = patch(&api, &id, &[], r#"{"delay_seconds":3600}"#).await.expect(200);
    assert_eq!(soon["status"], "scheduled");
    assert_ne!(soon["run_at"], later["run_at"]);
    let moved = patch(&api, &id, &[], r#"{"queue":"r"}"#).await.expect(200);
    assert_eq!((&moved["queue"], &moved["run_at"]), (&json!("r"), &soon["run_at"]));
    let now = patch(&api, &id, &[], r#"{"run_at":null}"#).await.expect(200);
    assert_eq!((&now["status"], &now["run_at"]), (&json!("queued"), &Value::Null));
    assert_eq!(api.lease("r").await.unwrap()["job"]["id"], id);
}

#[tokio::test]
async fn if_match_refuses_an_edit_of_another_version() {
    let api = Api::start().await;
    let id = api.enqueue_in("q").await;
    let read = async || {
        let answer = api.get(&format!("/v1/jobs/{id}")).await;
        answer.header("etag").map(str::to_owned)
    };
    let first = read().await.unwrap();
    assert_eq!(read().await.as_ref(), Some(&first), "it is the same until the job changes");
    let matches = |tag: &str| format!("If-Match: {tag}");
    let changed = patch(&api, &id, &[&matches(&first)], r#"{"priority":1}"#).await;
    changed.expect(200);
    let second = changed.header("etag").unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(read().await.as_ref(), Some(&second));
    for stale in [first.clone(), format!("W/{second}"), format!("{first}, \"x\"")] {
        let refused = patch(&api, &id, &[&matches(&stale)], r#"{"priority":2}"#).await;
        assert_eq!(refused.problem(412), "precondition-failed", "{stale}");
    }
    for wrong in ["If-Match: x", "If-None-Match: *", "If-Match: *, \"x\""] {
        assert_eq!(patch(&api, &id, &[wrong], "{}").await.problem(400), "bad-request", "{wrong}");
    }
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.json()["priority"], 1);
    patch(&api, &id, &[&matches(&format!("{first}, {second}"))], r#"{"priority":3}"#).await.expect(200);
    patch(&api, &id, &["If-Match: *"], r#"{"priority":4}"#).await.expect(200);
    let _lease = api.lease("q").await.unwrap();
    assert_eq!(read().await, None, "a running job cannot be edited");
}

#[tokio::test]
async fn a_bad_edit_is_refused_and_changes_nothing() {
    let api = Api::start().await;
    let id = api.post_text("/v1/jobs", r#"{"kind":"k","queue":"q","delay_seconds":3600}"#).await.expect(201)
        ["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let before = api.get(&format!("/v1/jobs/{id}")).await.expect(200);
    for (body, pointer) in [
        (r#"{"prioritty":1}"#, "/prioritty"),
        (r#"{"kind":"other"}"#, "/kind"),
        (r#"{"unique":{"key":"a"}}"#, "/unique"),
        (r#"{"status":"queued"}"#, "/status"),
        (r#"{"priority":101}"#, "/priority"),
        (r#"{"priority":"5"}"#, "/priority"),
        (r#"{"queue":"a/b"}"#, "/queue"),
        (r#"{"queue":""}"#, "/queue"),
        (r#"{"run_at":"2027-02-30T00:00:00Z"}"#, "/run_at"),
        (r#"{"run_at":"2160-01-01T00:00:00Z"}"#, "/run_at"),
        (r#"{"run_at":"2099-01-01T00:00:00Z","delay_seconds":1}"#, "/delay_seconds"),
        (r#"{"delay_seconds":-1}"#, "/delay_seconds"),
        (r#"{"expires_at":"2020-01-01T00:00:00Z"}"#, "/expires_at"),
        (r#"{"max_attempts":0}"#, "/max_attempts"),
        (r#"{"max_snoozes":-1}"#, "/max_snoozes"),
        (r#"{"retry":{"strategy":"never"}}"#, "/retry/strategy"),
        (r#"{"retry":{"strategy":"fixed","delay_seconds":-1}}"#, "/retry/delay_seconds"),
        (r#"{"timeout_seconds":1,"soft_timeout_seconds":2}"#, "/soft_timeout_seconds"),
        (r#"{"tags":["a",""]}"#, "/tags/1"),
        (r#"{"tags":["\u0000"]}"#, "/tags/0"),
        (r#"{"metadata":[1]}"#, "/metadata"),
        (r#"{"payload":"\u0000"}"#, "/payload"),
        ("[]", ""),
        ("null", ""),
    ] {
        let refused = patch(&api, &id, &[], body).await;
        assert_eq!(refused.problem(422), "invalid-body", "{body}");
        let found = refused.pointers();
        let near = |found: &String| found == pointer || pointer.starts_with(found.as_str());
        assert!(found.len() == 1 && near(&found[0]), "{body}: {found:?}");
    }
    let big = format!(r#"{{"payload":"{}"}}"#, "x".repeat(1024 * 1024));
    assert_eq!(patch(&api, &id, &[], &big).await.pointers(), ["/payload"]);
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.expect(200), before);
    assert_eq!(patch(&api, &id, &[], "{}").await.expect(200), before);
}

#[tokio::test]
async fn a_unique_key_in_the_new_queue_refuses_the_edit() {
    let api = Api::start().await;
    let job =
        |queue: &str| json!({ "kind": "k", "queue": queue, "unique": { "key": "u", "scope": "queue" } });
    let (a, b) = (api.enqueue(job("a")).await, api.enqueue(job("b")).await);
    let refused = patch(&api, &a, &[], r#"{"queue":"b"}"#).await;
    assert_eq!((refused.problem(409).as_str(), &refused.json()["job_id"]), ("unique-conflict", &json!(b)));
    assert_eq!(api.get(&format!("/v1/jobs/{a}")).await.json()["queue"], "a");
}

#[tokio::test]
async fn a_final_job_is_deleted_and_others_are_not() {
    let api = Api::start().await;
    let delete = async |id: &str| api.send("DELETE", &format!("/v1/jobs/{id}"), &[], b"").await;
    let waiting = api.enqueue_in("other").await;
    let refused = delete(&waiting).await;
    assert_eq!(
        (refused.problem(409).as_str(), &refused.json()["job_status"]),
        ("wrong-status", &json!("queued"))
    );
    assert!(refused.json()["detail"].as_str().unwrap().contains("cancel it first"), "{refused:?}");
    let running = api.enqueue_in("q").await;
    let lease = api.lease("q").await.unwrap();
    assert_eq!(delete(&running).await.problem(409), "wrong-status");
    api.settle(json!({ "outcome": "completed", "result": 1 }), &lease).await.expect(200);
    assert_eq!(delete(&running).await.expect(200), json!({ "deleted": true }));
    assert_eq!(delete(&running).await.expect(200), json!({ "deleted": false }));
    for path in ["", "/attempts", "/events", "/explain"] {
        assert_eq!(api.get(&format!("/v1/jobs/{running}{path}")).await.problem(404), "not-found", "{path}");
    }
    assert_eq!(delete("x").await.problem(400), "invalid-path");
    assert_eq!(api.status(&waiting).await, "queued");
}

#[tokio::test]
async fn bulk_actions_take_ids() {
    let api = Api::start().await;
    let (a, b) = (api.enqueue_in("w").await, api.enqueue_in("w").await);
    let later = api.enqueue(json!({ "kind": "k", "delay_seconds": 60 })).await;
    let failed = api.ended(Outcome::Discarded(Failure::new("x", "y"))).await;
    let failures = |status: u16, code: &str, id: &str| json!({ "id": id, "status": status, "code": code });

    let body = json!({ "ids": [a, b, failed, UNKNOWN, a], "dry_run": true });
    let dry = api.post("/v1/jobs/cancel", &body).await.expect(200);
    assert_eq!((&dry["matched"], &dry["changed"], &dry["ids"]), (&json!(4), &json!(0), &json!([a, b])));
    let refused = json!([failures(409, "wrong-status", &failed), failures(404, "not-found", UNKNOWN)]);
    assert_eq!(
        (&dry["failures"], &dry["more"], &dry["next_cursor"]),
        (&refused, &json!(false), &Value::Null)
    );
    assert_eq!(api.status(&a).await, "queued", "a dry run changes nothing");

    let body = json!({ "ids": [a, failed, UNKNOWN] });
    let done = api.post("/v1/jobs/cancel", &body).await.expect(200);
    assert_eq!((&done["changed"], &done["ids"], &done["failures"]), (&json!(1), &json!([a]), &refused));
    let promoted = api.post("/v1/jobs/promote", &json!({ "ids": [later, b, UNKNOWN] })).await.expect(200);
    assert_eq!(promoted["ids"], json!([later]));
    let refused = json!([failures(409, "wrong-status", &b), failures(404, "not-found", UNKNOWN)]);
    assert_eq!(promoted["failures"], refused);
    let deleted = api.post("/v1/jobs/delete", &json!({ "ids": [a, b, UNKNOWN] })).await.expect(200);
    assert_eq!((&deleted["ids"], &deleted["failures"]), (&json!([a]), &refused));
    let retried = api.post("/v1/jobs/retry", &json!({ "ids": [failed] })).await.expect(200);
    assert_eq!(retried["ids"], json!([failed]));

    let many: Vec<&str> = vec![UNKNOWN; 1001];
    for (body, pointer) in [
        (json!({}), "/filter"),
        (json!({ "ids": [a], "filter": { "queue": ["w"] } }), "/ids"),
        (json!({ "ids": [] }), "/ids"),
        (json!({ "ids": many }), "/ids"),
        (json!({ "ids": [a, "x"] }), "/ids/1"),
        (json!({ "ids": [a], "limit": 1 }), "/limit"),
        (json!({ "filter": { "metadata": ["team"] } }), "/filter/metadata/0"),
        (json!({ "filter": { "error_type": ["\u{0}"] } }), "/filter/error_type/0"),
        (json!({ "filter": { "unique_key": vec!["k"; 21] } }), "/filter/unique_key"),
        (json!({ "filter": { "finished_after": "yesterday" } }), "/filter/finished_after"),
    ] {
        for verb in ["cancel", "retry", "promote", "delete"] {
            assert_eq!(
                api.post(&format!("/v1/jobs/{verb}"), &body).await.pointers(),
                [pointer],
                "{verb} {body}"
            );
        }
    }
    let forged = json!({ "filter": { "queue": ["w"] }, "cursor": "x" });
    assert_eq!(api.post("/v1/jobs/cancel", &forged).await.problem(400), "invalid-cursor");
}

#[tokio::test]
async fn a_bulk_action_continues_at_its_cursor() {
    let api = Api::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, api.ended(Outcome::Discarded(Failure::new("x", "y"))).await);
    }
    let mut body = json!({ "filter": { "error_type": ["x"] }, "limit": 2 });
    let mut deleted = Vec::new();
    loop {
        let answer = api.post("/v1/jobs/delete", &body).await.expect(200);
        deleted.extend(answer["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
        assert_eq!(answer["more"], !answer["next_cursor"].is_null());
        if answer["next_cursor"].is_null() {
            break;
        }
        body["cursor"] = answer["next_cursor"].clone();
    }
    assert_eq!((deleted, api.count().await), (ids, 0));
}

#[tokio::test]
async fn a_count_is_exact_up_to_its_limit() {
    let api = Api::start().await;
    for n in 0..5 {
        api.enqueue(json!({ "kind": "k", "queue": "r", "metadata": { "n": n % 2 } })).await;
    }
    api.ended(Outcome::Discarded(Failure::new("x", "y"))).await;
    for (query, count, exact) in [
        ("", 6, true),
        ("?status=queued", 5, true),
        ("?status=queued&limit=5", 5, true),
        ("?status=queued&limit=4", 4, false),
        ("?metadata=n=1", 2, true),
        ("?metadata.n=0&limit=2", 2, false),
        ("?error_type=x&status=failed", 1, true),
        ("?kind=none", 0, true),
    ] {
        let answer = api.get(&format!("/v1/jobs/count{query}")).await.expect(200);
        assert_eq!(answer, json!({ "count": count, "exact": exact }), "{query}");
    }
    for query in ["limit=0", "limit=10001", "cursor=x", "metadata=n", "metadata.=x", "finished_after=x"] {
        assert_eq!(
            api.get(&format!("/v1/jobs/count?{query}")).await.problem(400),
            "invalid-query",
            "{query}"
        );
    }
}

#[tokio::test]
async fn lists_filter_by_what_no_index_has() {
    let api = Api::start().await;
    let ids = async |query: &str| -> Vec<String> {
        let page = api.get(&format!("/v1/jobs?{query}")).await.expect(200);
        let jobs = page["jobs"].as_array().unwrap().clone();
        jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    let dead = api.ended(Outcome::Discarded(Failure::new("timeout", "y"))).await;
    let a =
        api.enqueue(json!({ "kind": "k", "metadata": { "team": "billing", "a.b": { "c": "é 😀" } } })).await;
    let b = api.enqueue(json!({ "kind": "k", "unique": { "key": "u 1" } })).await;
    assert_eq!(ids("metadata.team=billing").await, std::slice::from_ref(&a));
    assert_eq!(ids("metadata=team=billing").await, std::slice::from_ref(&a));
    assert_eq!(ids("metadata=/a.b/c=%C3%A9%20%F0%9F%98%80&metadata.team=billing").await, [a]);
    assert_eq!(ids("unique_key=u+1&unique_key=other").await, [b]);
    assert_eq!(ids("error_type=timeout").await, std::slice::from_ref(&dead));
    let at = api.get(&format!("/v1/jobs/{dead}")).await.json()["finished_at"].as_str().unwrap().to_owned();
    assert_eq!(ids(&format!("finished_after={at}")).await, [dead]);
    assert!(ids(&format!("finished_before={at}")).await.is_empty());
    for query in ["metadata=x", "unique_key=%00", "error_type=%00", "finished_before=2027-02-30T00:00:00Z"] {
        assert_eq!(api.get(&format!("/v1/jobs?{query}")).await.problem(400), "invalid-query", "{query}");
    }
    let many = (0..21).map(|n| n.to_string()).collect::<Vec<_>>().join("&error_type=");
    assert_eq!(api.get(&format!("/v1/jobs?error_type={many}")).await.problem(400), "invalid-query");
}
