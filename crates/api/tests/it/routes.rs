//! Routes over REST: set, read, test and delete; what becomes of submissions; and a change that another process sees.

use std::time::Duration;

use jobqueue_api::{ApiState, router};
use jobqueue_runtime::{HttpLimits, Shutdown, http};
use jobqueue_store::Store;
use jobqueue_testkit::eventually;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bench::{Api, options, settings};

const MAIL: &str = "/v1/routes/mail";

fn mail() -> Value {
    json!({ "position": 10, "kind": "mail.*", "queue": "mail", "priority": 5, "timeout_seconds": 60.0, "tags": ["m"],
            "retry": { "strategy": "fixed", "delay_seconds": 30.0 }, "max_attempts": 3, "expires_after_seconds": 86400.0 })
}

impl Api {
    async fn delete_route(&self, path: &str, headers: &[&str]) -> crate::client::Answer {
        self.send("DELETE", path, headers, b"").await
    }
}

#[tokio::test]
async fn a_route_is_created_read_replaced_and_deleted() {
    let api = Api::start().await;
    let created = api.put(MAIL, &["If-None-Match: *"], &mail()).await;
    assert_eq!((created.status, created.header("location")), (201, Some(MAIL)));
    let tag = created.header("etag").unwrap().to_owned();
    let view = created.json();
    assert_eq!((&view["name"], &view["version"], &view["position"]), (&json!("mail"), &json!(1), &json!(10)));
    assert_eq!((&view["spec"], &view["error"]), (&mail(), &Value::Null));
    let same = api.put(MAIL, &[], &mail()).await;
    assert_eq!((same.status, same.header("etag")), (200, Some(tag.as_str())));
    assert_eq!(api.get(MAIL).await.header("etag"), Some(tag.as_str()));
    let matching = format!("If-Match: {tag}");
    let other = json!({ "position": 20, "kind": "mail.*", "owner": "a-file" });
    assert_eq!(api.put(MAIL, &[&matching], &other).await.expect(200)["version"], 2);
    assert_eq!(api.put(MAIL, &[&matching], &mail()).await.problem(412), "precondition-failed");
    assert_eq!(api.put(MAIL, &["If-None-Match: *"], &mail()).await.problem(412), "precondition-failed");
    assert_eq!(api.delete_route(MAIL, &[&matching]).await.problem(412), "precondition-failed");
    api.put("/v1/routes/first", &[], &json!({ "position": -1, "kind": "*" })).await.expect(201);
    let page = api.get("/v1/routes?limit=1").await.expect(200);
    assert_eq!(page["routes"][0]["name"], "first", "by position, not by name");
    let next = page["next_cursor"].as_str().unwrap();
    let rest = api.get(&format!("/v1/routes?cursor={next}")).await.expect(200);
    assert_eq!((&rest["routes"][0]["name"], &rest["next_cursor"]), (&json!("mail"), &Value::Null));
    assert_eq!(api.get("/v1/routes?owner=a-file").await.expect(200)["routes"].as_array().unwrap().len(), 1);
    for cursor in ["x", "1", "a,mail", "1,", "99999999999,mail"] {
        assert_eq!(api.get(&format!("/v1/routes?cursor={cursor}")).await.problem(400), "invalid-cursor");
    }
    assert_eq!(api.delete_route(MAIL, &[]).await.expect(200), json!({ "deleted": true }));
    assert_eq!(api.delete_route(MAIL, &[]).await.expect(200), json!({ "deleted": false }));
    assert_eq!(api.get(MAIL).await.problem(404), "not-found");
    assert_eq!(api.put("/v1/routes/test", &[], &mail()).await.status, 405);
    assert_eq!(api.get("/v1/routes/a%20b").await.problem(400), "invalid-path");
}

#[tokio::test]
async fn every_fault_of_a_route_is_named_when_it_is_set() {
    let api = Api::start().await;
    for (field, value) in [
        ("position", json!(null)),
        ("position", json!(2_000_000)),
        ("kind", json!(null)),
        ("kind", json!("a b")),
        ("kind", json!("[ab]")),
        ("queue", json!("a/b")),
        ("priority", json!(101)),
        ("timeout_seconds", json!(0)),
        ("soft_timeout_seconds", json!(60)),
        ("expires_after_seconds", json!(-1)),
        ("max_attempts", json!(1001)),
        ("owner", json!("")),
        ("queues", json!("x")),
    ] {
        let mut wrong = mail();
        wrong[field] = value;
        let answer = api.put(MAIL, &[], &wrong).await;
        assert_eq!(answer.problem(422), "invalid-body", "{field}");
        assert_eq!(answer.json()["errors"][0]["pointer"], format!("/{field}"), "{answer:?}");
    }
    assert_eq!(api.get("/v1/routes").await.expect(200)["routes"], json!([]));
}

#[tokio::test]
async fn submissions_get_the_defaults_of_the_first_match_and_may_override_them() {
    let api = Api::start().await;
    api.put(MAIL, &[], &mail()).await.expect(201);
    api.put("/v1/routes/rest", &[], &json!({ "position": 90, "kind": "*", "queue": "rest", "tags": ["r"] }))
        .await
        .expect(201);
    let job = api.post("/v1/jobs", &json!({ "kind": "mail.send", "priority": 9 })).await.expect(201);
    assert_eq!(
        (&job["queue"], &job["priority"], &job["timeout_seconds"], &job["max_attempts"], &job["tags"]),
        (&json!("mail"), &json!(9), &json!(60.0), &json!(3), &json!(["m"]))
    );
    assert!(job["expires_at"].is_string() && job["retry"]["strategy"] == "fixed", "{job}");
    let stored = api.get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&stored["queue"], &stored["expires_at"]), (&job["queue"], &job["expires_at"]));
    let jobs = json!({ "jobs": [{ "kind": "mail.a" }, { "kind": "other" }, { "kind": "mail.b", "queue": "own", "tags": ["own"] }] });
    let batch = api.post("/v1/jobs/batch", &jobs).await.expect(201);
    let queues: Vec<&Value> =
        batch["items"].as_array().unwrap().iter().map(|item| &item["job"]["queue"]).collect();
    assert_eq!(queues, [&json!("mail"), &json!("rest"), &json!("own")]);
    assert_eq!(batch["items"][2]["job"]["tags"], json!(["own"]));
    let bare = api.post("/v1/jobs", &json!({ "kind": "mail.send", "tags": [] })).await.expect(201);
    let null =
        api.post("/v1/jobs", &json!({ "kind": "mail.send", "tags": null, "queue": null })).await.expect(201);
    assert_eq!((&bare["tags"], &null["tags"], &null["queue"]), (&json!([]), &json!(["m"]), &json!("mail")));
    // what is wrong with a submission is named as without routes
    let wrong = api
        .post("/v1/jobs", &json!({ "kind": "mail.send", "priority": 900, "soft_timeout_seconds": 60 }))
        .await;
    let errors = wrong.json()["errors"].clone();
    assert_eq!(
        (wrong.status, errors.as_array().unwrap().len(), &errors[0]["pointer"]),
        (422, 1, &json!("/priority"))
    );
    // a limit that contradicts the submission is left out
    let soft =
        api.post("/v1/jobs", &json!({ "kind": "mail.send", "soft_timeout_seconds": 60 })).await.expect(201);
    assert_eq!((&soft["timeout_seconds"], &soft["soft_timeout_seconds"]), (&Value::Null, &json!(60.0)));
}

#[tokio::test]
async fn a_test_shows_the_route_and_stores_nothing() {
    let api = Api::start().await;
    let test = async |body: Value| api.post("/v1/routes/test", &body).await;
    let none = test(json!({ "kind": "mail.send" })).await.expect(200);
    assert_eq!(none, json!({ "route": null, "filled": [], "job": { "kind": "mail.send" } }));
    api.put(MAIL, &[], &mail()).await.expect(201);
    let found = test(
        json!({ "kind": "mail.send", "priority": 1, "payload": { "n": 18_446_744_073_709_551_615_u64 } }),
    )
    .await;
    assert!(found.text.contains("18446744073709551615"), "{}", found.text);
    let found = found.expect(200);
    assert_eq!(
        (&found["route"], &found["job"]["queue"], &found["job"]["priority"]),
        (&json!("mail"), &json!("mail"), &json!(1))
    );
    assert_eq!(
        found["filled"],
        json!(["queue", "max_attempts", "retry", "timeout_seconds", "expires_at", "tags"])
    );
    let wrong = test(json!({ "kind": "mail.send", "queue": "a/b" })).await;
    assert_eq!(
        (wrong.problem(422), &wrong.json()["errors"][0]["pointer"]),
        ("invalid-body".into(), &json!("/queue"))
    );
    assert_eq!(api.count().await, 0);
}

#[tokio::test]
async fn a_repeated_request_gets_its_job_whatever_the_routes_say_now() {
    let api = Api::start().await;
    let body = json!({ "kind": "mail.send" });
    let first = api.keyed("/v1/jobs", "once", &body).await.expect(201);
    let batch = json!({ "jobs": [{ "kind": "mail.send", "delay_seconds": 600 }, { "kind": "mail.send" }] });
    let firsts = api.keyed("/v1/jobs/batch", "many", &batch).await.expect(201);
    api.put(MAIL, &[], &mail()).await.expect(201);
    let again = api.keyed("/v1/jobs", "once", &body).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201), first);
    assert_eq!(api.keyed("/v1/jobs/batch", "many", &batch).await.expect(201), firsts);
    // a key that is unique in its queue is that of the queue of the route
    let unique = json!({ "kind": "mail.send", "unique": { "key": "u", "scope": "queue" } });
    let holder = api.post("/v1/jobs", &unique).await.expect(201);
    let mut named = unique.clone();
    named["queue"] = json!("mail");
    assert_eq!(api.post("/v1/jobs", &named).await.expect(200)["id"], holder["id"]);
}

#[tokio::test]
async fn a_committed_change_is_answered_although_the_routes_cannot_be_read_afterwards() {
    let api = Api::start().await;
    // the commit of a change takes away what the process reads after it
    api.db
        .execute(
            "CREATE FUNCTION jobqueue.hide() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN ALTER TABLE jobqueue.route_version RENAME TO hidden; RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER hide AFTER INSERT OR DELETE ON jobqueue.route DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION jobqueue.hide()",
        )
        .await;
    let show = "ALTER TABLE jobqueue.hidden RENAME TO route_version";
    api.put(MAIL, &[], &mail()).await.expect(201);
    assert!(
        api.post("/v1/jobs", &json!({ "kind": "mail.send" })).await.status >= 500,
        "the routes are unknown"
    );
    api.db.execute(show).await;
    assert_eq!(api.post("/v1/jobs", &json!({ "kind": "mail.send" })).await.expect(201)["queue"], "mail");
    assert_eq!(api.delete_route(MAIL, &[]).await.expect(200), json!({ "deleted": true }));
    api.db.execute(show).await;
    assert_eq!(api.post("/v1/jobs", &json!({ "kind": "mail.send" })).await.expect(201)["queue"], "default");
}

#[tokio::test]
async fn plain_submissions_are_routed_while_all_other_connections_wait() {
    let api = Api::start().await;
    // new names would be looked up on other connections, and SQL would claim the key only at the commit
    api.post("/v1/jobs", &json!({ "kind": "k" })).await.expect(201);
    let hold = "LOCK TABLE jobqueue.schedule; SELECT jobqueue.enqueue('k', unique_key => 'held')";
    let application = api.db.hold(hold).await;
    let unique = json!({ "kind": "k", "unique": { "key": "held" } });
    let submitted = async {
        let (keyed, readers) = (
            futures_util::future::join_all((0..4).map(|_| api.post("/v1/jobs", &unique))),
            futures_util::future::join_all((0..8).map(|_| api.get("/v1/schedules/s"))),
        );
        tokio::join!(keyed, readers)
    };
    let plain = async {
        let waiting = "state = 'active' AND wait_event_type = 'Lock'";
        eventually(Duration::from_secs(30), "both pools wait", async || {
            match api.db.sessions(waiting).await {
                few @ 0..5 => Err(few),
                _ => Ok(()),
            }
        })
        .await;
        // for longer than the routes in memory are trusted without a check
        let until = tokio::time::Instant::now() + Duration::from_secs(3);
        while tokio::time::Instant::now() < until {
            api.post("/v1/jobs", &json!({ "kind": "k" })).await.expect(201);
        }
        application.rollback().await.unwrap();
    };
    tokio::join!(submitted, plain);
}

/// A second API on the same database, with a store and state of its own.
async fn second(api: &Api, shutdown: &Shutdown) -> std::net::SocketAddr {
    let store = Store::connect_lazy(&options(api.db.url())).unwrap();
    let state = ApiState::start(&store, &settings(), shutdown, &Registry::new()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    shutdown.spawn(http::serve(listener, router(state), HttpLimits::default(), shutdown.clone()));
    addr
}

/// Submits to one of the APIs until the job gets this queue.
async fn until_queue(api: &mut Api, addr: std::net::SocketAddr, queue: &str) {
    api.addr = addr;
    eventually(Duration::from_secs(30), "the change has reached the process", async || {
        let job = api.post("/v1/jobs", &json!({ "kind": "mail.send" })).await.expect(201);
        if job["queue"] == queue { Ok(()) } else { Err(job["queue"].clone()) }
    })
    .await;
}

#[tokio::test]
async fn a_change_reaches_every_api_process_and_the_schedules() {
    let mut api = Api::start().await;
    let shutdown = Shutdown::new();
    let (here, there) = (api.addr, second(&api, &shutdown).await);
    until_queue(&mut api, there, "default").await;
    api.addr = here;
    api.put(MAIL, &[], &mail()).await.expect(201);
    let job = api.post("/v1/jobs", &json!({ "kind": "mail.send" })).await.expect(201);
    assert_eq!(job["queue"], "mail", "at once in the process that answered the PUT");
    until_queue(&mut api, there, "mail").await;
    api.db.execute("SELECT jobqueue.unroute('mail')").await;
    for addr in [here, there] {
        until_queue(&mut api, addr, "default").await;
    }
    api.put(MAIL, &[], &mail()).await.expect(201);
    let schedule = json!({ "cron": "0 0 1 1 *", "job": { "kind": "mail.send" } });
    api.put("/v1/schedules/s", &[], &schedule).await.expect(201);
    assert_eq!(api.act("/v1/schedules/s/run").await.expect(201)["queue"], "mail");
}

#[tokio::test]
async fn a_webhook_is_shown_without_its_secret_and_a_fault_is_named() {
    let api = Api::start().await;
    let secret = format!("whsec_{}", "A".repeat(44));
    let on_end = json!({ "url": "https://a/x", "secret": secret });
    let job = api.post("/v1/jobs", &json!({ "kind": "k", "on_end": on_end })).await;
    assert!(!job.text.contains("whsec"), "{job:?}");
    let job = job.expect(201);
    assert_eq!(job["webhook_url"], "https://a/x");
    let shown = api.get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await;
    assert!(shown.text.contains("https://a/x") && !shown.text.contains("whsec"), "{shown:?}");
    let mut route = mail();
    route["on_end"] = on_end;
    let set = api.put(MAIL, &[], &route).await;
    assert!(!set.text.contains("whsec"), "{set:?}");
    let mut spec = set.expect(201)["spec"].clone();
    spec["priority"] = json!(7);
    let changed = api.put(MAIL, &[], &spec).await.expect(200);
    assert_eq!((&changed["version"], &changed["spec"]), (&json!(2), &spec), "what is read can be set again");
    spec["on_end"]["secret_id"] = json!(99);
    let foreign = api.put(MAIL, &[], &spec).await;
    assert_eq!(
        (foreign.problem(422), &foreign.json()["errors"][0]["pointer"]),
        ("invalid-body".into(), &json!("/on_end/secret_id"))
    );
    let routed = api.post("/v1/jobs", &json!({ "kind": "mail.send" })).await;
    assert!(routed.text.contains("https://a/x") && !routed.text.contains("whsec"), "{routed:?}");
    let tested = api.post("/v1/routes/test", &json!({ "kind": "mail.send" })).await;
    assert!(tested.text.contains("https://a/x") && !tested.text.contains("whsec"), "{tested:?}");
    for (wrong, pointer) in [
        (json!({ "secret": secret }), "/on_end/url"),
        (json!({ "url": "https://a" }), "/on_end/secret"),
        (json!({ "url": "https://a", "secret": "short" }), "/on_end/secret"),
        (json!({ "url": "https://a", "secret": secret, "queue": "a/b" }), "/on_end/queue"),
        (json!({ "url": "https://a", "secret": secret, "secret_id": 1 }), "/on_end/secret_id"),
        (json!([]), "/on_end"),
    ] {
        let answer = api.post("/v1/jobs", &json!({ "kind": "k", "on_end": wrong })).await;
        assert_eq!(answer.problem(422), "invalid-body", "{wrong}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{answer:?}");
    }
    let schedule = json!({ "cron": "@daily", "job": { "kind": "k", "on_end": { "url": "https://a", "secret": secret } } });
    let refused = api.put("/v1/schedules/s", &[], &schedule).await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!("/job/on_end")));
}

#[tokio::test]
async fn a_patch_changes_single_fields_and_keeps_the_secret() {
    let api = Api::start().await;
    let secret = format!("whsec_{}", "A".repeat(44));
    let spec = json!({ "position": 1, "kind": "mail.*", "queue": "mail", "priority": 5,
        "on_end": { "url": "https://a.example/", "secret": secret } });
    let created = api.put(MAIL, &[], &spec).await.expect(201);
    let patch = async |body: Value, headers: &[&str]| {
        let headers = [&["Content-Type: application/json"], headers].concat();
        api.send("PATCH", MAIL, &headers, body.to_string().as_bytes()).await
    };
    let answer =
        patch(json!({ "queue": "bulk", "priority": null, "on_end": { "queue": "hooks" } }), &[]).await;
    let changed = answer.expect(200);
    assert_eq!((&changed["spec"]["queue"], changed["spec"].get("priority")), (&json!("bulk"), None));
    let mut on_end = created["spec"]["on_end"].clone();
    on_end["queue"] = json!("hooks");
    assert_eq!((&changed["spec"]["on_end"], &changed["version"]), (&on_end, &json!(2)));
    let etag = format!("If-Match: {}", answer.header("etag").unwrap());
    let other = format!("whsec_{}", "B".repeat(44));
    let rotated = patch(json!({ "on_end": { "secret": other } }), &[&etag]).await.expect(200);
    assert_ne!(rotated["spec"]["on_end"]["secret_id"], on_end["secret_id"]);
    assert_eq!(patch(json!({ "queue": "x" }), &[&etag]).await.problem(412), "precondition-failed");
    assert_eq!(api.enqueue(json!({ "kind": "mail.send" })).await.len(), 36);
    let refused = patch(json!({ "priority": 500 }), &[]).await;
    assert_eq!(
        (refused.problem(422).as_str(), refused.pointers()),
        ("invalid-body", vec!["/priority".to_owned()])
    );
    assert_eq!(patch(json!({ "que": "x" }), &[]).await.pointers(), ["/que"]);
    let absent = api.send("PATCH", "/v1/routes/none", &["Content-Type: application/json"], b"{}").await;
    assert_eq!(absent.problem(404), "not-found");
    let none = patch(json!({ "on_end": null }), &[]).await.expect(200);
    assert_eq!(none["spec"].get("on_end"), None);
    // two that change different fields at the same time are both applied
    let (one, two) =
        tokio::join!(patch(json!({ "priority": 1 }), &[]), patch(json!({ "max_attempts": 2 }), &[]));
    one.expect(200);
    two.expect(200);
    let spec = api.get("/v1/routes/mail").await.expect(200)["spec"].clone();
    assert_eq!((&spec["priority"], &spec["max_attempts"]), (&json!(1), &json!(2)));
}
