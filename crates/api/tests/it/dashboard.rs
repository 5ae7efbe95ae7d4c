//! The dashboard's page and sign-in: the cookie holds the key, counts only for requests of the page, and other sites can do nothing with it.

use jobqueue_api::{Access, Settings, table};
use serde_json::{Value, json};

use crate::bench::{Api, KEY};
use crate::client::Answer;

const JSON: &str = "Content-Type: application/json";

/// Signs in as a browser does, and returns the header with the cookie.
async fn sign_in(api: &Api, headers: &[&str]) -> (Answer, String) {
    let mut all = vec![JSON.to_owned()];
    all.extend(headers.iter().map(ToString::to_string));
    let answer = api.raw("POST", "/ui/session", &all, json!({ "key": KEY }).to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap_or_default().to_owned();
    let pair = cookie.split(';').next().unwrap_or_default().to_owned();
    (answer, format!("Cookie: {pair}"))
}

async fn send(api: &Api, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
    api.raw(method, path, &headers, body.as_bytes()).await
}

#[tokio::test]
async fn a_browser_signs_in_and_out() {
    let api = Api::start().await;
    let before = send(&api, "GET", "/ui/session", &[], "").await.expect(200);
    assert_eq!((&before["authenticated"], &before["key_required"]), (&json!(false), &json!(true)));
    assert_eq!((&before["scopes"], &before["name"]), (&json!([]), &Value::Null));
    let (answer, cookie) = sign_in(&api, &[]).await;
    assert_eq!(answer.json()["scopes"], json!(["read", "write", "admin", "worker"]));
    assert!(!answer.text.contains(KEY), "the key is not sent back");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let set = answer.header("set-cookie").unwrap();
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{set}");
    let shown = send(&api, "GET", "/ui/session", &[&cookie], "").await.expect(200);
    assert_eq!((&shown["authenticated"], &shown["name"]), (&json!(true), &json!("root")));
    assert_eq!((&before["limited"], &shown["limited"]), (&json!(false), &json!(false)));
    for (name, limit) in [("by-queue", "queues"), ("by-kind", "kinds")] {
        let (_, key) = api.create_key(json!({ "name": name, "scopes": ["read"], limit: ["mail"] })).await;
        let bearer = format!("Authorization: Bearer {key}");
        let limited = api.raw("GET", "/ui/session", &[bearer], b"").await.expect(200);
        assert_eq!(limited["limited"], true, "{limited}");
    }
    let out = send(&api, "DELETE", "/ui/session", &[&cookie], "").await;
    assert!(out.header("set-cookie").unwrap().ends_with("; Max-Age=0"), "{out:?}");
    assert_eq!(out.expect(200)["authenticated"], false);

    let (secure, _) = sign_in(&api, &["X-Forwarded-Proto: https", "X-Forwarded-Prefix: /team"]).await;
    let set = secure.header("set-cookie").unwrap();
    assert!(set.ends_with("; Path=/team; HttpOnly; SameSite=Strict; Secure"), "{set}");
}

#[tokio::test]
async fn bad_requests_to_sign_in_set_no_cookie() {
    let api = Api::start().await;
    for (body, status) in [
        (json!({ "key": "wrong" }).to_string(), 401),
        (json!({ "key": "" }).to_string(), 401),
        (json!({ "key": "é\u{0}" }).to_string(), 401),
        (json!({}).to_string(), 422),
        (json!({ "key": KEY, "other": 1 }).to_string(), 422),
        (json!({ "key": "k".repeat(10_000) }).to_string(), 413),
        ("{".to_owned(), 400),
    ] {
        let answer = send(&api, "POST", "/ui/session", &[JSON], &body).await;
        answer.problem(status);
        assert_eq!(answer.header("set-cookie"), None, "{body}");
    }
    send(&api, "GET", "/ui/session?key=x", &[], "").await.problem(400);
    send(&api, "PATCH", "/ui/session", &[], "").await.problem(405);
}

#[tokio::test]
async fn the_cookie_opens_every_route_to_the_page_and_none_to_other_sites() {
    let api = Api::start().await;
    let (_, cookie) = sign_in(&api, &[]).await;
    let mut writes = 0;
    for route in table().into_iter().filter(|route| route.access != Access::Public) {
        let path = route.path.replace("{id}", "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6").replace("{name}", "q");
        let other = "0198c1a2-3b4c-4d5e-8f60-718293a4b5c6";
        let path =
            path.replace("{worker_id}", other).replace("{group}", other).replace("{redrive_id}", other);
        let own = ["Sec-Fetch-Site: same-origin", "X-Jobqueue-Dashboard: 1", &cookie];
        let page = send(&api, route.method, &path, &own, "").await;
        assert!(![401, 403].contains(&page.status), "{} {path}: {page:?}", route.method);
        for site in ["cross-site", "same-site"] {
            let site = format!("Sec-Fetch-Site: {site}");
            let answer =
                send(&api, route.method, &path, &[&site, "X-Jobqueue-Dashboard: 1", &cookie], "").await;
            assert_eq!(answer.problem(403), "forbidden", "{} {path}", route.method);
        }
        if route.method != "GET" {
            writes += 1;
            for headers in [vec![], vec!["Sec-Fetch-Site: same-origin"]] {
                let headers = [headers, vec![cookie.as_str()]].concat();
                let answer = send(&api, route.method, &path, &headers, "").await;
                assert_eq!(answer.problem(403), "forbidden", "{} {path} {headers:?}", route.method);
            }
        }
    }
    assert!(writes > 20, "{writes} routes write");
}

#[tokio::test]
async fn a_wrong_cookie_or_a_wrong_header_beside_a_right_cookie_is_refused() {
    let api = Api::start().await;
    let (_, cookie) = sign_in(&api, &[]).await;
    assert_eq!(send(&api, "GET", "/v1/jobs", &[&cookie], "").await.status, 200);
    for headers in [
        vec!["Cookie: jobqueue_session=d3Jvbmc"],
        vec!["Cookie: jobqueue_session=*"],
        vec!["Authorization: Bearer wrong", &cookie],
        vec!["Authorization: Basic dGVzdDp0ZXN0", &cookie],
    ] {
        assert_eq!(
            send(&api, "GET", "/v1/jobs", &headers, "").await.problem(401),
            "unauthorized",
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn other_sites_cannot_change_anything_even_without_a_key() {
    let api = Api::with(Settings::new(None)).await;
    let session = send(&api, "GET", "/ui/session", &[], "").await.expect(200);
    assert_eq!((&session["authenticated"], &session["key_required"]), (&json!(true), &json!(false)));
    let (answer, _) = sign_in(&api, &[]).await;
    assert_eq!(answer.header("set-cookie"), None, "there is nothing to keep");
    for headers in
        [vec!["Sec-Fetch-Site: cross-site"], vec!["Origin: http://evil.example"], vec!["Origin: null"]]
    {
        let answer = send(&api, "POST", "/v1/queues/q/pause", &headers, "").await;
        assert_eq!(answer.problem(403), "forbidden", "{headers:?}");
    }
    for headers in [vec![], vec!["Origin: http://test"], vec!["Sec-Fetch-Site: same-origin"]] {
        let answer = send(&api, "POST", "/v1/queues/q/pause", &headers, "").await;
        assert_eq!(answer.problem(404), "not-found", "{headers:?}");
    }
}

#[tokio::test]
async fn the_page_is_served_with_a_strict_policy_and_needs_no_key() {
    let api = Api::start().await;
    for path in ["/ui/", "/ui/jobs/0198c1a2-3b4c-7d5e-8f60-718293a4b5c6"] {
        let page = send(&api, "GET", path, &[], "").await;
        assert_eq!(page.status, 200);
        let policy = page.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(page.text.contains("<base href=\""), "{page:?}");
    }
    assert_eq!(send(&api, "GET", "/ui/assets/missing.js", &[], "").await.problem(404), "not-found");
    assert_eq!(send(&api, "GET", "/ui", &[], "").await.header("location"), Some("ui/"));
    send(&api, "POST", "/ui/jobs", &[], "").await.problem(405);
}
