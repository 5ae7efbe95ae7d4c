//! Schedules over REST: set, read, change, delete, act, preview, history; conditions and races; bad input of every field.

use std::time::Duration;

use futures_util::future::join_all;
use jobqueue_testkit::Clock;
use serde_json::{Value, json};

use crate::bench::Api;

const JSON: &str = "Content-Type: application/json";
const MINUTELY: &str = "/v1/schedules/minutely";

fn minutely() -> Value {
    json!({ "cron": "* * * * *", "job": { "kind": "k", "payload": { "n": 18_446_744_073_709_551_615_u64 } } })
}

impl Api {
    async fn patch(&self, path: &str, headers: &[&str], body: &str) -> crate::client::Answer {
        self.send("PATCH", path, &[&[JSON], headers].concat(), body.as_bytes()).await
    }

    async fn remove(&self, path: &str, headers: &[&str]) -> crate::client::Answer {
        self.send("DELETE", path, headers, b"").await
    }
}

#[tokio::test]
async fn a_schedule_is_created_read_replaced_and_deleted() {
    let api = Api::start().await;
    let created = api.put(MINUTELY, &[], &minutely()).await;
    assert_eq!((created.status, created.header("location")), (201, Some(MINUTELY)));
    let tag = created.header("etag").unwrap().to_owned();
    let view = created.json();
    assert_eq!(
        (&view["name"], &view["version"], &view["status"]),
        (&json!("minutely"), &json!(1), &json!("active"))
    );
    assert_eq!((&view["spec"], &view["runs"]), (&minutely(), &json!(0)));
    assert!(view["in_words"].as_str().unwrap().ends_with("(UTC)"), "{view}");
    assert!(view["next_tick_at"].as_str().unwrap().ends_with(":00Z"), "{view}");

    let same = api.put(MINUTELY, &[], &minutely()).await;
    assert_eq!((same.status, same.header("etag")), (200, Some(tag.as_str())));
    let shown = api.get(MINUTELY).await;
    assert_eq!(shown.header("etag"), Some(tag.as_str()));
    assert_eq!(shown.json()["last_ticks"], json!([]));

    let mut other = minutely();
    other["owner"] = json!("a-file");
    let changed = api.put(MINUTELY, &[], &other).await.expect(200);
    assert_eq!((&changed["version"], &changed["owner"]), (&json!(2), &json!("a-file")));
    assert_eq!(changed["next_tick_at"], view["next_tick_at"]);
    let listed = api.get("/v1/schedules?owner=a-file").await.expect(200);
    assert_eq!(listed["schedules"].as_array().unwrap().len(), 1);
    assert_eq!(
        api.get("/v1/schedules?owner=b").await.expect(200),
        json!({ "schedules": [], "next_cursor": null })
    );

    assert_eq!(api.remove(MINUTELY, &[]).await.expect(200), json!({ "deleted": true }));
    assert_eq!(api.remove(MINUTELY, &[]).await.expect(200), json!({ "deleted": false }));
    for path in ["", "/preview", "/ticks"] {
        assert_eq!(api.get(&format!("{MINUTELY}{path}")).await.problem(404), "not-found");
    }
    for action in ["pause", "resume", "run"] {
        assert_eq!(api.act(&format!("{MINUTELY}/{action}")).await.problem(404), "not-found");
    }
    assert_eq!(api.patch(MINUTELY, &[], "{}").await.problem(404), "not-found");
}

#[tokio::test]
async fn ticks_fire_and_their_history_is_paged() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    api.put(MINUTELY, &[], &minutely()).await.expect(201);
    for _ in 0..3 {
        clock.advance(Duration::from_mins(1));
        let store = jobqueue_store::Store::from_pool(api.db.pool_with_clock(&clock));
        assert_eq!(store.fire_schedules(10).await.unwrap().jobs, 1);
    }
    let page = api.get(&format!("{MINUTELY}/ticks?limit=2")).await.expect(200);
    let ticks = page["ticks"].as_array().unwrap();
    assert_eq!((ticks.len(), &ticks[0]["fate"]), (2, &json!("fired")));
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = api.get(&format!("{MINUTELY}/ticks?cursor={cursor}")).await.expect(200);
    assert_eq!((rest["ticks"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
    let job = api.get(&format!("/v1/jobs/{}", ticks[0]["job_id"].as_str().unwrap())).await;
    assert!(job.text.contains("18446744073709551615"), "the payload is as it was sent: {job:?}");
    assert_eq!(job.json()["metadata"], json!({ "schedule": "minutely", "tick": ticks[0]["tick_at"] }));
    let shown = api.get(MINUTELY).await.expect(200);
    assert_eq!((&shown["runs"], &shown["last_job_id"]), (&json!(3), &ticks[0]["job_id"]));
    assert_eq!(shown["last_ticks"].as_array().unwrap().len(), 3);
    assert_eq!(api.get(&format!("{MINUTELY}/ticks?cursor=x")).await.problem(400), "invalid-cursor");
    assert_eq!(api.get(&format!("{MINUTELY}/ticks?limit=0")).await.problem(400), "invalid-query");
}

#[tokio::test]
async fn pause_resume_and_run() {
    let api = Api::start().await;
    api.put(MINUTELY, &[], &minutely()).await.expect(201);
    for _ in 0..2 {
        let paused = api.act(&format!("{MINUTELY}/pause")).await.expect(200);
        assert_eq!(
            (&paused["status"], &paused["next_tick_at"], &paused["version"]),
            (&json!("paused"), &Value::Null, &json!(2))
        );
    }
    assert_eq!(api.get("/v1/schedules?paused=true").await.expect(200)["schedules"][0]["name"], "minutely");
    assert_eq!(api.get("/v1/schedules?paused=false").await.expect(200)["schedules"], json!([]));
    assert_eq!(api.get("/v1/schedules?paused=maybe").await.problem(400), "invalid-query");
    let run = api.act(&format!("{MINUTELY}/run")).await;
    let job = run.expect(201);
    assert_eq!((&job["status"], &job["metadata"]["schedule"]), (&json!("queued"), &json!("minutely")));
    let again = api.keyed(&format!("{MINUTELY}/run"), "once", &json!({})).await.expect(201);
    let replayed = api.keyed(&format!("{MINUTELY}/run"), "once", &json!({})).await.expect(201);
    assert_eq!(again["id"], replayed["id"]);
    assert_eq!(api.count().await, 2);
    let resumed = api.act(&format!("{MINUTELY}/resume")).await.expect(200);
    assert_eq!((&resumed["status"], &resumed["runs"]), (&json!("active"), &json!(0)));
    assert!(resumed["next_tick_at"].is_string());
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let api = Api::start().await;
    let body = json!({
        "cron": "0 2 * * *", "time_zone": "Europe/Berlin", "jitter_seconds": 5,
        "job": { "kind": "k", "payload": { "a": 1, "b": { "c": 2 } }, "tags": ["t"], "priority": 3 },
    });
    let created = api.put(MINUTELY, &[], &body).await.expect(201);
    let patch = r#"{"cron":"0 3 * * *","jitter_seconds":null,"job":{"payload":{"b":{"c":18446744073709551616},"a":null},"priority":null}}"#;
    let patched = api.patch(MINUTELY, &[], patch).await;
    assert!(patched.text.contains(r#""payload":{"b":{"c":18446744073709551616}}"#), "{}", patched.text);
    let spec = &patched.expect(200)["spec"];
    assert_eq!((&spec["cron"], &spec["time_zone"]), (&json!("0 3 * * *"), &json!("Europe/Berlin")));
    assert!(spec.get("jitter_seconds").is_none() && spec["job"].get("priority").is_none(), "{spec}");
    assert_eq!(spec["job"]["tags"], json!(["t"]));
    let nothing = api.patch(MINUTELY, &[], "{}").await.expect(200);
    assert_eq!(nothing["version"], json!(2));
    for (patch, pointer) in [
        (r#"{"cron":"x"}"#, "/cron"),
        (r#"{"cron":null}"#, "/time_zone"),
        (r#"{"corn":"* * * * *"}"#, "/corn"),
        (r#"{"job":{"kin":"k"}}"#, "/job/kin"),
        (r#"{"job":{"kind":null}}"#, "/job/kind"),
        (r#"{"job":7}"#, "/job"),
        (r#"{"at":"2100-01-01T00:00:00Z"}"#, "/at"),
        (r#"{"overlap":"never"}"#, "/overlap"),
    ] {
        let answer = api.patch(MINUTELY, &[], patch).await;
        assert_eq!(answer.problem(422), "invalid-body", "{patch}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{patch}: {answer:?}");
    }
    let tag = format!("If-Match: {}", api.get(MINUTELY).await.header("etag").unwrap());
    assert_eq!(api.patch(MINUTELY, &[&tag], r#"{"owner":"x"}"#).await.expect(200)["version"], 3);
    assert_eq!(api.patch(MINUTELY, &[&tag], r#"{"owner":"y"}"#).await.problem(412), "precondition-failed");
    assert_eq!(api.get(MINUTELY).await.expect(200)["created_at"], created["created_at"]);
}

#[tokio::test]
async fn conditions_hold_or_nothing_changes() {
    let api = Api::start().await;
    let other = json!({ "interval_seconds": 3600, "job": { "kind": "k" } });
    for header in ["If-Match: *", "If-Match: \"1-1\""] {
        assert_eq!(api.put(MINUTELY, &[header], &other).await.problem(412), "precondition-failed");
        assert_eq!(api.patch(MINUTELY, &[header], "{}").await.problem(412), "precondition-failed");
        assert_eq!(api.remove(MINUTELY, &[header]).await.problem(412), "precondition-failed");
    }
    assert_eq!(api.put(MINUTELY, &["If-None-Match: *"], &minutely()).await.status, 201);
    assert_eq!(api.put(MINUTELY, &["If-None-Match: *"], &other).await.problem(412), "precondition-failed");
    let tag = api.get(MINUTELY).await.header("etag").unwrap().to_owned();
    for stale in ["\"1-99\"", "W/\"x\"", "\"of another server\"", &format!("W/{tag}")] {
        let header = format!("If-Match: {stale}");
        assert_eq!(
            api.put(MINUTELY, &[&header], &other).await.problem(412),
            "precondition-failed",
            "{stale}"
        );
    }
    for wrong in [
        "If-Match: 1-1",
        "If-Match: ",
        "If-None-Match: \"1-1\"",
        "If-Match: *\r\nIf-None-Match: *",
        "If-Match: \"1-1\", x",
    ] {
        assert_eq!(api.put(MINUTELY, &[wrong], &other).await.problem(400), "bad-request", "{wrong}");
    }
    let several = format!("If-Match: \"7-7\", {tag}");
    assert_eq!(api.put(MINUTELY, &[&several], &other).await.expect(200)["version"], 2);
    assert_eq!(api.put(MINUTELY, &["If-Match: *"], &minutely()).await.expect(200)["version"], 3);
}

#[tokio::test]
async fn of_many_writers_one_wins_each_version() {
    let api = Api::start().await;
    api.put(MINUTELY, &[], &minutely()).await.expect(201);
    for round in 1..=3 {
        let tag = format!("If-Match: {}", api.get(MINUTELY).await.header("etag").unwrap());
        let writers = (0..64).map(|n| {
            let (api, tag) = (&api, &tag);
            async move {
                let body = json!({ "cron": "* * * * *", "description": format!("{round} {n}"), "job": { "kind": "k" } });
                if n % 2 == 0 {
                    api.put(MINUTELY, &[tag], &body).await.status
                } else {
                    api.patch(MINUTELY, &[tag], &body.to_string()).await.status
                }
            }
        });
        let answers = join_all(writers).await;
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
        assert!(answers.iter().all(|status| matches!(status, 200 | 412)), "{answers:?}");
        assert_eq!(api.get(MINUTELY).await.expect(200)["version"], round + 1);
    }
    // without a condition, every patch is merged into what is there
    let fields = ["owner", "description", "overlap", "missed", "max_runs", "jitter_seconds", "end_at", "dst"];
    let values = [
        json!("o"),
        json!("d"),
        json!("skip"),
        json!("all"),
        json!(7),
        json!(1),
        json!("2100-01-01T00:00:00Z"),
        json!("both"),
    ];
    let patches = fields.iter().zip(&values).map(|(field, value)| {
        let api = &api;
        async move { api.patch(MINUTELY, &[], &json!({ *field: value }).to_string()).await.status }
    });
    assert_eq!(join_all(patches).await, [200; 8]);
    let spec = &api.get(MINUTELY).await.expect(200)["spec"];
    for (field, value) in fields.iter().zip(&values) {
        let (stored, value) = (&spec[field], value);
        assert!(
            stored == value || stored.as_f64() == value.as_f64() && stored.is_number(),
            "{field}: {spec}"
        );
    }
}

#[tokio::test]
async fn previews_show_local_times_and_store_nothing() {
    let api = Api::start().await;
    let body = json!({ "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "job": { "kind": "k" } });
    let path = "/v1/schedules/preview?n=3&from=2026-03-28T00:00:00Z";
    let preview = api.post(path, &body).await.expect(200);
    let local: Vec<&str> =
        preview["ticks"].as_array().unwrap().iter().map(|t| t["local"].as_str().unwrap()).collect();
    assert_eq!(
        local,
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    assert_eq!(preview["ticks"][1]["tick_at"], "2026-03-29T01:30:00Z");
    assert_eq!(api.get("/v1/schedules").await.expect(200)["schedules"], json!([]));
    api.put(MINUTELY, &[], &body).await.expect(201);
    let stored = api.get(&format!("{MINUTELY}/preview?n=3&from=2026-03-28T00:00:00Z")).await.expect(200);
    assert_eq!(stored, preview);
    assert_eq!(
        api.get(&format!("{MINUTELY}/preview")).await.expect(200)["ticks"].as_array().unwrap().len(),
        10
    );
    let ending = json!({ "interval_seconds": 60, "max_runs": 2, "job": { "kind": "k" } });
    assert_eq!(api.post(path, &ending).await.expect(200)["ticks"].as_array().unwrap().len(), 2);
    for wrong in ["n=0", "n=1001", "n=x", "from=now", "name=a%20b"] {
        assert_eq!(
            api.post(&format!("/v1/schedules/preview?{wrong}"), &body).await.problem(400),
            "invalid-query"
        );
    }
    assert_eq!(api.post("/v1/schedules/preview", &json!({})).await.problem(422), "invalid-body");
}

#[tokio::test]
async fn every_field_refuses_bad_input_by_name() {
    let api = Api::start().await;
    let cases = [
        (r#"{"job":{"kind":"k"}}"#, "/cron"),
        (r#"{"cron":7,"job":{"kind":"k"}}"#, "/cron"),
        (r#"{"cron":"61 * * * *","job":{"kind":"k"}}"#, "/cron"),
        (r#"{"cron":"* * * * *","time_zone":"Mars/Base","job":{"kind":"k"}}"#, "/time_zone"),
        (r#"{"cron":"* * * * *","dst":"winter","job":{"kind":"k"}}"#, "/dst"),
        (r#"{"interval_seconds":0.5,"job":{"kind":"k"}}"#, "/interval_seconds"),
        (r#"{"interval_seconds":"1","job":{"kind":"k"}}"#, "/interval_seconds"),
        (r#"{"interval_seconds":1e300,"job":{"kind":"k"}}"#, "/interval_seconds"),
        (r#"{"interval_seconds":60,"anchor":"noon","job":{"kind":"k"}}"#, "/anchor"),
        (r#"{"solar":"moonrise","latitude":1,"longitude":1,"job":{"kind":"k"}}"#, "/solar"),
        (r#"{"solar":"sunset","latitude":91,"longitude":1,"job":{"kind":"k"}}"#, "/latitude"),
        (r#"{"solar":"sunset","latitude":1,"job":{"kind":"k"}}"#, "/longitude"),
        (r#"{"at":"2027-02-30T00:00:00Z","job":{"kind":"k"}}"#, "/at"),
        (r#"{"interval_seconds":60,"start_at":"x","job":{"kind":"k"}}"#, "/start_at"),
        (r#"{"interval_seconds":60,"end_at":"x","job":{"kind":"k"}}"#, "/end_at"),
        (r#"{"interval_seconds":60,"enabled":"yes","job":{"kind":"k"}}"#, "/enabled"),
        (r#"{"interval_seconds":60,"max_runs":0,"job":{"kind":"k"}}"#, "/max_runs"),
        (r#"{"interval_seconds":60,"max_runs":1.5,"job":{"kind":"k"}}"#, "/max_runs"),
        (r#"{"interval_seconds":60,"jitter_seconds":86401,"job":{"kind":"k"}}"#, "/jitter_seconds"),
        (r#"{"interval_seconds":60,"expires_after_seconds":0,"job":{"kind":"k"}}"#, "/expires_after_seconds"),
        (r#"{"interval_seconds":60,"missed":"some","job":{"kind":"k"}}"#, "/missed"),
        (r#"{"interval_seconds":60,"missed":"all","missed_limit":1001,"job":{"kind":"k"}}"#, "/missed_limit"),
        (r#"{"interval_seconds":60,"overlap":"maybe","job":{"kind":"k"}}"#, "/overlap"),
        (r#"{"interval_seconds":60,"owner":"","job":{"kind":"k"}}"#, "/owner"),
        (r#"{"interval_seconds":60,"description":"a\u0007","job":{"kind":"k"}}"#, "/description"),
        (r#"{"interval_seconds":60}"#, "/job/kind"),
        (r#"{"interval_seconds":60,"job":{"kind":"k","run_at":"2100-01-01T00:00:00Z"}}"#, "/job/run_at"),
        (
            r#"{"interval_seconds":60,"job":{"kind":"k","expires_at":"2100-01-01T00:00:00Z"}}"#,
            "/job/expires_at",
        ),
        (r#"{"interval_seconds":60,"job":{"kind":"k","metadata":{"tick":1}}}"#, "/job/metadata"),
        (r#"{"interval_seconds":60,"job":{"kind":"k","priority":101}}"#, "/job/priority"),
        (r#"{"interval_seconds":60,"job":{"kind":"k","unique":{"key":""}}}"#, "/job/unique/key"),
        (
            r#"{"interval_seconds":60,"job":{"kind":"k","retry":{"strategy":"fixed","delay_seconds":-1}}}"#,
            "/job/retry/delay_seconds",
        ),
        (r#"{"interval_seconds":60,"job":{"kind":"k","x":1}}"#, "/job/x"),
        (r#"{"interval_seconds":60,"x":1,"job":{"kind":"k"}}"#, "/x"),
    ];
    for (body, pointer) in cases {
        for (method, path) in [("PUT", MINUTELY), ("POST", "/v1/schedules/preview")] {
            let answer = api.send(method, path, &[JSON], body.as_bytes()).await;
            assert_eq!(answer.problem(422), "invalid-body", "{body}");
            assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}: {answer:?}");
        }
    }
    for name in ["a%20b", "-a", "a%2Fb", &"x".repeat(129)] {
        assert_eq!(
            api.put(&format!("/v1/schedules/{name}"), &[], &minutely()).await.problem(400),
            "invalid-path"
        );
    }
    assert_eq!(api.put("/v1/schedules/preview", &[], &minutely()).await.problem(405), "method-not-allowed");
    let twice = r#"{"interval_seconds":60,"interval_seconds":60,"job":{"kind":"k"}}"#;
    assert_eq!(api.send("PUT", MINUTELY, &[JSON], twice.as_bytes()).await.problem(400), "invalid-json");
    assert_eq!(api.get("/v1/schedules").await.expect(200)["schedules"], json!([]));
}

#[tokio::test]
async fn an_invalid_row_is_shown_with_its_error() {
    let api = Api::start().await;
    api.put(MINUTELY, &[], &minutely()).await.expect(201);
    api.put_schedule("fine").await;
    api.db
        .execute("UPDATE jobqueue.schedule SET spec = '{\"cron\":\"x\",\"job\":{}}', fires_at = now() WHERE name = 'minutely'")
        .await;
    let store = jobqueue_store::Store::from_pool(api.db.pool().clone());
    assert_eq!(store.fire_schedules(10).await.unwrap().failed.len(), 1);
    let shown = api.get(MINUTELY).await.expect(200);
    assert_eq!((&shown["status"], &shown["in_words"]), (&json!("failed"), &Value::Null));
    assert!(shown["error"].as_str().unwrap().contains("/cron"), "{shown}");
    assert_eq!(api.get("/v1/schedules").await.expect(200)["schedules"].as_array().unwrap().len(), 2);
    assert_eq!(api.act(&format!("{MINUTELY}/run")).await.problem(409), "schedule-invalid");
    assert_eq!(api.get(&format!("{MINUTELY}/preview")).await.problem(409), "schedule-invalid");
    assert_eq!(api.patch(MINUTELY, &[], r#"{"owner":"x"}"#).await.problem(422), "invalid-body");
    for action in ["pause", "resume"] {
        api.act(&format!("{MINUTELY}/{action}")).await.expect(200);
    }
    let repaired = api.put(MINUTELY, &[], &minutely()).await.expect(200);
    assert_eq!((&repaired["status"], &repaired["error"]), (&json!("active"), &Value::Null));
}
