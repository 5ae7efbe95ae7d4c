//! Authentication: every route rejects requests without a valid key.

use jobqueue_api::{Access, Settings, table};

use crate::bench::{Api, KEY};

const BAD: [&str; 9] = [
    "X-Nothing: at all",
    "Authorization: Bearer wrong-key-wrong-key-wrong-key-wrong-key",
    "Authorization: Bearer",
    "Authorization: Bearer ",
    "Authorization: test-key-test-key-test-key-test-key",
    "Authorization: Basic dGVzdDp0ZXN0",
    "Authorization: Bearer test-key-test-key-test-key-test-ke",
    "Authorization: Bearer test-key-test-key-test-key-test-keyx",
    "Authorization: Bearer test-key-test-key-test-key-test-key\r\nAuthorization: Bearer test-key-test-key-test-key-test-key",
];

#[tokio::test]
async fn no_route_accepts_a_request_without_a_valid_key() {
    let api = Api::start().await;
    let mut guarded = 0;
    for route in table() {
        let path = route.path.replace("{id}", "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6").replace("{name}", "q");
        let other = "0198c1a2-3b4c-4d5e-8f60-718293a4b5c6";
        let path = path
            .replace("{worker_id}", other)
            .replace("{group}", other)
            .replace("{redrive_id}", other)
            .replace("{key_id}", "0123456789abcdef");
        if route.access == Access::Public {
            assert!(!path.starts_with("/v1/"), "{path} is public");
            let answer = api.raw(route.method, &path, &[], b"").await;
            assert_eq!(answer.status, 200, "{path} is public: {answer:?}");
            continue;
        }
        guarded += 1;
        for header in BAD {
            let answer = api.raw(route.method, &path, &[header.to_owned()], b"").await;
            assert_eq!(answer.problem(401), "unauthorized", "{} {path} with {header:?}", route.method);
            assert!(
                answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")),
                "{answer:?}"
            );
        }
        let in_the_url =
            api.raw(route.method, &format!("{path}?api_key={KEY}&access_token={KEY}"), &[], b"").await;
        assert_eq!(in_the_url.problem(401), "unauthorized", "{} {path}", route.method);
        let good = api.raw(route.method, &path, &[format!("authorization: bearer {KEY}")], b"").await;
        assert_ne!(good.status, 401, "{} {path}", route.method);
    }
    assert!(guarded >= 22, "{guarded} routes need a key");
}

#[tokio::test]
async fn with_insecure_every_route_accepts_requests_without_a_key() {
    let api = Api::with(Settings::new(None)).await;
    assert_eq!(api.raw("GET", "/v1/jobs", &[], b"").await.status, 200);
}
