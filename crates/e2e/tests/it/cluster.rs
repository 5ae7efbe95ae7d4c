//! The processes of one deployment: starts them and waits until they are ready. Never shares a database or a directory
//! with another cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use jobqueue_testkit::{Binary, Process, Signal, eventually};
use sqlx::PgPool;
use tokio::task::spawn_blocking;

use crate::client::{Client, KEY};
use crate::ledger::WorkDir;

/// Time limit for a start or an end; reached only if the test fails.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Builds all binaries once for all tests.
static BUILT: Once = Once::new();

/// Crashes are detected within about three seconds instead of thirty. A heartbeat may still be late by several
/// intervals, because a worker on a busy machine must not count as dead.
const QUICK: [(&str, &str); 8] = [
    ("WORKER_HEARTBEAT_INTERVAL_SECONDS", "0.4"),
    ("WORKER_STALE_AFTER_SECONDS", "3"),
    ("WORKER_LEASE_DURATION_SECONDS", "6"),
    ("WORKER_POLL_INTERVAL_SECONDS", "0.25"),
    ("WORKER_CANCEL_GRACE_SECONDS", "1"),
    ("REAPER_HOLD_OFF_SECONDS", "3"),
    ("REAPER_RECLAIM_INTERVAL_SECONDS", "0.25"),
    ("REAPER_CENSUS_INTERVAL_SECONDS", "0.5"),
];

/// The settings of all processes of a deployment. Clones can have other settings and share the handlers' directory.
#[derive(Clone)]
pub(crate) struct Cluster {
    url: String,
    settings: Vec<(String, String)>,
    pub(crate) work: Arc<WorkDir>,
}

/// One process with an admin port.
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) admin: Client,
}

/// An API and a client of it.
pub(crate) struct Api {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
}

impl Cluster {
    /// A cluster on the database at `url`, with the defaults of the product.
    pub(crate) async fn new(url: &str) -> Self {
        let names = ["jobqueue", "jobqueue-api", "jobqueue-worker", "jobqueue-reaper"];
        spawn_blocking(move || BUILT.call_once(|| Binary::build(&names))).await.unwrap();
        Self { url: url.to_owned(), settings: Vec::new(), work: Arc::new(WorkDir::new()) }
    }

    /// A cluster with short timings.
    pub(crate) async fn quick(url: &str) -> Self {
        QUICK.into_iter().fold(Self::new(url).await, |cluster, (name, value)| cluster.with(name, value))
    }

    /// Adds a variable to the cluster; the last value of a name counts.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Changes the URL of the database for processes that are started later.
    #[must_use]
    pub(crate) fn through(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// Starts an API and waits until it is ready.
    pub(crate) async fn api(&self) -> Api {
        self.api_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts an API at an address and waits until it is ready.
    pub(crate) async fn api_at(&self, address: SocketAddr) -> Api {
        let binary =
            self.binary("jobqueue-api").env("API_ADDR", address.to_string()).env("API_SECRET_KEY", KEY);
        let node = Node::start(&binary).await;
        let address = node.process.listening("API requests", LIMIT).await;
        let api = Api { node, address, client: Client::new(address) };
        api.node.is_ready().await;
        api
    }

    /// Starts a worker with this many slots and waits until it is ready.
    pub(crate) async fn worker(&self, name: &str, slots: usize) -> Node {
        let binary = self
            .binary("jobqueue-worker")
            .env("WORKER_CONFIG", self.work.config())
            .env("WORKER_NAME", name)
            .env("WORKER_SLOTS", slots.to_string());
        Node::start(&binary).await.ready().await
    }

    /// Starts a reaper and waits until it is ready.
    pub(crate) async fn reaper(&self) -> Node {
        Node::start(&self.binary("jobqueue-reaper")).await.ready().await
    }

    fn binary(&self, name: &str) -> Binary {
        let mut binary = Binary::named(name).env("ADMIN_ADDR", "127.0.0.1:0");
        // the URL is empty if the settings name a file with it
        if !self.url.is_empty() {
            binary = binary.env("DATABASE_URL", &self.url);
        }
        self.settings.iter().fold(binary, |binary, (name, value)| binary.env(name, value))
    }
}

impl Node {
    async fn start(binary: &Binary) -> Self {
        let process = binary.spawn();
        let admin = Client::new(process.listening("admin port", LIMIT).await);
        Self { process, admin }
    }

    async fn ready(self) -> Self {
        self.is_ready().await;
        self
    }

    /// Waits until `/ready` returns 200.
    pub(crate) async fn is_ready(&self) {
        eventually(LIMIT, "ready", async || match self.admin.get("/ready").await {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer.text),
        })
        .await;
    }

    /// The value of a metric without labels, from its admin port.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let page = self.admin.get("/metrics").await.text;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
    }

    /// Waits until a metric has at least this value.
    pub(crate) async fn metric_reaches(&self, name: &str, least: f64) {
        eventually(LIMIT, &format!("{name} reaches {least}"), async || match self.metric(name).await {
            value if value >= least => Ok(()),
            value => Err(value),
        })
        .await;
    }

    /// Sends SIGTERM and waits for the end with exit code 0.
    pub(crate) async fn ends_well(&mut self) {
        self.process.signal(Signal::TERM);
        self.has_ended_well().await;
    }

    /// Waits for the end with exit code 0.
    pub(crate) async fn has_ended_well(&mut self) {
        let status = self.process.wait_exit(LIMIT).await;
        assert!(status.success(), "{status}: {}", self.process.lines().join("\n"));
    }
}

/// Waits until no job waits or runs.
pub(crate) async fn all_final(pool: &PgPool) {
    eventually(Duration::from_mins(2), "every job is final", async || {
        let live = "SELECT count(*) FROM jobs WHERE status IN ('blocked', 'scheduled', 'queued', 'running')";
        match sqlx::query_scalar::<_, i64>(live).fetch_one(pool).await {
            Ok(0) => Ok(()),
            other => Err(other.map_err(|error| error.to_string())),
        }
    })
    .await;
}
