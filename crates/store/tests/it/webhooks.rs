//! Webhooks for the ends of jobs: each end, of any cause, enqueues exactly one, in its own transaction, and no other job pays.

use std::time::Duration;

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, JobId, OnConflict, OnEndDraft, Outcome, RouteDraft, Status};
use jobqueue_store::{Precondition, RouteChange};
use serde_json::{Value, json};

use crate::bench::{Bench, MINUTE, boom, draft, end, failed, request};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Its delivery waits in a queue of its own.
fn on_end() -> OnEndDraft {
    OnEndDraft {
        url: "https://hooks.example.com/x?k=1".into(),
        secret: Some(SECRET.into()),
        queue: Some("hooks".into()),
        ..OnEndDraft::default()
    }
}

fn announced() -> JobDraft {
    JobDraft { on_end: Some(on_end()), max_attempts: Some(1), ..draft() }
}

impl Bench {
    /// The events about a job, oldest first.
    async fn events(&self, id: JobId) -> Vec<Value> {
        let query = "SELECT b.payload FROM jobqueue.body b JOIN jobqueue.kind k ON k.id = b.kind
                     WHERE k.name = 'jobqueue.webhook' AND b.tags = ARRAY['job:' || $1::text] ORDER BY b.id";
        sqlx::query_scalar(query).bind(id.to_string()).fetch_all(&self.pool).await.unwrap()
    }

    async fn types(&self, id: JobId) -> Vec<String> {
        let events = self.events(id).await;
        events.iter().map(|event| event["type"].as_str().unwrap().replace("jobqueue.job.", "")).collect()
    }
}

#[tokio::test]
async fn each_way_to_end_announces_once() {
    let mut bench = Bench::new().await;
    let completed = bench.done(announced()).await;
    let dead = bench.dead(announced()).await;
    let exhausted = bench.add(announced()).await;
    let leased = bench.lease_one().await;
    bench.end(leased, failed()).await;
    let withdrawn = bench.add(JobDraft { delay_seconds: Some(60.0), ..announced() }).await;
    bench.store.jobs().cancel(&[withdrawn], &boom()).await.unwrap();
    let stopped = bench.add(announced()).await;
    let leased = bench.lease_one().await;
    bench.store.jobs().cancel(&[stopped], &boom()).await.unwrap();
    bench.end(leased, Outcome::Cancelled).await;
    let in_sql = bench.add(announced()).await;
    bench.execute(&format!("SELECT jobqueue.cancel('{in_sql}')")).await;
    let unique = |key: &str| {
        Some(UniqueDraft { key: key.into(), on_conflict: OnConflict::Replace, ..UniqueDraft::default() })
    };
    let replaced = bench.add(JobDraft { unique: unique("u"), ..announced() }).await;
    let replacing = bench.add(JobDraft { unique: unique("u"), ..draft() }).await;
    bench.store.jobs().cancel(&[replacing], &boom()).await.unwrap();
    let expired = bench.add(JobDraft { expires_at: Some(later(&bench, 90).await), ..announced() }).await;
    let lost = bench.add(JobDraft { queue: Some("lost".into()), ..announced() }).await;
    let held = bench.store.lease(&request(Some(bench.worker), &["lost"], 1)).await.unwrap();
    bench.pass(10 * MINUTE);
    bench.store.expire_due(100).await.unwrap();
    bench.store.reclaim(Duration::ZERO, 100).await.unwrap();
    drop(held);
    for (id, expected) in [
        (completed, "completed"),
        (dead, "failed"),
        (exhausted, "failed"),
        (withdrawn, "cancelled"),
        (stopped, "cancelled"),
        (in_sql, "cancelled"),
        (replaced, "cancelled"),
        (expired, "cancelled"),
        (lost, "failed"),
    ] {
        assert_eq!(bench.types(id).await, [expected], "{id}");
        assert_eq!(bench.status(id).await.as_str(), expected);
    }
    assert_eq!(bench.types(replacing).await, [""; 0]);
    let all = "SELECT count(*) FROM jobqueue.body b JOIN jobqueue.kind k ON k.id = b.kind WHERE k.name = 'jobqueue.webhook'";
    assert_eq!(bench.count(all).await, 9);
}

async fn later(bench: &Bench, seconds: i64) -> String {
    let now = bench.store.time().await.unwrap().unwrap();
    (now + chrono::TimeDelta::seconds(seconds)).to_rfc3339()
}

#[tokio::test]
async fn an_event_says_what_happened_and_carries_no_secret() {
    let bench = Bench::new().await;
    let id = bench.add(JobDraft { tags: Some(vec!["t".into()]), ..announced() }).await;
    let leased = bench.lease_one().await;
    let result = crate::bench::json(r#"{"n": 1.50}"#);
    bench.end(leased, Outcome::Completed(Some(result))).await;
    let event = bench.events(id).await.remove(0);
    let hooks = request(Some(bench.worker), &["hooks"], 1);
    let webhook = bench.store.lease(&hooks).await.unwrap().pop().unwrap();
    assert_eq!(webhook.job.kind.as_str(), "jobqueue.webhook");
    assert_eq!(
        (&event["id"], &event["subject"]),
        (&json!(webhook.job.id.to_string()), &json!(id.to_string()))
    );
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("jobqueue.job.completed")));
    assert_eq!((&event["data"]["result"], &event["data"]["tags"]), (&json!({ "n": 1.5 }), &json!(["t"])));
    assert_eq!((&event["data"]["error"], &event["data"]["omitted"]), (&Value::Null, &json!(false)));
    assert!(
        webhook.job.payload.as_str().contains("1.50"),
        "the result as it was: {}",
        webhook.job.payload.as_str()
    );
    assert_eq!((webhook.job.max_attempts, webhook.job.has_webhook), (10, false));
    let target = bench.store.webhook_target(webhook.job.id).await.unwrap().unwrap();
    assert_eq!((target.url.as_str(), target.secret.as_str()), ("https://hooks.example.com/x?k=1", SECRET));
    assert!(!format!("{target:?} {webhook:?}").contains("MfKQ"));
    assert!(bench.store.webhook_target(id).await.unwrap().is_none(), "the job itself delivers nothing");
    // its own end announces nothing
    let delivery = webhook.job.id;
    bench.end(webhook, Outcome::Completed(None)).await;
    assert_eq!(bench.types(delivery).await, [""; 0]);
    assert_eq!(bench.record(id).await.webhook_url.as_deref(), Some("https://hooks.example.com/x?k=1"));
}

#[tokio::test]
async fn only_final_ends_announce_and_each_run_of_a_job_does() {
    let bench = Bench::new().await;
    let id = bench.add(JobDraft { max_attempts: Some(2), ..announced() }).await;
    let leased = bench.lease_one().await;
    bench.end(leased, failed()).await;
    assert_eq!(bench.types(id).await, [""; 0], "it runs again");
    bench.store.jobs().promote(&[id]).await.unwrap();
    let leased = bench.lease_one().await;
    let stale = crate::bench::twin(&leased);
    bench.end(leased, failed()).await;
    bench.end(stale, failed()).await;
    assert_eq!(bench.types(id).await, ["failed"], "a stale settle announces nothing");
    bench.store.jobs().retry(&[id]).await.unwrap();
    let leased = bench.lease_one().await;
    bench.end(leased, Outcome::Completed(None)).await;
    assert_eq!(bench.types(id).await, ["failed", "completed"]);
}

#[tokio::test]
async fn a_webhook_exists_if_and_only_if_the_end_was_committed() {
    let bench = Bench::new().await;
    let id = bench.add(announced()).await;
    bench.execute(&format!("BEGIN; SELECT jobqueue.cancel('{id}'); ROLLBACK")).await;
    assert_eq!((bench.types(id).await.len(), bench.status(id).await), (0, Status::Queued));
    // if it cannot be enqueued, the job does not end
    bench.execute("ALTER TABLE jobqueue.body ADD CONSTRAINT no_webhook CHECK (tags IS NULL) NOT VALID").await;
    let leased = bench.lease_one().await;
    bench.store.settle(vec![end(leased, Outcome::Completed(None))]).await.unwrap_err();
    assert_eq!((bench.types(id).await.len(), bench.status(id).await), (0, Status::Running));
    // enqueued and cancelled in one transaction, with names that did not exist
    bench.execute("ALTER TABLE jobqueue.body DROP CONSTRAINT no_webhook").await;
    let sql = format!(
        "SELECT jobqueue.cancel(jobqueue.enqueue('new.kind', queue => 'new.queue', tags => ARRAY['x'],
                on_end => '{{\"url\": \"http://a\", \"secret\": \"{SECRET}\", \"queue\": \"new.hooks\"}}'))"
    );
    bench.execute(&sql).await;
    let event = "SELECT b.payload->'data' FROM jobqueue.body b JOIN jobqueue.lane l ON l.id = b.lane
                 JOIN jobqueue.queue q ON q.id = l.queue_id WHERE q.name = 'new.hooks'";
    let event: Value = sqlx::query_scalar(event).fetch_one(&bench.pool).await.unwrap();
    assert_eq!(
        (&event["kind"], &event["queue"], &event["status"]),
        (&json!("new.kind"), &json!("new.queue"), &json!("cancelled"))
    );
}

#[tokio::test]
async fn a_large_result_is_left_out_of_the_event() {
    let bench = Bench::new().await;
    let id = bench.add(announced()).await;
    let leased = bench.lease_one().await;
    let large = crate::bench::json(&format!("\"{}\"", "x".repeat(300_000)));
    bench.end(leased, Outcome::Completed(Some(large))).await;
    let event = bench.events(id).await.remove(0);
    assert_eq!((&event["data"]["result"], &event["data"]["omitted"]), (&Value::Null, &json!(true)));
}

#[tokio::test]
async fn a_route_sets_the_webhook_and_its_secret_is_stored_apart() {
    let bench = Bench::new().await;
    let (name, always) = ("r".parse().unwrap(), Precondition::Always);
    let put = async |on_end: OnEndDraft| {
        let route =
            RouteDraft { position: Some(1), kind: "*".into(), on_end: Some(on_end), ..RouteDraft::default() };
        bench.store.routes().put(&name, &route, &always).await.unwrap()
    };
    let RouteChange::Created(created) = put(on_end()).await else { panic!() };
    assert!(!created.spec.as_str().contains("MfKQ"), "{}", created.spec.as_str());
    assert!(matches!(put(on_end()).await, RouteChange::Same(_)));
    let stored: RouteDraft = created.spec.to().unwrap();
    assert!(matches!(put(stored.on_end.clone().unwrap()).await, RouteChange::Same(_)), "as it is read");
    let foreign = OnEndDraft { secret_id: Some(999), ..stored.on_end.unwrap() };
    assert_eq!(put(foreign).await, RouteChange::UnknownSecret);
    let job = async || {
        let id: uuid::Uuid =
            sqlx::query_scalar("SELECT jobqueue.enqueue('noop')").fetch_one(&bench.pool).await.unwrap();
        JobId::from_uuid(id)
    };
    let first = job().await;
    let other = format!("whsec_{}", "A".repeat(44));
    assert!(matches!(
        put(OnEndDraft { secret: Some(other.clone()), ..on_end() }).await,
        RouteChange::Changed(_)
    ));
    let second = job().await;
    bench.store.jobs().cancel(&[first, second], &boom()).await.unwrap();
    let secrets = "SELECT on_end_secret FROM jobqueue.body WHERE on_end_secret IS NOT NULL ORDER BY metadata->>'job_id'";
    let secrets: Vec<String> = sqlx::query_scalar(secrets).fetch_all(&bench.pool).await.unwrap();
    assert_eq!(secrets, [SECRET.to_owned(), other], "each job keeps the secret that its route had");
    bench.store.routes().delete(&name, &always).await.unwrap();
    let all = "SELECT count(*) FROM jobqueue.body b JOIN jobqueue.kind k ON k.id = b.kind WHERE k.name = 'jobqueue.webhook' AND b.on_end IS NOT NULL";
    assert_eq!(bench.count(all).await, 0, "no route applies to the jobs of webhooks");
}

#[tokio::test]
async fn sql_refuses_what_rest_refuses_and_never_repeats_a_secret() {
    let bench = Bench::new().await;
    for (given, pointer) in [
        (json!([]), "on_end"),
        (json!({ "secret": SECRET }), "on_end/url"),
        (json!({ "url": "ftp://a", "secret": SECRET }), "on_end/url"),
        (json!({ "url": "http://u:hunter2@a/", "secret": SECRET }), "on_end/url"),
        (json!({ "url": "http://a:65536", "secret": SECRET }), "on_end/url"),
        (json!({ "url": "http://[::1", "secret": SECRET }), "on_end/url"),
        (json!({ "url": "http://[1:2]/", "secret": SECRET }), "on_end/url"),
        (json!({ "url": "http://1.2.3.256/", "secret": SECRET }), "on_end/url"),
        (json!({ "url": "http://a..b/", "secret": SECRET }), "on_end/url"),
        (json!({ "url": "http://a", "secret": format!("whsec_{}B=", "A".repeat(42)) }), "on_end/secret"),
        (json!({ "url": "http://a" }), "on_end/secret"),
        (json!({ "url": "http://a", "secret": "hunter2" }), "on_end/secret"),
        (json!({ "url": "http://a", "secret": "whsec_aHVudGVyMg==" }), "on_end/secret"),
        (json!({ "url": "http://a", "secret": SECRET, "queue": "a/b" }), "on_end/queue"),
        (json!({ "url": "http://a", "secret": SECRET, "secret_id": 1 }), "on_end/secret_id"),
        (json!({ "url": 7, "secret": SECRET }), "on_end/url"),
    ] {
        let refused =
            sqlx::query("SELECT jobqueue.enqueue('k', on_end => $1)").bind(&given).execute(&bench.pool).await;
        let refused = refused.unwrap_err();
        let refused = refused.as_database_error().unwrap();
        assert_eq!(refused.code().unwrap(), "22023", "{given}: {refused}");
        assert!(refused.message().starts_with(&format!("{pointer} ")), "{given}: {refused}");
        assert!(
            !refused.message().contains("hunter2") && !refused.message().contains("aHVudGVyMg"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn the_event_of_a_delivery_is_not_edited_in_sql() {
    let bench = Bench::new().await;
    bench.done(announced()).await;
    let edit = |arguments: &str| {
        format!("SELECT jobqueue.edit(id, {arguments}) FROM jobqueue.jobs WHERE kind = 'jobqueue.webhook'")
    };
    let refused = sqlx::query(&edit("'{}'")).execute(&bench.pool).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "22023");
    bench.execute(&edit("priority => 5")).await;
    let changed = "SELECT count(*) FROM jobqueue.jobs WHERE kind = 'jobqueue.webhook' AND priority = 5";
    assert_eq!(bench.count(changed).await, 1);
}
