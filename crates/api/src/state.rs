//! The parts of the running API. Owns how they are put together; each route gets the parts that it needs.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use jobqueue_core::Limits;
use jobqueue_runtime::admin::Readiness;
use jobqueue_runtime::{OutageLog, Shutdown};
use jobqueue_store::{Notifier, Store};
use prometheus::Registry;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Notify;

use crate::body_memory::BodyBudget;
use crate::census::CensusReader;
use crate::cursor::Cursors;
use crate::keys::{Keyring, ProxySettings};
use crate::long_poll::LongPolls;
use crate::metrics::ApiMetrics;
use crate::middleware::observe::Observer;
use crate::middleware::replay::KeyedRequests;
use crate::remote::Remote;
use crate::routing;
use crate::store_access::StoreAccess;
use crate::storing::Storing;
use crate::streams::{StreamSettings, Streams};
use crate::submissions::Submissions;
use crate::submitter::Submitter;

/// The most connections that each of the two queues of submissions has for itself: as many as it has flushers. Batches
/// share those of the queue for submissions with a key, because they may contain keys.
const SUBMITTERS: u32 = 2;

/// The settings of the API; see [`args::ApiArgs`](crate::args::ApiArgs) for the meanings. They are set once, at the
/// start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The root key; `None` serves without any.
    pub key: Option<SecretString>,
    /// Which proxies may say who a person is; none by default.
    pub proxy: ProxySettings,
    /// The limits of a job.
    pub limits: Limits,
    /// The largest number of single submissions that wait for their commit. Those with a unique key or an idempotency
    /// key are counted separately.
    pub max_pending_jobs: usize,
    /// The largest number of requests that wait in a long poll.
    pub max_long_polls: usize,
    /// The largest number of listeners of streams.
    pub max_streams: usize,
    /// The longest time in which a stream sends nothing.
    pub stream_keep_alive: Duration,
    /// Bytes of request bodies that may be in memory.
    pub body_memory_bytes: usize,
    /// The time within which the recommended workers finish a backlog.
    pub drain_target: Duration,
    /// URL of a trace, with `{trace_id}` in place of its id, to which the dashboard links.
    pub trace_url: Option<String>,
}

impl Settings {
    /// The defaults, with or without a key.
    pub fn new(key: Option<SecretString>) -> Self {
        Self {
            key,
            proxy: ProxySettings::default(),
            limits: Limits::default(),
            max_pending_jobs: 10_000,
            max_long_polls: 2_000,
            max_streams: 2_000,
            stream_keep_alive: Duration::from_secs(15),
            body_memory_bytes: 64 * 1024 * 1024,
            drain_target: Duration::from_mins(1),
            trace_url: None,
        }
    }
}

/// The running API without its socket. Clones share it. When the last one is dropped, the submissions that wait are
/// stored and the tasks behind them end.
#[derive(Clone, Debug)]
pub struct ApiState(Arc<Parts>);

/// Where the dashboard finds traces.
#[derive(Clone, Debug)]
pub(crate) struct TraceUrl(pub(crate) Option<String>);

#[derive(Debug)]
struct Parts {
    /// The store, for every route except those that submit.
    store: StoreAccess,
    submissions: Submissions,
    remote: Remote,
    long_polls: LongPolls,
    streams: Streams,
    census: CensusReader,
    cursors: Cursors,
    bodies: BodyBudget,
    notifier: Notifier,
    keys: Keyring,
    trace_url: TraceUrl,
    observer: Observer,
    readiness: Readiness,
    shutdown: Shutdown,
}

/// Lets a route or a middleware take one part as its `State`.
macro_rules! parts {
    ($($part:ident: $type:ty,)*) => {$(
        impl FromRef<ApiState> for $type {
            fn from_ref(state: &ApiState) -> Self {
                state.0.$part.clone()
            }
        }
    )*};
}

parts! {
    store: StoreAccess,
    submissions: Submissions,
    remote: Remote,
    long_polls: LongPolls,
    streams: Streams,
    census: CensusReader,
    cursors: Cursors,
    bodies: BodyBudget,
    notifier: Notifier,
    keys: Keyring,
    trace_url: TraceUrl,
    observer: Observer,
    readiness: Readiness,
    shutdown: Shutdown,
}

impl FromRef<ApiState> for KeyedRequests {
    fn from_ref(state: &ApiState) -> Self {
        Self { store: state.0.store.clone(), bodies: state.0.bodies.clone() }
    }
}

impl ApiState {
    /// Starts the tasks behind the routes on `shutdown`, and exports the metrics of this process in `registry`.
    ///
    /// # Errors
    /// The registry has a metric of the same name already.
    pub fn start(
        store: &Store,
        settings: &Settings,
        shutdown: &Shutdown,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let lane = (store.max_connections() / 4).clamp(1, SUBMITTERS);
        let (plain, keyed) = (store.apart(lane), store.apart(lane));
        let store = store.apart(store.max_connections().saturating_sub(2 * lane));
        let metrics = ApiMetrics::register(registry, [store.clone(), plain.clone(), keyed.clone()])?;
        let (notifier, send_wake_ups) = Notifier::new(&store);
        shutdown.spawn(send_wake_ups);
        let outages = Arc::<OutageLog>::default();
        shutdown.spawn({
            let (outages, shutdown) = (outages.clone(), shutdown.clone());
            async move { outages.run(&shutdown).await }
        });
        let wake_routes = Arc::<Notify>::default();
        shutdown.spawn(routing::keep_current(
            plain.clone(), // nothing else holds these connections for long
            wake_routes.clone(),
            outages.clone(),
            shutdown.clone(),
        ));
        let keys = Keyring::new(settings.key.as_ref(), settings.proxy.clone());
        shutdown.spawn(keys.clone().keep_current(plain.clone(), outages.clone(), shutdown.clone()));
        let storing = Storing::default();
        let submitter = Submitter::start(
            [&plain, &keyed, &store],
            &notifier,
            settings.max_pending_jobs,
            shutdown,
            (&metrics, &storing),
        );
        let for_submissions = StoreAccess::new(keyed, shutdown, &storing);
        let for_routes = StoreAccess::new(plain.clone(), shutdown, &storing);
        let access = StoreAccess::new(store.clone(), shutdown, &storing);
        let secret = settings.key.as_ref().map_or("", |key| key.expose_secret());
        let of_remote = (settings.max_long_polls, settings.limits);
        let census = CensusReader::new(access.clone(), settings.drain_target);
        let of_streams = StreamSettings { max: settings.max_streams, keep_alive: settings.stream_keep_alive };
        Ok(Self(Arc::new(Parts {
            submissions: Submissions::new(
                [for_submissions, for_routes],
                submitter,
                settings.limits,
                notifier.clone(),
            ),
            remote: Remote::start(&store, &notifier, of_remote, shutdown, (&outages, &metrics)),
            long_polls: LongPolls::start(&store, settings.max_long_polls, shutdown, (&metrics, &wake_routes)),
            streams: Streams::start((&access, &census), of_streams, shutdown, (&outages, &metrics)),
            census,
            cursors: Cursors::new(secret),
            bodies: BodyBudget::new(settings.body_memory_bytes, &metrics),
            notifier,
            keys,
            trace_url: TraceUrl(settings.trace_url.clone()),
            observer: Observer { metrics, outages },
            readiness: storing.readiness(plain),
            shutdown: shutdown.clone(),
            store: access,
        })))
    }

    /// Returns the state while something else keeps it.
    pub(crate) fn downgrade(&self) -> impl Fn() -> Option<Self> + Clone + Send + Sync + 'static {
        let parts = Arc::downgrade(&self.0);
        move || parts.upgrade().map(Self)
    }

    /// Decides `/ready`: the database answers, has a schema that this build knows, and can store jobs.
    pub fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }
}
