//! Every route with every kind of key. The routes come from the table, so a new route is tested without a new line here.

use std::collections::BTreeMap;

use jobqueue_api::{Access, Scope, table};
use jobqueue_core::{Failure, Outcome};
use serde_json::{Value, json};

use crate::bench::Api;

/// In the names of the queue and the kind, and in the payload: what a key of another queue must never see.
const MARK: &str = "hidden-from-others";

/// An API with one of everything in the marked queue, and what its paths need.
struct Scene {
    api: Api,
    ids: BTreeMap<&'static str, String>,
    lease: String,
}

impl Scene {
    async fn set() -> Self {
        let api = Api::start().await;
        let job = json!({ "kind": MARK, "queue": MARK, "payload": { "text": MARK }, "max_attempts": 1 });
        let failed = api.enqueue(job.clone()).await;
        let lease = api.lease(MARK).await.unwrap();
        api.settle(json!({ "outcome": "discarded", "error": { "type": "boom", "message": MARK } }), &lease)
            .await
            .expect(200);
        while api.store.upkeep().count_dead_letters().await.unwrap() {}
        api.enqueue(job.clone()).await;
        let lease = api.lease(MARK).await.unwrap()["lease"].as_str().unwrap().to_owned();
        let waiting = api.enqueue(job.clone()).await;
        let schedule = json!({ "cron": "0 0 1 1 *", "start_at": "2100-01-01T00:00:00Z", "job": job });
        api.put(&format!("/v1/schedules/{MARK}"), &[], &schedule).await.expect(201);
        api.put(&format!("/v1/routes/{MARK}"), &[], &json!({ "position": 1, "kind": MARK }))
            .await
            .expect(201);
        let worker = api.register_worker(MARK, MARK).await;
        let redrive = json!({ "filter": { "queue": [MARK], "kind": ["no-such-kind"] } });
        let redrive = api.post("/v1/dead-letters/redrives", &redrive).await.expect(201);
        let group = api.get("/v1/dead-letters/groups").await.expect(200)["groups"][0]["group"]
            .as_str()
            .unwrap()
            .to_owned();
        let (key_id, _) = api.create_key(json!({ "name": MARK, "scopes": ["read"] })).await;
        let redrive = redrive["id"].as_str().unwrap().to_owned();
        let ids = [
            ("id", waiting),
            ("dead", failed),
            ("worker_id", worker),
            ("redrive_id", redrive),
            ("group", group),
            ("key_id", key_id),
        ];
        Self { api, ids: ids.into_iter().chain([("name", MARK.to_owned())]).collect(), lease }
    }

    fn path(&self, path: &str) -> String {
        let path = if path.contains("dead-letters") {
            path.replace("{id}", &self.ids["dead"])
        } else {
            path.to_owned()
        };
        self.ids.iter().fold(path, |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
    }

    /// A body that is valid and concerns the marked queue.
    fn body(&self, method: &str, path: &str) -> Value {
        let job = json!({ "kind": MARK, "queue": MARK });
        match (method, path) {
            ("POST", "/v1/jobs" | "/v1/routes/test") => job,
            (_, "/v1/jobs/batch") => json!({ "jobs": [job], "atomic": false }),
            (_, "/v1/jobs/cancel" | "/v1/jobs/retry" | "/v1/jobs/promote" | "/v1/jobs/delete") => {
                json!({ "ids": [self.ids["id"], self.ids["dead"]] })
            }
            ("PATCH", "/v1/jobs/{id}") => json!({ "priority": 1 }),
            (_, "/v1/leases") => json!({ "queues": [MARK] }),
            (_, "/v1/leases/heartbeat") => json!({ "leases": [{ "lease": self.lease }] }),
            (_, "/v1/leases/settle") => json!({ "items": [{ "lease": self.lease, "outcome": "completed" }] }),
            (_, "/v1/schedules/preview") => json!({ "cron": "0 0 1 1 *", "job": { "kind": "k" } }),
            ("PUT" | "PATCH", "/v1/schedules/{name}") => json!({ "cron": "0 1 1 1 *", "job": job }),
            (_, "/v1/routes/{name}") => json!({ "position": 2, "kind": MARK }),
            (_, "/v1/dead-letters/purge") => json!({ "filter": { "error_type": ["boom"] } }),
            (_, "/v1/dead-letters/redrives") => json!({ "filter": { "queue": [MARK] } }),
            (_, "/v1/workers/commands") => json!({ "filter": { "name": MARK }, "command": "ping" }),
            (_, "/v1/workers/{worker_id}/commands") => json!({ "command": "ping" }),
            ("POST", "/v1/api-keys") => json!({ "name": "more", "scopes": ["read"] }),
            _ => json!({}),
        }
    }

    async fn send(&self, route: &jobqueue_api::Route, key: &str) -> crate::client::Answer {
        let mut headers = vec![format!("Authorization: Bearer {key}")];
        let body = if route.accepts.body_bytes.is_some() {
            self.body(route.method, route.path).to_string()
        } else {
            String::new()
        };
        if !body.is_empty() {
            headers.push("Content-Type: application/json".to_owned());
        }
        self.api.raw(route.method, &self.path(route.path), &headers, body.as_bytes()).await
    }
}

fn guarded() -> Vec<(jobqueue_api::Route, Scope)> {
    let needs = |route: jobqueue_api::Route| match route.access {
        Access::Needs(scope) => Some((route, scope)),
        Access::Public => None,
    };
    table().into_iter().filter_map(needs).collect()
}

#[tokio::test]
async fn no_route_accepts_a_key_that_does_not_hold_or_has_another_scope() {
    let scene = Scene::set().await;
    let api = &scene.api;
    let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let without = |scope: Scope| all.iter().filter(|name| **name != scope.as_str()).collect::<Vec<_>>();
    let mut wrong = Vec::new();
    for scope in Scope::ALL {
        let body = json!({ "name": format!("not-{}", scope.as_str()), "scopes": without(*scope) });
        wrong.push((*scope, api.create_key(body).await.1));
    }
    let (revoked_id, revoked) = api.create_key(json!({ "name": "revoked", "scopes": all })).await;
    api.send("DELETE", &format!("/v1/api-keys/{revoked_id}"), &[], b"").await.expect(200);
    let (rotated_id, rotated) = api.create_key(json!({ "name": "rotated", "scopes": all })).await;
    api.post(&format!("/v1/api-keys/{rotated_id}/rotate"), &json!({ "overlap_seconds": 0 }))
        .await
        .expect(200);
    let (_, expired) = api
        .create_key(json!({ "name": "expired", "scopes": all, "expires_at": "2020-01-01T00:00:00Z" }))
        .await;
    let before = api.db.dump().await;
    for (route, scope) in guarded() {
        let place = format!("{} {}", route.method, route.path);
        for (what, key) in [("revoked", &revoked), ("rotated", &rotated), ("expired", &expired)] {
            assert_eq!(
                scene.send(&route, key).await.problem(401),
                "unauthorized",
                "{place} with a key that is {what}"
            );
        }
        let (_, other) = wrong.iter().find(|(missing, _)| *missing == scope).unwrap();
        assert_eq!(
            scene.send(&route, other).await.problem(403),
            "forbidden",
            "{place} without {}",
            scope.as_str()
        );
    }
    assert_eq!(lasting(&api.db.dump().await), lasting(&before), "something was changed");
}

#[tokio::test]
async fn no_route_shows_or_changes_what_a_key_of_another_queue_or_kind_does_not_include() {
    let scene = Scene::set().await;
    let api = &scene.api;
    let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let (_, by_queue) =
        api.create_key(json!({ "name": "by-queue", "scopes": all, "queues": ["other", "other-*"] })).await;
    let (_, by_kind) =
        api.create_key(json!({ "name": "by-kind", "scopes": all, "kinds": ["other", "other-*"] })).await;
    let before = api.db.dump().await;
    for (route, _) in guarded() {
        for key in [&by_queue, &by_kind] {
            let answer = scene.send(&route, key).await;
            let place = format!("{} {}: {answer:?}", route.method, route.path);
            let is_list = answer.status == 200;
            assert!(is_list || [403, 404].contains(&answer.status), "{place}");
            if is_list {
                assert!(!answer.text.contains(MARK), "{place}");
                assert!(
                    !scene
                        .ids
                        .iter()
                        .any(|(name, id)| ["dead", "worker_id", "group", "key_id"].contains(name)
                            && answer.text.contains(id.as_str())
                            && !answer.text.contains("not-found")),
                    "{place}"
                );
            }
        }
    }
    assert_eq!(lasting(&api.db.dump().await), lasting(&before), "something was changed");
}

#[tokio::test]
async fn a_key_of_the_right_queue_works_on_every_route_of_it() {
    let scene = Scene::set().await;
    let api = &scene.api;
    let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let (_, key) =
        api.create_key(json!({ "name": "right", "scopes": all, "queues": ["hidden-from-*"] })).await;
    let of_everything = [
        "/v1/routes",
        "/v1/kinds",
        "/v1/workers/commands",
        "/v1/dead-letters/groups",
        "/v1/api-keys",
        "/v1/audit",
    ];
    let mut served = 0;
    // what deletes comes last
    let mut routes = guarded();
    routes.sort_by_key(|(route, _)| {
        (
            route.method == "DELETE" || route.path.ends_with("/purge") || route.path.ends_with("/delete"),
            route.path.len(),
        )
    });
    for (route, _) in routes {
        if of_everything.iter().any(|path| route.path.starts_with(path)) {
            continue;
        }
        let answer = scene.send(&route, &key).await;
        assert!(![401, 403].contains(&answer.status), "{} {}: {answer:?}", route.method, route.path);
        served += 1;
    }
    assert!(served > 40, "{served}");
    let narrow = api
        .raw(
            "GET",
            &format!("/v1/dead-letters/groups?queue={MARK}"),
            &[format!("Authorization: Bearer {key}")],
            b"",
        )
        .await;
    narrow.expect(200);
}

#[tokio::test]
async fn the_holder_of_a_unique_key_in_another_queue_is_not_shown_or_replaced() {
    let api = Api::start().await;
    let unique = |conflict: &str| json!({ "key": "k1", "scope": "global", "on_conflict": conflict });
    let holder = api
        .enqueue(json!({ "kind": MARK, "queue": MARK, "payload": MARK, "unique": unique("return") }))
        .await;
    let (_, key) = api.create_key(json!({ "name": "a", "scopes": ["write"], "queues": ["other"] })).await;
    let headers = [format!("Authorization: Bearer {key}"), "Content-Type: application/json".to_owned()];
    let submit =
        async |path: &str, body: Value| api.raw("POST", path, &headers, body.to_string().as_bytes()).await;
    let job = |conflict: &str| json!({ "kind": "k", "queue": "other", "unique": unique(conflict) });
    for conflict in ["return", "replace", "reject"] {
        assert_eq!(submit("/v1/jobs", job(conflict)).await.problem(403), "forbidden");
        let batch = json!({ "jobs": [job(conflict)], "atomic": false });
        assert_eq!(submit("/v1/jobs/batch", batch).await.problem(403), "forbidden");
    }
    let webhook = json!({ "url": "https://x.example", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "queue": MARK });
    assert_eq!(
        submit("/v1/jobs", json!({ "kind": "k", "queue": "other", "on_end": webhook })).await.problem(403),
        "forbidden"
    );
    assert_eq!(api.status(&holder).await, "queued");
    // a route decides the queue, and the key is compared with its decision
    api.put("/v1/routes/r", &[], &json!({ "position": 1, "kind": "routed", "queue": MARK }))
        .await
        .expect(201);
    assert_eq!(submit("/v1/jobs", json!({ "kind": "routed" })).await.problem(403), "forbidden");
    api.put("/v1/routes/r", &[], &json!({ "position": 1, "kind": "routed", "queue": "other" }))
        .await
        .expect(200);
    submit("/v1/jobs", json!({ "kind": "routed" })).await.expect(201);
}

#[tokio::test]
async fn a_failed_job_of_another_kind_stays_out_of_a_search() {
    let api = Api::start().await;
    api.ended(Outcome::Discarded(Failure::new("boom", "x"))).await;
    let (_, key) = api.create_key(json!({ "name": "a", "scopes": ["read"], "kinds": ["k?"] })).await;
    let headers = [format!("Authorization: Bearer {key}")];
    for (path, member) in [("/v1/jobs", "jobs"), ("/v1/dead-letters", "dead_letters")] {
        for query in ["", "?kind=k", "?queue=q"] {
            let page = api.raw("GET", &format!("{path}{query}"), &headers, b"").await.expect(200);
            assert_eq!(page[member], json!([]), "{path}{query}");
        }
    }
    assert_eq!(api.raw("GET", "/v1/jobs/count", &headers, b"").await.expect(200)["count"], 0);
    assert_eq!(api.raw("GET", "/v1/stats?kind=k", &headers, b"").await.problem(403), "forbidden");
}

/// The rows of tables that only a change by a user changes.
fn lasting(dump: &str) -> Vec<String> {
    let tables = [
        "body",
        "ready",
        "outcome",
        "queue",
        "kind",
        "schedule",
        "route",
        "redrive",
        "worker_command",
        "lease",
        "dead_letter",
        "api_key_version",
    ];
    let mut rows = Vec::new();
    let mut is_kept = false;
    for line in dump.lines() {
        if let Some(rest) = line.strip_prefix("INSERT INTO jobqueue.") {
            let name = rest.split(' ').next().unwrap();
            let is_part = |table: &&str| name == *table || name.starts_with(&format!("{table}_2"));
            is_kept = tables.iter().any(is_part);
        } else if is_kept {
            rows.push(line.trim_end_matches([',', ';']).to_owned());
        }
        is_kept &= !line.ends_with(';');
    }
    rows.sort();
    assert!(rows.len() > 12, "the dump has rows of tables: {rows:?}");
    rows
}
