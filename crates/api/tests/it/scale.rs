//! Many queues: bounded metrics, pages, and answers while the database is slow.

use std::collections::HashSet;

use jobqueue_testkit::{eventually, many_queues};

use crate::bench::Api;
use crate::client::HANG;

/// The values of the label `queue` of one metric.
fn queues_of<'a>(metrics: &'a str, name: &str) -> HashSet<&'a str> {
    let prefix = format!("{name}{{queue=\"");
    metrics.lines().filter_map(|line| line.strip_prefix(&prefix)?.split('"').next()).collect()
}

#[tokio::test]
async fn ten_thousand_queues_have_few_series_and_are_listed_in_pages() {
    let api = Api::start().await;
    api.db.hold(&many_queues(10_000)).await.commit().await.unwrap();
    assert!(api.store.take_census(30).await.unwrap());
    let metrics = api.get("/metrics").await;
    assert_eq!(metrics.status, 200, "{}", metrics.text);
    for name in ["job_created_total", "job_queue_depth", "job_queue_recommended_workers", "job_queue_paused"]
    {
        assert_eq!(queues_of(&metrics.text, name).len(), 31, "{name}: 30 queues, and the others as one");
    }
    assert!(metrics.text.contains("job_queue_depth{queue=\"_other\"} 19940\n"));
    for (path, list, name) in [("/v1/queues", "queues", "name"), ("/v1/stats", "queues", "queue")] {
        let first = api.get(path).await.expect(200);
        assert_eq!(first[list].as_array().unwrap().len(), 1000, "{path} is bounded by default");
        let (mut seen, mut cursor) = (HashSet::new(), String::new());
        loop {
            let page = api.get(&format!("{path}?limit=900{cursor}")).await.expect(200);
            for queue in page[list].as_array().unwrap() {
                assert!(seen.insert(queue[name].as_str().unwrap().to_owned()), "{path} tells a queue twice");
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 10_000, "{path}");
    }
    let stats = api.get("/v1/stats?limit=1").await.expect(200);
    assert_eq!(stats["total"]["queued"], 20_000, "the total is over all queues");
    for bad in ["limit=0", "limit=1001", "cursor=%00", "cursor=a%20b", "offset=1"] {
        for path in ["/v1/queues", "/v1/stats"] {
            api.get(&format!("{path}?{bad}")).await.problem(400);
        }
    }
}

#[tokio::test]
async fn a_scrape_returns_the_last_result_while_the_next_one_is_late() {
    let api = Api::start().await;
    api.enqueue_in("q").await;
    assert!(api.store.take_census(30).await.unwrap());
    let created = |text: &str, n: u32| text.contains(&format!("job_created_total{{queue=\"q\"}} {n}\n"));
    assert!(created(&api.get("/metrics").await.text, 1));
    api.enqueue_in("q").await;
    let lock = api.db.hold("LOCK TABLE jobqueue.counter IN ACCESS EXCLUSIVE MODE").await;
    eventually(HANG, "a reading waits for the lock", async || {
        let answer = api.get("/metrics").await;
        assert!(answer.status == 200 && created(&answer.text, 1), "{}", answer.text);
        let waits = api.db.sessions("wait_event_type = 'Lock'").await;
        if waits > 0 { Ok(()) } else { Err("not yet") }
    })
    .await;
    for _ in 0..3 {
        assert!(created(&api.get("/metrics").await.text, 1), "the one before, again and again");
        assert_eq!(api.get("/v1/stats").await.expect(200)["queues"][0]["created"], 1);
    }
    assert_eq!(api.db.sessions("wait_event_type = 'Lock'").await, 1, "one reading for all of them");
    lock.rollback().await.unwrap();
    eventually(HANG, "the late reading serves", async || {
        let text = api.get("/metrics").await.text;
        if created(&text, 2) { Ok(()) } else { Err(text) }
    })
    .await;
}
