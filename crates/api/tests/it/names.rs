//! Submissions with new names while an open transaction of an application uses the same names.

use serde_json::{Value, json};

use crate::bench::Api;

fn of(kind: &str, queue: &str, priority: i64) -> Value {
    json!({ "kind": kind, "queue": queue, "priority": priority })
}

#[tokio::test]
async fn no_request_waits_for_an_open_transaction_with_a_new_name() {
    let api = Api::start().await;
    api.enqueue(json!({ "kind": "known" })).await;
    let holder =
        api.db.hold("SELECT jobqueue.enqueue('brand.new', '{}', queue => 'brand-new', priority => 7)").await;
    for body in [
        of("brand.new", "brand-new", 7),
        of("brand.new", "default", 0),
        of("known", "brand-new", 7),
        of("other.new", "other-new", -3),
        of("known", "default", 0),
    ] {
        assert_eq!(api.post("/v1/jobs", &body).await.status, 201, "{body}");
    }
    let batch = json!({ "jobs": [of("brand.new", "brand-new", 8), of("known", "default", 0)] });
    assert!(api.post("/v1/jobs/batch", &batch).await.status < 300);
    assert_eq!(api.get("/ready").await.status, 200);
    holder.commit().await.unwrap();
    let mut leased = 0;
    while api.lease("brand-new").await.is_some() {
        leased += 1;
    }
    assert_eq!(leased, 4, "theirs and three of ours");
    assert_eq!(api.db.number("SELECT count(*) FROM jobqueue.queue WHERE name = 'brand-new'").await, 1);
}

/// A session that locks the row of a name blocks only submissions with that name.
#[tokio::test]
async fn a_locked_name_does_not_block_other_names() {
    let api = Api::start().await;
    api.enqueue(json!({ "kind": "known" })).await;
    let holder = api.db.hold("INSERT INTO jobqueue.kind (name) VALUES ('locked')").await;
    let (locked, others) = (of("locked", "default", 0), of("known", "default", 0));
    let stuck = futures_util::future::join_all((0..6).map(|_| api.post("/v1/jobs", &locked)));
    let known = async {
        for _ in 0..20 {
            assert_eq!(api.post("/v1/jobs", &others).await.status, 201);
            assert_eq!(api.get("/ready").await.status, 200);
        }
    };
    let (stuck, ()) = tokio::join!(stuck, known);
    for answer in stuck {
        assert_eq!(answer.problem(503), "unavailable");
    }
    assert_eq!(api.post("/v1/jobs", &of("unknown", "elsewhere", 1)).await.status, 201);
    holder.rollback().await.unwrap();
    assert_eq!(api.post("/v1/jobs", &locked).await.status, 201);
}
