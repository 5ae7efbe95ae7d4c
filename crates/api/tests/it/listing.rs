//! Pages, filters and cursors.

use serde_json::{Value, json};

use crate::bench::Api;

async fn ids(api: &Api, query: &str) -> Vec<String> {
    let page = api.get(&format!("/v1/jobs?{query}")).await.expect(200);
    page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_cursor_returns_every_job_once_while_jobs_are_added() {
    let api = Api::start().await;
    let mut stored = Vec::new();
    for _ in 0..7 {
        stored.insert(0, api.enqueue_in("q").await);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/jobs?limit=3{cursor}")).await.expect(200);
        seen.extend(
            page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        api.enqueue_in("q").await;
        match &page["next_cursor"] {
            Value::Null => break,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
    }
    assert_eq!(seen, stored);
}

#[tokio::test]
async fn a_forged_cursor_is_rejected() {
    let api = Api::start().await;
    for _ in 0..2 {
        api.enqueue_in("q").await;
    }
    let page = api.get("/v1/jobs?limit=1").await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let flipped = cursor.replacen(|c: char| c != 'A', "A", 1);
    let long = format!("{cursor}{cursor}");
    for forged in
        ["", "x", "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6", "AAAA", "%00", &cursor[1..], &flipped, &long]
    {
        let answer = api.get(&format!("/v1/jobs?cursor={forged}")).await;
        assert_eq!(answer.problem(400), "invalid-cursor", "{forged}");
    }
    let twice = api.get(&format!("/v1/jobs?cursor={cursor}&cursor={cursor}")).await;
    assert_eq!(twice.problem(400), "invalid-query");
}

#[tokio::test]
async fn filters_select_matching_jobs() {
    let api = Api::start().await;
    let a = api.enqueue(json!({ "kind": "a", "queue": "x", "tags": ["t", "é 😀"] })).await;
    let b = api.enqueue(json!({ "kind": "b", "queue": "y", "tags": ["t"] })).await;
    let c = api.enqueue(json!({ "kind": "c", "queue": "x", "delay_seconds": 60 })).await;
    assert_eq!(ids(&api, "").await, [c.clone(), b.clone(), a.clone()]);
    assert_eq!(ids(&api, "status=scheduled").await, std::slice::from_ref(&c));
    assert_eq!(ids(&api, "status=scheduled&status=queued&queue=x").await, [c.clone(), a.clone()]);
    assert_eq!(ids(&api, "kind=a&kind=b").await, [b.clone(), a.clone()]);
    assert_eq!(ids(&api, "tag=t&tag=%C3%A9%20%F0%9F%98%80").await, std::slice::from_ref(&a));
    assert!(ids(&api, "kind=unknown").await.is_empty());
    let created =
        api.get(&format!("/v1/jobs/{b}")).await.expect(200)["created_at"].as_str().unwrap().to_owned();
    assert!(ids(&api, &format!("created_after={created}")).await.contains(&b));
    assert!(!ids(&api, &format!("created_before={created}")).await.contains(&b));
    assert!(ids(&api, "created_after=2099-01-01T00:00:00%2B01:00").await.is_empty());
}

#[tokio::test]
async fn a_page_of_large_jobs_ends_early_and_its_cursor_continues() {
    let api = Api::start().await;
    let mut stored = Vec::new();
    for _ in 0..60 {
        stored.insert(0, api.enqueue_in("q").await);
    }
    for _ in 0..6 {
        let large = json!({ "kind": "k", "queue": "q", "payload": "x".repeat(1_000_000) });
        stored.insert(0, api.enqueue(large).await);
    }
    let first = api.get("/v1/jobs?limit=1000").await;
    let page = first.expect(200);
    assert_eq!(page["jobs"].as_array().unwrap().len(), 4, "a fifth would exceed 4 MiB");
    assert!(first.text.len() <= 4 * 1024 * 1024, "{}", first.text.len());
    let mut seen = Vec::new();
    let mut page = page;
    loop {
        seen.extend(
            page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        page = api.get(&format!("/v1/jobs?limit=1000&cursor={cursor}")).await.expect(200);
    }
    assert_eq!(seen, stored);
}
