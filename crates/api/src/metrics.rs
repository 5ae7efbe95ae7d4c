//! The metrics of this process on its admin port. Owns their names, labels and buckets. The metrics of the queues, which
//! are the same on every replica, are in `census`.

use std::time::Duration;

use jobqueue_store::Store;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// From the fastest response to the longest long poll.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
const BATCHES: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0];

/// The metrics of one API process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct ApiMetrics {
    requests: HistogramVec,
    rejected: IntCounterVec,
    flushed: Histogram,
    listeners: IntGaugeVec,
}

impl ApiMetrics {
    /// Registers everything.
    pub(crate) fn register(registry: &Registry, stores: [Store; 3]) -> prometheus::Result<Self> {
        let requests = HistogramVec::new(
            HistogramOpts::new(
                "http_request_duration_seconds",
                "Time from the header of a request to its response",
            )
            .buckets(SECONDS.to_vec()),
            &["route", "method", "status"],
        )?;
        let rejected = IntCounterVec::new(
            Opts::new(
                "api_rejected_total",
                "Requests answered with 429 or 503, by the limit that was reached",
            ),
            &["bound"],
        )?;
        for bound in [
            "pending_jobs",
            "pending_leases",
            "pending_settles",
            "long_polls",
            "body_memory",
            "streams",
            "max_queued",
        ] {
            rejected.with_label_values(&[bound]);
        }
        let flushed = Histogram::with_opts(
            HistogramOpts::new("api_submissions_per_commit", "Single submissions that shared a transaction")
                .buckets(BATCHES.to_vec()),
        )?;
        let listeners = IntGaugeVec::new(
            Opts::new("api_stream_listeners", "Clients that receive events, by stream"),
            &["stream"],
        )?;
        for stream in ["job", "service"] {
            listeners.with_label_values(&[stream]);
        }
        registry.register(Box::new(listeners.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(rejected.clone()))?;
        registry.register(Box::new(flushed.clone()))?;
        registry.register(Box::new(Connections::new(stores)?))?;
        Ok(Self { requests, rejected, flushed, listeners })
    }

    /// A request was answered.
    pub(crate) fn answered(&self, route: &str, method: &str, status: u16, after: Duration) {
        let status = status.to_string();
        self.requests.with_label_values(&[route, method, &status]).observe(after.as_secs_f64());
    }

    /// A request was refused because a bound was reached.
    pub(crate) fn rejected(&self, bound: &str) {
        self.rejected.with_label_values(&[bound]).inc();
    }

    /// The number of listeners of a stream.
    pub(crate) fn listeners(&self, stream: &str) -> IntGauge {
        self.listeners.with_label_values(&[stream])
    }

    /// Records that one transaction stored this many single submissions.
    pub(crate) fn flushed(&self, count: usize) {
        self.flushed.observe(u32::try_from(count).map_or(f64::INFINITY, f64::from));
    }
}

/// The number of connections, read at each scrape.
struct Connections {
    stores: [Store; 3],
    gauge: IntGaugeVec,
}

impl Connections {
    fn new(stores: [Store; 3]) -> prometheus::Result<Self> {
        let options =
            Opts::new("api_database_connections", "Connections of this process to Postgres, by use");
        Ok(Self { stores, gauge: IntGaugeVec::new(options, &["state"])? })
    }
}

impl Collector for Connections {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (mut busy, mut open) = (0, 0);
        for (of_these, all) in self.stores.iter().map(Store::connections) {
            busy += i64::try_from(of_these).unwrap_or(i64::MAX);
            open += i64::from(all);
        }
        self.gauge.with_label_values(&["busy"]).set(busy);
        self.gauge.with_label_values(&["idle"]).set(open.saturating_sub(busy));
        self.gauge.collect()
    }
}
