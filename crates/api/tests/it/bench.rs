//! An API in this process, with its own socket and database.

use std::net::SocketAddr;
use std::time::Duration;

use jobqueue_api::{ApiState, Settings, router};
use jobqueue_core::{JobId, Outcome, WorkerId};
use jobqueue_runtime::{HttpLimits, Shutdown, http};
use jobqueue_store::{AttemptEnd, LeaseRequest, Leased, Pooler, Store, StoreOptions};
use jobqueue_testkit::{Clock, TestDb};
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::client::{Answer, exchange};

pub(crate) const KEY: &str = "test-key-test-key-test-key-test-key";

pub(crate) struct Api {
    pub(crate) db: TestDb,
    pub(crate) store: Store,
    pub(crate) addr: SocketAddr,
    pub(crate) registry: Registry,
    pub(crate) shutdown: Shutdown,
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let db = TestDb::new().await;
        let store = Store::connect_lazy(&options(db.url())).unwrap();
        Self::on(db, store, settings, limits()).await
    }

    /// An API whose requests wait up to a minute for a connection of its pool, for busy machines.
    pub(crate) async fn with_long_pool_waits() -> Self {
        let db = TestDb::new().await;
        let slow = StoreOptions { connect_timeout: Duration::from_mins(1), ..options(db.url()) };
        let store = Store::connect_lazy(&slow).unwrap();
        Self::on(db, store, settings(), limits()).await
    }

    /// An API with this time limit for headers.
    pub(crate) async fn with_header_read(header_read: Duration) -> Self {
        let db = TestDb::new().await;
        let store = Store::connect_lazy(&options(db.url())).unwrap();
        Self::on(db, store, settings(), HttpLimits { header_read, ..limits() }).await
    }

    /// An API whose database uses the time of `clock`.
    pub(crate) async fn with_clock(clock: &Clock) -> Self {
        Self::restored(TestDb::new().await, clock).await
    }

    /// On a database that was made elsewhere, in the time of `clock`.
    pub(crate) async fn restored(db: TestDb, clock: &Clock) -> Self {
        let store = Store::from_pool(db.pool_with_clock(clock));
        Self::on(db, store, settings(), limits()).await
    }

    async fn on(db: TestDb, store: Store, settings: Settings, limits: HttpLimits) -> Self {
        let (shutdown, registry) = (Shutdown::new(), Registry::new());
        let state = ApiState::start(&store, &settings, &shutdown, &registry).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        shutdown.spawn(http::serve(listener, router(state), limits, shutdown.clone()));
        Self { db, store, addr, registry, shutdown }
    }

    /// Sends a request with the key and any further header lines.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut all = vec![format!("Authorization: Bearer {KEY}")];
        all.extend(headers.iter().map(ToString::to_string));
        self.raw(method, path, &all, body).await
    }

    /// Sends a request without the key.
    pub(crate) async fn raw(&self, method: &str, path: &str, headers: &[String], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for line in headers {
            head += line;
            head += "\r\n";
        }
        let chunked = headers.iter().any(|line| line.starts_with("Transfer-Encoding"));
        let length = format!("Content-Length: {}\r\n", body.len());
        head += if body.is_empty() || chunked { "" } else { &length };
        head += "\r\n";
        exchange(self.addr, &[head.as_bytes(), body].concat()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string()).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &["Content-Type: application/json"], body.as_bytes()).await
    }

    /// Sends a request with an idempotency key.
    pub(crate) async fn keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let headers = ["Content-Type: application/json", &format!("Idempotency-Key: {key}")];
        self.send("POST", path, &headers, body.to_string().as_bytes()).await
    }

    /// Sends a `PUT` with any header lines.
    pub(crate) async fn put(&self, path: &str, headers: &[&str], body: &Value) -> Answer {
        let headers = [&["Content-Type: application/json"], headers].concat();
        self.send("PUT", path, &headers, body.to_string().as_bytes()).await
    }

    /// Creates or replaces a route for a kind that no other test uses.
    pub(crate) async fn put_route(&self, name: &str) -> Answer {
        let answer =
            self.put(&format!("/v1/routes/{name}"), &[], &json!({ "position": 1, "kind": "routed.*" })).await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        answer
    }

    /// Creates or replaces a schedule whose first tick is far away.
    pub(crate) async fn put_schedule(&self, name: &str) -> Answer {
        let body = json!({
            "cron": "0 0 1 1 *",
            "start_at": "2100-01-01T00:00:00Z",
            "job": { "kind": "k", "queue": "of-a-schedule" },
        });
        let answer = self.put(&format!("/v1/schedules/{name}"), &[], &body).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        answer
    }

    /// Creates an API key and returns its id and its text.
    pub(crate) async fn create_key(&self, body: Value) -> (String, String) {
        let key = self.post("/v1/api-keys", &body).await.expect(201);
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        (text("id"), text("key"))
    }

    /// Sends a `POST` without a body.
    pub(crate) async fn act(&self, path: &str) -> Answer {
        self.send("POST", path, &[], b"").await
    }

    /// Submits a job and returns its id.
    pub(crate) async fn enqueue(&self, body: Value) -> String {
        let job = self.post("/v1/jobs", &body).await.expect(201);
        job["id"].as_str().unwrap().to_owned()
    }

    /// Submits a job to a queue.
    pub(crate) async fn enqueue_in(&self, queue: &str) -> String {
        self.enqueue(json!({ "kind": "k", "queue": queue })).await
    }

    /// Registers a remote worker of a queue, and returns its id.
    pub(crate) async fn register_worker(&self, name: &str, queue: &str) -> String {
        self.post("/v1/leases", &json!({ "worker": name, "queues": [queue] })).await.expect(200);
        WorkerId::of_remote(&name.parse().unwrap()).to_string()
    }

    /// Leases the next job of a queue, as a remote worker does.
    pub(crate) async fn lease(&self, queue: &str) -> Option<Value> {
        let body = json!({ "queues": [queue] });
        let answer = self.post("/v1/leases", &body).await.expect(200);
        answer["leases"].as_array().unwrap().first().cloned()
    }

    /// Settles a lease.
    pub(crate) async fn settle(&self, mut item: Value, lease: &Value) -> Answer {
        item["lease"] = lease["lease"].clone();
        self.post("/v1/leases/settle", &json!({ "items": [item] })).await
    }

    pub(crate) async fn status(&self, id: &str) -> String {
        let job = self.get(&format!("/v1/jobs/{id}")).await.expect(200);
        job["status"].as_str().unwrap().to_owned()
    }

    /// The number of jobs.
    pub(crate) async fn count(&self) -> usize {
        let page = self.get("/v1/jobs?limit=1000").await.expect(200);
        page["jobs"].as_array().unwrap().len()
    }

    /// Submits a job to the queue `q`, ends it, and returns its id.
    pub(crate) async fn ended(&self, outcome: Outcome) -> String {
        let id = self.enqueue(json!({ "kind": "k", "queue": "q", "max_attempts": 1 })).await;
        let request = LeaseRequest {
            worker_id: None,
            queues: vec!["q".parse().unwrap()],
            kinds: vec![],
            limit: 1,
            duration: crate::client::HANG,
        };
        let Leased { job, lease, .. } = self.store.lease(&request).await.unwrap().pop().unwrap();
        assert_eq!(job.id, id.parse::<JobId>().unwrap());
        let settlement = jobqueue_core::settle(&job, outcome, 0.0);
        let end = AttemptEnd { lease, settlement, ran: None };
        self.store.settle(vec![end]).await.unwrap();
        id
    }
}

pub(crate) fn settings() -> Settings {
    Settings::new(Some(KEY.into()))
}

pub(crate) fn options(url: &str) -> StoreOptions {
    StoreOptions {
        url: url.into(),
        application_name: "api-test".to_owned(),
        max_connections: 8,
        connect_timeout: std::time::Duration::from_secs(5),
        pooler: Pooler::None,
    }
}

fn limits() -> HttpLimits {
    HttpLimits { refuse: jobqueue_api::refuse, ..HttpLimits::default() }
}
