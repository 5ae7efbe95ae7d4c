//! API keys over REST: their life, what is stored of them, and what their holders may do.

use std::time::Duration;

use jobqueue_api::{ApiState, ProxySettings, Settings, router};
use jobqueue_runtime::{HttpLimits, http};
use jobqueue_store::Store;
use jobqueue_testkit::{Clock, eventually};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::bench::{Api, KEY, options, settings};
use crate::client::{Answer, HANG, exchange};

const EVERYTHING: [&str; 4] = ["read", "write", "admin", "worker"];

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}")
}

/// Sends a request with a key, again until the answer is as expected: another process applies a change within two seconds.
async fn until(api: &Api, key: &str, status: u16) -> Answer {
    eventually(HANG, "the change is applied", async || {
        let answer = api.raw("GET", "/v1/jobs", &[bearer(key)], b"").await;
        if answer.status == status { Ok(answer) } else { Err(answer.status) }
    })
    .await
}

/// Another process on the same database.
async fn replica(api: &Api) -> Api {
    let store = Store::connect_lazy(&options(api.db.url())).unwrap();
    let (shutdown, registry) = (api.shutdown.clone(), Registry::new());
    let state = ApiState::start(&store, &settings(), &shutdown, &registry).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let limits = HttpLimits { refuse: jobqueue_api::refuse, ..HttpLimits::default() };
    shutdown.spawn(http::serve(listener, router(state), limits, shutdown.clone()));
    Api { db: jobqueue_testkit::TestDb::new().await, store, addr, registry, shutdown }
}

#[tokio::test]
async fn a_key_is_shown_once_and_only_its_hash_is_stored() {
    let api = Api::start().await;
    let body = json!({ "name": "shop", "scopes": ["write", "read"], "queues": ["mail-*"], "description": "the shop" });
    let answer = api.keyed("/v1/api-keys", "once", &body).await;
    let created = answer.expect(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let (id, text) = (created["id"].as_str().unwrap(), created["key"].as_str().unwrap());
    assert!(text.starts_with(&format!("jq_{id}_")) && text.len() == 93, "{text}");
    assert_eq!(answer.header("location"), Some(&*format!("/v1/api-keys/{id}")));
    assert_eq!((&created["created_by"], &created["last_used_at"]), (&json!("root"), &Value::Null));
    // a repeated request cannot show it again, because it is stored nowhere
    assert_eq!(api.keyed("/v1/api-keys", "once", &body).await.problem(409), "name-taken");
    until(&api, text, 200).await;

    let shown = api.get(&format!("/v1/api-keys/{id}")).await.expect(200);
    let listed = api.get("/v1/api-keys").await.expect(200);
    assert_eq!(listed["api_keys"][0]["name"], "shop");
    let rotated = api.post(&format!("/v1/api-keys/{id}/rotate"), &json!({})).await.expect(200);
    let newer = rotated["key"].as_str().unwrap();
    let dump = api.db.dump().await;
    assert!(dump.contains(id) && dump.contains("the shop"), "the dump has the keys");
    for text in [text, newer] {
        let secret = text.split('_').nth(2).unwrap();
        for place in [&shown.to_string(), &listed.to_string(), &dump] {
            assert!(!place.contains(secret), "the secret is in {place}");
        }
    }
}

#[tokio::test]
async fn a_key_ends_when_it_is_rotated_revoked_or_expired_at_every_process() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    let other = replica(&api).await;
    let (id, first) = api.create_key(json!({ "name": "a", "scopes": ["read"] })).await;
    until(&other, &first, 200).await;

    let path = format!("/v1/api-keys/{id}");
    let rotate = async |seconds: u32| {
        let answer =
            api.post(&format!("{path}/rotate"), &json!({ "overlap_seconds": seconds })).await.expect(200);
        answer["key"].as_str().unwrap().to_owned()
    };
    let second = rotate(3600).await;
    until(&other, &second, 200).await;
    until(&api, &first, 200).await;
    let third = rotate(0).await;
    until(&other, &third, 200).await;
    for gone in [&first, &second] {
        until(&api, gone, 401).await;
        until(&other, gone, 401).await;
    }

    api.send("DELETE", &path, &[], b"").await.expect(200);
    assert_eq!(until(&api, &third, 401).await.problem(401), "unauthorized");
    until(&other, &third, 401).await;
    assert!(api.send("DELETE", &path, &[], b"").await.expect(200)["revoked_at"].is_string());
    assert_eq!(api.post(&format!("{path}/rotate"), &json!({})).await.problem(404), "not-found");
    assert_eq!(api.get("/v1/api-keys").await.expect(200)["api_keys"], json!([]));
    assert_eq!(api.get("/v1/api-keys?revoked=true").await.expect(200)["api_keys"][0]["id"], id.as_str());

    let (_, short) = api
        .create_key(json!({ "name": "a", "scopes": ["read"], "expires_at": "2100-01-01T00:00:00Z" }))
        .await;
    until(&api, &short, 200).await;
    clock.advance(Duration::from_hours(100 * 366 * 24));
    until(&api, &short, 401).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked() {
    let api = Api::start().await;
    let (id, key) = api.create_key(json!({ "name": "a", "scopes": ["read"] })).await;
    until(&api, &key, 200).await;
    let request =
        format!("GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n\r\n", bearer(&key));
    let mut stream = tokio::net::TcpStream::connect(api.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    api.send("DELETE", &format!("/v1/api-keys/{id}"), &[], b"").await.expect(200);
    let mut rest = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
    tokio::time::timeout(HANG, end).await.expect("the stream did not end").unwrap();
}

#[tokio::test]
async fn the_use_of_a_key_is_written_once_a_minute() {
    let clock = Clock::new();
    let api = Api::with_clock(&clock).await;
    let (id, key) = api.create_key(json!({ "name": "a", "scopes": ["read"] })).await;
    until(&api, &key, 200).await;
    let used = async || api.get(&format!("/v1/api-keys/{id}")).await.expect(200)["last_used_at"].clone();
    let first = eventually(HANG, "the use is written", async || {
        Some(used().await).filter(Value::is_string).ok_or("not written")
    })
    .await;
    // what other processes report within the minute changes nothing
    api.store.api_keys().used(&[id.parse().unwrap()]).await.unwrap();
    assert_eq!(used().await, first);
    clock.advance(Duration::from_mins(2));
    api.store.api_keys().used(&[id.parse().unwrap()]).await.unwrap();
    assert_ne!(used().await, first);
    assert_eq!(api.get(&format!("/v1/api-keys/{id}")).await.expect(200)["version"], 1, "a use is no change");
}

#[tokio::test]
async fn a_rate_is_a_bucket_with_headers() {
    let api = Api::start().await;
    let rate = json!({ "requests": 3, "per_seconds": 86_400 });
    let (_, key) = api.create_key(json!({ "name": "slow", "scopes": ["read"], "rate": rate })).await;
    for left in [2, 1, 0] {
        // requests without the scope count, too
        let path = if left == 1 { "/v1/api-keys" } else { "/v1/jobs" };
        let answer = api.raw("GET", path, &[bearer(&key)], b"").await;
        assert_eq!(answer.status, if left == 1 { 403 } else { 200 }, "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"key\";q=3;w=86400"));
        assert!(
            answer.header("ratelimit").unwrap().starts_with(&format!("\"key\";r={left};t=")),
            "{answer:?}"
        );
    }
    let refused = api.raw("GET", "/v1/jobs", &[bearer(&key)], b"").await;
    assert_eq!(refused.problem(429), "rate-limited");
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((28_000..=28_800).contains(&wait), "{wait}");
    assert!(refused.header("ratelimit").unwrap().starts_with("\"key\";r=0;t="), "{refused:?}");
    assert_eq!(api.raw("GET", "/ui/session", &[bearer(&key)], b"").await.problem(429), "rate-limited");
    assert_eq!(api.get("/v1/jobs").await.header("ratelimit"), None, "the root key has no rate");
}

#[tokio::test]
async fn a_key_never_grants_more_than_the_key_that_sets_it() {
    let api = Api::start().await;
    let team = json!({ "name": "team", "scopes": ["read", "admin"], "queues": ["mail-*"], "hide": ["/card"],
        "rate": { "requests": 1000, "per_seconds": 60 }, "expires_at": "2100-01-01T00:00:00Z" });
    let (own, key) = api.create_key(team).await;
    let (foreign, _) = api.create_key(json!({ "name": "foreign", "scopes": ["read"] })).await;
    let as_team = async |method: &str, path: &str, body: Value| {
        let headers = [bearer(&key), "Content-Type: application/json".to_owned()];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        api.raw(method, path, &headers[..if body.is_empty() { 1 } else { 2 }], body.as_bytes()).await
    };
    let child = |change: Value| {
        let mut child = json!({ "name": "child", "scopes": ["read"], "queues": ["mail-eu"], "hide": ["/card"],
            "rate": { "requests": 10, "per_seconds": 60 }, "expires_at": "2099-01-01T00:00:00Z" });
        child.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        child
    };
    for (change, path) in [
        (json!({ "scopes": ["write"] }), "scope"),
        (json!({ "queues": ["*"] }), "all queues"),
        (json!({ "queues": ["mail*"] }), "a wider pattern"),
        (json!({ "queues": null }), "all queues by default"),
        (json!({ "hide": [] }), "sees more"),
        (json!({ "rate": null }), "no rate"),
        (json!({ "rate": { "requests": 2000, "per_seconds": 600 } }), "a larger burst"),
        (json!({ "expires_at": null }), "no expiry"),
        (json!({ "expires_at": "2100-01-02T00:00:00Z" }), "a later expiry"),
    ] {
        assert_eq!(as_team("POST", "/v1/api-keys", child(change)).await.problem(403), "forbidden", "{path}");
    }
    let made = as_team("POST", "/v1/api-keys", child(json!({}))).await.expect(201);
    assert_eq!(made["created_by"], format!("key:{own}"));
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    assert_eq!(as_team("PATCH", &path, json!({ "queues": ["*"] })).await.problem(403), "forbidden");
    assert_eq!(
        as_team("PATCH", &format!("/v1/api-keys/{own}"), json!({ "hide": null })).await.problem(403),
        "forbidden"
    );
    as_team("PATCH", &path, json!({ "description": "ours" })).await.expect(200);
    // what it could not have created does not exist for it
    for (method, end, body) in [
        ("GET", "", Value::Null),
        ("DELETE", "", Value::Null),
        ("PATCH", "", json!({ "name": "x" })),
        ("POST", "/rotate", json!({})),
    ] {
        assert_eq!(
            as_team(method, &format!("/v1/api-keys/{foreign}{end}"), body).await.problem(404),
            "not-found"
        );
    }
    let names: Vec<Value> = as_team("GET", "/v1/api-keys", Value::Null).await.expect(200)["api_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["name"].clone())
        .collect();
    assert_eq!(names, ["child", "team"]);
    as_team("DELETE", &path, Value::Null).await.expect(200);
}

#[tokio::test]
async fn invalid_keys_are_refused_with_every_error_and_pages_follow_each_other() {
    let api = Api::start().await;
    let wrong = json!({ "name": "x", "scopes": ["root"], "queues": ["a b"], "hide": ["/a~"], "rate": { "requests": 0, "per_seconds": 1 }, "description": "" });
    let answer = api.post("/v1/api-keys", &wrong).await;
    assert_eq!(answer.problem(422), "invalid-body");
    assert_eq!(answer.pointers(), ["/scopes/0", "/queues/0", "/hide/0", "/rate/requests", "/description"]);
    for name in ["root", "anyone", "", "a b"] {
        assert_eq!(
            api.post("/v1/api-keys", &json!({ "name": name, "scopes": ["read"] })).await.pointers(),
            ["/name"]
        );
    }
    for name in ["c", "a", "b"] {
        api.create_key(json!({ "name": name, "scopes": ["read"] })).await;
    }
    let mut path = "/v1/api-keys?limit=2".to_owned();
    let mut names = Vec::new();
    loop {
        let page = api.get(&path).await.expect(200);
        names.extend(
            page["api_keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/api-keys?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(api.get("/v1/api-keys?cursor=x").await.problem(400), "invalid-cursor");
    let (id, _) = api.create_key(json!({ "name": "d", "scopes": ["read"] })).await;
    assert_eq!(
        api.send(
            "PATCH",
            &format!("/v1/api-keys/{id}"),
            &["Content-Type: application/json"],
            br#"{"name":"a"}"#
        )
        .await
        .problem(409),
        "name-taken"
    );
    assert_eq!(api.get("/v1/api-keys/xyz").await.problem(400), "invalid-path");
}

#[tokio::test]
async fn hostile_headers_are_refused() {
    let api = Api::start().await;
    let (id, key) = api.create_key(json!({ "name": "a", "scopes": EVERYTHING })).await;
    until(&api, &key, 200).await;
    let secret = key.split('_').nth(2).unwrap();
    let flipped = if secret.starts_with('0') {
        key.replacen("_0", "_1", 1)
    } else {
        key.replacen(&secret[..1], "0", 1)
    };
    let long = "x".repeat(4000);
    for text in [
        flipped.as_str(),
        &key.to_uppercase(),
        &key[..key.len() - 1],
        &format!("{key}0"),
        &format!("{key} {key}"),
        &format!("jq_{id}_"),
        &format!("jq_{id}_{}_00000000", "0".repeat(64)),
        "jq_' OR 1=1 --_x_y",
        "jq___",
        "jq_é",
        &long,
        &KEY[1..],
    ] {
        let answer = api.raw("GET", "/v1/jobs", &[bearer(text)], b"").await;
        assert_eq!(answer.problem(401), "unauthorized", "{text}");
        assert!(!answer.text.contains(secret));
    }
    let both = [bearer(&key), bearer(KEY)];
    assert_eq!(api.raw("GET", "/v1/jobs", &both, b"").await.problem(401), "unauthorized", "two keys");
    let request =
        [b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"
            .as_slice()]
        .concat();
    assert!([400, 401].contains(&exchange(api.addr, &request).await.status));
}

#[tokio::test]
async fn what_a_key_hides_is_in_no_answer() {
    let api = Api::start().await;
    let job = json!({ "kind": "k", "queue": "q", "payload": { "user": { "email": "ada@example.com" }, "n": 1e30 }, "metadata": { "m": "visible" } });
    let id = api.enqueue(job).await;
    let lease = api.lease("q").await.unwrap();
    let beat = json!({ "leases": [{ "lease": lease["lease"], "log": "ada@example.com\n", "progress": { "at": "ada@example.com" } }] });
    api.post("/v1/leases/heartbeat", &beat).await.expect(200);
    let failed = json!({ "outcome": "discarded", "error": { "type": "boom", "message": "ada@example.com" } });
    api.settle(failed, &lease).await.expect(200);
    let hide = json!(["/user/email", "result", "log", "error", "progress"]);
    let (_, key) =
        api.create_key(json!({ "name": "support", "scopes": ["read", "write"], "hide": hide })).await;
    until(&api, &key, 200).await;
    let path = format!("/v1/jobs/{id}");
    let all = [
        "/v1/jobs",
        &path,
        &format!("{path}/attempts"),
        &format!("{path}/events"),
        "/v1/dead-letters",
        &format!("/v1/dead-letters/{id}"),
    ]
    .map(str::to_owned);
    for path in all {
        assert!(api.get(&path).await.text.contains("ada@example.com"), "{path}");
        let answer = api.raw("GET", &path, &[bearer(&key)], b"").await;
        answer.expect(200);
        assert!(
            !answer.text.contains("ada@example.com") && answer.text.contains("[hidden]"),
            "{path}: {}",
            answer.text
        );
    }
    let shown = api.raw("GET", &path, &[bearer(&key)], b"").await;
    assert!(shown.text.contains(r#""n":1e+30"#) && shown.text.contains("visible"), "{}", shown.text);
    let edit = api
        .raw(
            "POST",
            &format!("/v1/dead-letters/{id}/retry"),
            &[bearer(&key), "Content-Type: application/json".to_owned()],
            br#"{"payload":{}}"#,
        )
        .await;
    assert_eq!(edit.problem(403), "forbidden");
}

#[tokio::test]
async fn a_trusted_proxy_signs_people_in() {
    let proxy = ProxySettings {
        proxies: vec!["127.0.0.0/8".parse().unwrap()],
        grants: vec!["sre=read+write".parse().unwrap()],
        ..ProxySettings::default()
    };
    let api = Api::with(Settings { proxy, ..settings() }).await;
    let ask = async |method: &str, path: &str, headers: &[&str], body: &str| {
        let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
        api.raw(method, path, &headers, body.as_bytes()).await.status
    };
    let (ada, sre, json) =
        ("X-Auth-Request-User: ada", "X-Auth-Request-Groups: dev,sre", "Content-Type: application/json");
    let job = r#"{"kind":"k"}"#;
    assert_eq!(ask("GET", "/v1/jobs", &[ada, sre], "").await, 200);
    assert_eq!(ask("POST", "/v1/jobs", &[ada, sre, json], job).await, 201);
    for other in ["Authorization: Basic dGVzdDp0ZXN0", "Cookie: jobqueue_session=d3Jvbmc"] {
        assert_eq!(ask("GET", "/v1/jobs", &[ada, sre, other], "").await, 200, "{other} is no key");
    }
    assert_eq!(ask("POST", "/v1/jobs", &[ada, sre, json, "Sec-Fetch-Site: cross-site"], job).await, 403);
    assert_eq!(ask("GET", "/v1/api-keys", &[ada, sre], "").await, 403, "no admin");
    assert_eq!(ask("GET", "/v1/jobs", &[ada], "").await, 403, "no group");
    assert_eq!(ask("GET", "/v1/jobs", &[sre], "").await, 401, "no name");
    assert_eq!(ask("GET", "/v1/jobs", &[ada, ada, sre], "").await, 401, "two names");
    assert_eq!(
        ask("GET", "/v1/jobs", &[ada, sre, "Authorization: Bearer wrong"], "").await,
        401,
        "a wrong key counts"
    );

    let without = Api::start().await;
    let headers = [ada.to_owned(), sre.to_owned()];
    assert_eq!(without.raw("GET", "/v1/jobs", &headers, b"").await.problem(401), "unauthorized");
}
