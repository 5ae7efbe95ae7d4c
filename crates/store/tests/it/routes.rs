//! Routes: SQL and Rust make the same of each submission, changes reach every process, and no route makes a valid job invalid.

use jobqueue_core::{JobDraft, JobRoute, Limits, NewJob, RouteDraft, RouteName, ScheduleDraft, ScheduleName};
use jobqueue_store::{Pooler, Precondition, RouteChange, Submission};
use jobqueue_testkit::eventually;
use serde_json::{Value, json};

use crate::bench::{Bench, MINUTE, created, production, served};

fn name(text: &str) -> RouteName {
    text.parse().unwrap()
}

fn route(spec: Value) -> RouteDraft {
    let draft = serde_json::from_value(spec).unwrap();
    JobRoute::parse(&name("r"), &draft, &Limits::default()).unwrap();
    draft
}

/// The arguments of `jobqueue.enqueue` or `jobqueue.route` for these fields.
fn arguments(fields: &Value) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let argument = |(field, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => quoted(text),
            Value::Array(words) => {
                let words: Vec<String> = words.iter().map(|word| quoted(word.as_str().unwrap())).collect();
                format!("ARRAY[{}]::text[]", words.join(","))
            }
            Value::Object(_) => format!("{}::json", quoted(&value.to_string())),
            other => other.to_string(),
        };
        format!("\"{field}\" => {value}")
    };
    fields.as_object().unwrap().iter().map(argument).collect::<Vec<_>>().join(", ")
}

impl Bench {
    async fn put_route(&self, text: &str, spec: Value) -> RouteChange {
        self.store.routes().put(&name(text), &route(spec), &Precondition::Always).await.unwrap()
    }

    /// What is stored of a job that is submitted in SQL and of one that is submitted in Rust.
    async fn both(&self, submission: &Value) -> [Value; 2] {
        let sql = format!("SELECT jobqueue.enqueue({})", arguments(submission));
        let in_sql: uuid::Uuid =
            sqlx::query_scalar(&sql).fetch_one(&self.pool).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
        let mut draft: JobDraft = serde_json::from_value(submission.clone()).unwrap();
        let limits = Limits { now: self.store.time().await.unwrap(), ..Limits::default() };
        self.store.refresh_routes().await.unwrap();
        let routes = self.store.route_table().await.unwrap();
        if let Some(route) = routes.find(&draft.kind) {
            route.fill(&mut draft, limits.now);
        }
        let job = NewJob::parse(draft, &limits).unwrap();
        let request = Submission { jobs: vec![job], atomic: true, idempotency: None };
        let in_rust = created(served(self.store.enqueue(&[request]).await.unwrap().remove(0))[0]);
        let mut stored = Vec::new();
        for id in [in_sql, in_rust.as_uuid()] {
            let row = "SELECT json_build_object('queue', q.name, 'priority', l.priority, 'kind', k.name, 'max_attempts', b.max_attempts,
                    'retry', b.retry::jsonb, 'timeout', b.timeout_ms, 'soft', b.soft_timeout_ms, 'tags', b.tags,
                    -- an expiry that counts from now: how long after the submission
                    'expires', CASE WHEN b.run_at > jobqueue.now() + interval '1 day' THEN b.expires_at::text
                                    ELSE round(extract(epoch FROM b.expires_at - jobqueue.created_at(b.id)) / 10)::text END)
                FROM jobqueue.body b JOIN jobqueue.lane l ON l.id = b.lane JOIN jobqueue.queue q ON q.id = l.queue_id
                JOIN jobqueue.kind k ON k.id = b.kind WHERE b.id = $1";
            stored.push(sqlx::query_scalar(row).bind(id).fetch_one(&self.pool).await.unwrap());
        }
        stored.try_into().unwrap()
    }
}

#[tokio::test]
async fn sql_and_rust_make_the_same_of_every_submission() {
    let bench = Bench::new().await;
    let retry = json!({ "strategy": "list", "delays_seconds": [1.0, 2.5] });
    bench.put_route("some", json!({ "position": 5, "kind": "a.?", "queue": "first" })).await;
    bench
        .put_route(
            "all",
            json!({ "position": 7, "kind": "a.*", "queue": "far", "priority": -3, "max_attempts": 4, "retry": retry, "timeout_seconds": 30,
                    "soft_timeout_seconds": 20, "expires_after_seconds": 3600, "tags": ["t", "\"u\\"] }),
        )
        .await;
    bench.put_route("ms", json!({ "position": 6, "kind": "a.ms", "expires_after_seconds": 1.001 })).await;
    bench
        .put_route("soft", json!({ "position": 8, "kind": "s_*", "soft_timeout_seconds": 9.5, "owner": "o" }))
        .await;
    let later = "2099-01-01T00:00:00Z";
    for submission in [
        json!({ "kind": "a.1" }),
        json!({ "kind": "a.12" }),
        json!({ "kind": "b" }),
        json!({ "kind": "a.12", "queue": "own", "priority": 0, "max_attempts": 10, "tags": ["own"] }),
        json!({ "kind": "a.12", "queue": "default", "retry": { "strategy": "fixed", "delay_seconds": 1.0 } }),
        json!({ "kind": "a.12", "tags": [] }),
        json!({ "kind": "a.12", "timeout_seconds": 5.0 }),
        json!({ "kind": "a.12", "timeout_seconds": 25.0 }),
        json!({ "kind": "a.12", "soft_timeout_seconds": 5.0 }),
        json!({ "kind": "a.12", "soft_timeout_seconds": 30.0 }),
        json!({ "kind": "a.12", "soft_timeout_seconds": 40.0 }),
        json!({ "kind": "a.12", "run_at": later }),
        json!({ "kind": "a.12", "run_at": "1999-01-01T00:00:00Z" }),
        json!({ "kind": "a.12", "delay_seconds": 600.0 }),
        json!({ "kind": "a.12", "delay_seconds": 3_153_599_000.0 }),
        json!({ "kind": "a.12", "expires_at": later }),
        json!({ "kind": "a.ms", "run_at": later }),
        json!({ "kind": "s_1", "timeout_seconds": 9.5 }),
        json!({ "kind": "s_1", "timeout_seconds": 9.6 }),
        json!({ "kind": "sx1" }),
    ] {
        let [in_sql, in_rust] = bench.both(&submission).await;
        assert_eq!(in_sql, in_rust, "{submission}");
    }
    let [routed, _] = bench.both(&json!({ "kind": "a.12", "run_at": later })).await;
    assert_eq!(
        (&routed["queue"], &routed["priority"], &routed["timeout"]),
        (&json!("far"), &json!(-3), &json!(30_000))
    );
    assert!(routed["expires"].as_str().unwrap().starts_with("2099-01-01 01:00"), "{routed}");
    assert_eq!(bench.both(&json!({ "kind": "a.12", "tags": [] })).await[0]["tags"], Value::Null);
    assert_eq!(bench.both(&json!({ "kind": "a.1" })).await[0]["queue"], "first");
    assert_eq!(
        bench.both(&json!({ "kind": "sx1" })).await[0]["soft"],
        Value::Null,
        "an underscore is no wildcard"
    );
}

#[tokio::test]
async fn sql_sets_and_deletes_routes_and_refuses_what_rest_refuses() {
    let bench = Bench::new().await;
    let ask = async |sql: String| sqlx::query_scalar::<_, bool>(&sql).fetch_one(&bench.pool).await;
    let all = json!({ "kind": "a.*", "position": 3, "queue": "q", "priority": 1, "max_attempts": 2,
        "retry": { "strategy": "fixed", "delay_seconds": 1 }, "timeout_seconds": 3, "soft_timeout_seconds": 2.5,
        "expires_after_seconds": 60, "tags": ["t"], "owner": "o", "description": "d" });
    let put = format!("SELECT jobqueue.route('r', {})", arguments(&all));
    assert!(ask(put.clone()).await.unwrap());
    assert!(!ask(put.clone()).await.unwrap(), "the same again");
    let stored = bench.store.routes().get(&name("r")).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.position, stored.owner.as_deref()), (1, 3, Some("o")));
    assert_eq!(stored.spec.to::<RouteDraft>().unwrap(), route(all.clone()));
    stored.parsed().unwrap();
    assert!(ask("SELECT jobqueue.route('r', 'b.*', 3)".to_owned()).await.unwrap());
    assert_eq!(bench.store.routes().get(&name("r")).await.unwrap().unwrap().version, 2);
    for (field, value) in [
        ("kind", json!("a b")),
        ("kind", json!("")),
        ("position", json!(1_000_001)),
        ("queue", json!("a/b")),
        ("priority", json!(101)),
        ("max_attempts", json!(0)),
        ("retry", json!({ "strategy": "fixed" })),
        ("timeout_seconds", json!(0)),
        ("soft_timeout_seconds", json!(3)),
        ("expires_after_seconds", json!(0)),
        ("tags", json!([""])),
        ("owner", json!("")),
        ("description", json!("")),
    ] {
        let mut wrong = all.clone();
        wrong[field] = value;
        let refused = ask(format!("SELECT jobqueue.route('w', {})", arguments(&wrong))).await.unwrap_err();
        let refused = refused.as_database_error().unwrap();
        assert_eq!(refused.code().unwrap(), "22023", "{field}: {refused}");
        assert!(refused.message().starts_with(field), "{field}: {refused}");
        let draft = serde_json::from_value::<RouteDraft>(wrong).ok();
        let parsed = draft.map(|draft| JobRoute::parse(&name("w"), &draft, &Limits::default()));
        assert!(!matches!(parsed, Some(Ok(_))), "{field}");
    }
    let refused = ask("SELECT jobqueue.route('test', 'a', 1)".to_owned()).await.unwrap_err();
    assert!(refused.to_string().contains("name must be"), "{refused}");
    assert!(ask("SELECT jobqueue.unroute('r')".to_owned()).await.unwrap());
    assert!(!ask("SELECT jobqueue.unroute('r')".to_owned()).await.unwrap());
}

/// What an operator may write by hand.
const BY_HAND: &[&str] = &[
    "null",
    "[]",
    "{}",
    r#"{"kind":"*"}"#,
    r#"{"position":1}"#,
    r#"{"position":null,"kind":"*"}"#,
    r#"{"position":1,"kind":null}"#,
    r#"{"position":"1","kind":"*"}"#,
    r#"{"position":1.0,"kind":"*"}"#,
    r#"{"position":1,"kind":"x\\"}"#,
    r#"{"position":1,"kind":"*","priority":500}"#,
    r#"{"position":1,"kind":"*","priority":"5"}"#,
    r#"{"position":1,"kind":"*","priority":1,"priority":2}"#,
    r#"{"position":1,"kind":"*","max_attempts":99999999999}"#,
    r#"{"position":1,"kind":"*","queue":"a b"}"#,
    r#"{"position":1,"kind":"*","tags":null}"#,
    r#"{"position":1,"kind":"*","tags":"a"}"#,
    r#"{"position":1,"kind":"*","tags":[["a"]]}"#,
    r#"{"position":1,"kind":"*","tags":["a",""]}"#,
    r#"{"position":1,"kind":"*","retry":null}"#,
    r#"{"position":1,"kind":"*","retry":{"strategy":"never"}}"#,
    r#"{"position":1,"kind":"*","timeout_seconds":"x"}"#,
    r#"{"position":1,"kind":"*","timeout_seconds":604800.1}"#,
    r#"{"position":1,"kind":"*","timeout_seconds":1,"soft_timeout_seconds":1}"#,
    r#"{"position":1,"kind":"*","expires_after_seconds":0.0001}"#,
    r#"{"position":1,"kind":"*","expires_after_seconds":1e400}"#,
    r#"{"position":1,"kind":"*","owner":""}"#,
    r#"{"position":1,"kind":"*","queues":"x"}"#,
    r#"{"position":1,"kind":"*","on_end":null}"#,
    r#"{"position":1,"kind":"*","on_end":{"url":"x"}}"#,
    r#"{"position":1,"kind":"*","on_end":{"url":"http://a/","secret_id":"1"}}"#,
    r#"{"position":1,"kind":"*","on_end":{"url":"http://a/","secret":"whsec_AAAA"}}"#,
];

#[tokio::test]
async fn no_row_that_is_written_by_hand_makes_enqueue_fail() {
    let bench = Bench::new().await;
    // the largest and the smallest values that the checks of the core accept
    for (at, spec) in [
        json!({ "timeout_seconds": 604_800.000_000_000_1, "soft_timeout_seconds": 0.001, "expires_after_seconds": 3_153_600_000.0 }),
        json!({ "timeout_seconds": 1e-3, "priority": -100, "max_attempts": 1000, "tags": [] }),
        json!({ "retry": { "strategy": "exponential" }, "owner": "o".repeat(255), "description": "d" }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut whole = spec;
        (whole["position"], whole["kind"]) = (json!(at), json!(format!("edge.{at}")));
        bench.put_route(&format!("edge-{at}"), whole).await;
        let [in_sql, in_rust] = bench.both(&json!({ "kind": format!("edge.{at}") })).await;
        assert_eq!(in_sql, in_rust);
    }
    bench.put_route("good", json!({ "position": 9, "kind": "*", "queue": "good" })).await;
    for spec in BY_HAND {
        let write = "UPDATE jobqueue.route SET spec = $1::text::json WHERE name = 'edge-0'";
        let written = sqlx::query(write).bind(spec).execute(&bench.pool).await;
        assert!(written.is_err(), "{spec} was stored");
        let insert = "INSERT INTO jobqueue.route (name, spec) VALUES ('by-hand', $1::text::json)";
        assert!(sqlx::query(insert).bind(spec).execute(&bench.pool).await.is_err(), "{spec} was stored");
        let [in_sql, _] = bench.both(&json!({ "kind": "k" })).await;
        assert_eq!(in_sql["queue"], "good", "{spec}");
    }
    let renamed = "UPDATE jobqueue.route SET name = 'a b' WHERE name = 'good'";
    assert!(sqlx::query(renamed).execute(&bench.pool).await.is_err());
}

#[tokio::test]
async fn a_kind_of_a_mebibyte_is_compared_with_no_pattern() {
    let bench = Bench::new().await;
    let many = format!(
        "SELECT jobqueue.route('r' || n, '*{}b', n) FROM generate_series(1, 1000) n",
        "a".repeat(120)
    );
    bench.execute(&many).await;
    let mut unit = bench.pool.begin().await.unwrap();
    sqlx::query("SET LOCAL statement_timeout = '20s'").execute(&mut *unit).await.unwrap();
    let enqueue = sqlx::query("SELECT jobqueue.enqueue(repeat('a', 1048576))");
    let refused = enqueue.execute(&mut *unit).await.unwrap_err();
    assert!(refused.to_string().contains("kind must be 1 to 128"), "{refused}");
}

#[tokio::test]
async fn a_kind_of_any_collation_is_routed() {
    let bench = Bench::new().await;
    bench.put_route("r", json!({ "position": 1, "kind": "k*", "queue": "routed" })).await;
    for collation in ["C", "POSIX", "default"] {
        bench.execute(&format!(r#"SELECT jobqueue.enqueue('k1'::text COLLATE "{collation}")"#)).await;
    }
    let routed = "SELECT count(*) FROM jobqueue.body b JOIN jobqueue.lane l ON l.id = b.lane JOIN jobqueue.queue q ON q.id = l.queue_id
                  WHERE q.name = 'routed'";
    assert_eq!(bench.count(routed).await, 3);
}

#[tokio::test]
async fn an_expiry_counts_from_the_call_in_a_transaction_that_began_earlier() {
    let bench = Bench::new().await;
    bench.put_route("r", json!({ "position": 1, "kind": "*", "expires_after_seconds": 60 })).await;
    let mut unit = bench.pool.begin().await.unwrap();
    // the age of the transaction is what is tested
    sqlx::query("SELECT pg_sleep(0.2)").execute(&mut *unit).await.unwrap();
    sqlx::query("SELECT jobqueue.enqueue('k')").execute(&mut *unit).await.unwrap();
    unit.commit().await.unwrap();
    let whole =
        "SELECT count(*) FROM jobqueue.body WHERE expires_at >= jobqueue.created_at(id) + interval '60 s'";
    assert_eq!(bench.count(whole).await, 1);
}

#[tokio::test]
async fn a_change_gives_up_soon_while_an_application_holds_the_lock() {
    let bench = Bench::new().await;
    let mut application = bench.pool.begin().await.unwrap();
    sqlx::query("SELECT jobqueue.route('a', '*', 1)").execute(&mut *application).await.unwrap();
    let spec = route(json!({ "position": 1, "kind": "*" }));
    let (routes, b) = (bench.store.routes(), name("b"));
    let put = routes.put(&b, &spec, &Precondition::Always).await.unwrap_err();
    let delete = routes.delete(&b, &Precondition::Always).await.unwrap_err();
    assert_eq!((put.word(), delete.word()), ("lock", "lock"));
    application.commit().await.unwrap();
    assert!(matches!(routes.put(&b, &spec, &Precondition::Always).await.unwrap(), RouteChange::Created(_)));
}

#[tokio::test]
async fn the_queues_of_a_route_do_not_expire() {
    let bench = Bench::new().await;
    bench.put_route("r", json!({ "position": 1, "kind": "rare", "queue": "rare" })).await;
    let on_end =
        json!({ "url": "https://a/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "queue": "hooks" });
    bench.put_route("none", json!({ "position": 2, "kind": "*", "on_end": on_end })).await;
    for queue in ["rare", "unused", "hooks"] {
        bench.store.queues().create(&queue.parse().unwrap()).await.unwrap();
    }
    assert!(bench.store.take_census(10).await.unwrap());
    assert_eq!(bench.store.upkeep().expire_queues(std::time::Duration::ZERO, 10).await.unwrap(), 1);
    let left = bench.store.queues().list(None, 10).await.unwrap();
    assert_eq!(left.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["hooks", "rare"]);
}

#[tokio::test]
async fn a_check_of_the_routes_takes_the_time_along() {
    let bench = Bench::new().await;
    assert_eq!(bench.store.last_known_time(), None);
    bench.store.refresh_routes().await.unwrap();
    assert!(bench.store.last_known_time().is_some());
}

#[tokio::test]
async fn a_change_in_any_way_reaches_the_routes_in_memory() {
    let bench = Bench::new().await;
    let other = production(&bench.db, Pooler::None, 2);
    let found = async |kind: &str| {
        other.refresh_routes().await.unwrap();
        let table = other.recent_route_table().expect("checked just now");
        table.find(kind).map(|route| route.name.to_string())
    };
    assert_eq!(found("k").await, None);
    bench.put_route("a", json!({ "position": 1, "kind": "*" })).await;
    assert_eq!(found("k").await.as_deref(), Some("a"));
    bench.execute("SELECT jobqueue.route('b', 'k', 0)").await;
    assert_eq!(found("k").await.as_deref(), Some("b"));
    bench.execute(r#"UPDATE jobqueue.route SET spec = '{"position":1,"kind":"x"}' WHERE name = 'b'"#).await;
    assert_eq!((found("k").await.as_deref(), found("x").await.as_deref()), (Some("a"), Some("a")));
    // one that the checks of the database missed is left out, and the others still apply
    bench.execute("ALTER TABLE jobqueue.route DISABLE TRIGGER checked").await;
    bench
        .execute(
            r#"UPDATE jobqueue.route SET spec = '{"position":0,"kind":"*","priority":500}' WHERE name = 'b'"#,
        )
        .await;
    assert_eq!(found("k").await.as_deref(), Some("a"));
    bench.store.routes().delete(&name("a"), &Precondition::Always).await.unwrap();
    assert_eq!(found("k").await, None);
    let version = "SELECT version FROM jobqueue.route_version";
    let before = bench.count(version).await;
    bench.execute("TRUNCATE jobqueue.route").await;
    assert_eq!(bench.count(version).await, before + 1);
}

#[tokio::test]
async fn routes_that_change_nothing_cost_no_read_and_unchecked_ones_are_read_anew() {
    let bench = Bench::new().await;
    bench.put_route("a", json!({ "position": 1, "kind": "*" })).await;
    let first = bench.store.route_table().await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &bench.store.route_table().await.unwrap()));
    bench.store.refresh_routes().await.unwrap();
    assert!(
        std::sync::Arc::ptr_eq(&first, &bench.store.route_table().await.unwrap()),
        "the version is the same"
    );
    bench.execute("SELECT jobqueue.unroute('a')").await;
    // without a check the routes expire by themselves
    eventually(MINUTE, "the routes in memory are not trusted any more", async || {
        bench.store.recent_route_table().map_or(Ok(()), |_| Err("trusted"))
    })
    .await;
    assert!(bench.store.route_table().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_thousand_routes_and_hostile_patterns() {
    let bench = Bench::new().await;
    bench
        .execute("SELECT jobqueue.route('r' || n, 'k.' || n || '.*', n, queue => 'q' || n) FROM generate_series(1, 999) n")
        .await;
    let hostile = "*a".repeat(60);
    bench.put_route("hostile", json!({ "position": -1, "kind": hostile })).await;
    let last = json!({ "position": 2000, "kind": "*" });
    assert_eq!(bench.put_route("last", last.clone()).await, RouteChange::Full);
    let refused =
        sqlx::query("SELECT jobqueue.route('last', '*', 1)").execute(&bench.pool).await.unwrap_err();
    assert!(refused.to_string().contains("at most 1000"), "{refused}");
    assert!(matches!(
        bench.put_route("r1", json!({ "position": 1, "kind": "x" })).await,
        RouteChange::Changed(_)
    ));
    let [in_sql, in_rust] = bench.both(&json!({ "kind": "k.999.x" })).await;
    assert_eq!((&in_sql["queue"], &in_sql), (&json!("q999"), &in_rust));
    let [in_sql, in_rust] = bench.both(&json!({ "kind": "a".repeat(127) + "b" })).await;
    assert_eq!((&in_sql["queue"], &in_sql), (&json!("default"), &in_rust));
    let (first, more) = bench.store.routes().list(None, None, 600).await.unwrap();
    let after = first.last().map(|last| (last.position, last.name.clone()));
    let (rest, end) = bench.store.routes().list(None, after.as_ref(), 600).await.unwrap();
    assert_eq!((first.len(), more, rest.len(), end), (600, true, 400, false));
    assert_eq!(first[0].name, name("hostile"));
}

#[tokio::test]
async fn the_jobs_of_schedules_are_routed_when_they_fire() {
    let mut bench = Bench::new().await;
    let schedule = |text: &str, spec: Value| {
        let draft: ScheduleDraft = serde_json::from_value(spec).unwrap();
        let name: ScheduleName = text.parse().unwrap();
        let parsed = jobqueue_core::Schedule::parse(&name, draft.clone(), &Limits::default()).unwrap();
        (name, draft, parsed)
    };
    for (text, spec) in [
        (
            "plain",
            json!({ "interval_seconds": 60, "job": { "kind": "s.plain", "delay_seconds": 600, "unique": { "key": "u", "scope": "queue" } } }),
        ),
        (
            "own",
            json!({ "interval_seconds": 60, "expires_after_seconds": 7200, "job": { "kind": "s.own", "queue": "own", "tags": ["own"] } }),
        ),
    ] {
        let (name, draft, parsed) = schedule(text, spec);
        bench.store.schedules().put(&name, &draft, &parsed, &Precondition::Always).await.unwrap();
    }
    bench
        .put_route("s", json!({ "position": 1, "kind": "s.*", "queue": "routed", "priority": 8, "expires_after_seconds": 60, "tags": ["t"] }))
        .await;
    bench.pass(MINUTE);
    let fired = bench.store.fire_schedules(10).await.unwrap();
    assert_eq!((fired.jobs, fired.failed), (2, vec![]));
    let row = "SELECT string_agg(format('%s %s %s %s %s', k.name, q.name, l.priority, b.tags,
                 round(extract(epoch FROM b.expires_at - coalesce(b.run_at, jobqueue.created_at(b.id))) / 60)), ';' ORDER BY k.name)
               FROM jobqueue.body b JOIN jobqueue.lane l ON l.id = b.lane JOIN jobqueue.queue q ON q.id = l.queue_id
               JOIN jobqueue.kind k ON k.id = b.kind";
    let jobs: String = sqlx::query_scalar(row).fetch_one(&bench.pool).await.unwrap();
    let mut jobs = jobs.split(';');
    let (own, plain) = (jobs.next().unwrap(), jobs.next().unwrap());
    assert!(own.starts_with("s.own own 8 {own} 1"), "an expiry of the schedule counts from the tick: {own}");
    assert_eq!(plain, "s.plain routed 8 {t} 1");
    // the unique key is that of the queue to which the job was routed
    let same = "SELECT count(*) FROM jobqueue.body WHERE unique_digest = jobqueue.unique_digest('queue', 'routed', 'u')";
    assert_eq!(bench.count(same).await, 1);
}

#[tokio::test]
async fn a_precondition_and_a_race_are_decided_once() {
    let bench = Bench::new().await;
    let spec = |n: i64| route(json!({ "position": n, "kind": "*" }));
    let routes = bench.store.routes();
    let (a, absent) = (name("a"), Precondition::Absent);
    let (first, second) = (spec(1), spec(2));
    let (one, two) = tokio::join!(routes.put(&a, &first, &absent), routes.put(&a, &second, &absent));
    let created = [one.unwrap(), two.unwrap()]
        .iter()
        .filter(|change| matches!(change, RouteChange::Created(_)))
        .count();
    assert_eq!(created, 1);
    let stored = routes.get(&a).await.unwrap().unwrap();
    let version = Precondition::Version(vec![(stored.id, stored.version)]);
    assert!(matches!(routes.put(&a, &spec(3), &version).await.unwrap(), RouteChange::Changed(_)));
    assert_eq!(routes.put(&a, &spec(4), &version).await.unwrap(), RouteChange::Refused);
    assert_eq!(routes.delete(&a, &version).await.unwrap(), RouteChange::Refused);
    assert_eq!(routes.delete(&name("b"), &Precondition::Always).await.unwrap(), RouteChange::Unknown);
}
