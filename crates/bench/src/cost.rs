//! The cost of a measurement: WAL, commits, processor time, memory and dead rows, read from Postgres and `/proc` before
//! and after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::process::{Process, cpu_of_family};
use crate::server::BenchServer;
use crate::stats::float;

/// The interval between two readings of the number of dead rows.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What Postgres and the processes of the product have used so far.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    at: Instant,
    wal_bytes: i64,
    /// Transactions that wrote, counted by their ids, which is always exact.
    commits: i64,
    /// All transactions, from statistics that connections report some seconds late: exact enough over minutes.
    transactions: i64,
    connections: i64,
    /// Processor time of the whole server.
    postgres: Duration,
    ours: BTreeMap<&'static str, Usage>,
    dead_rows: Arc<DeadRows>,
}

/// The largest number of dead rows in the tables of the queue since the first reading, read twice a second.
#[derive(Debug)]
struct DeadRows {
    peak: Arc<AtomicI64>,
    /// Reads the number until it is dropped.
    _looking: JoinSet<()>,
}

impl DeadRows {
    async fn watch(server: &BenchServer) -> anyhow::Result<Self> {
        let mut connection = server.connection().await?;
        let peak = Arc::new(AtomicI64::new(0));
        let highest = peak.clone();
        let mut looking = JoinSet::new();
        looking.spawn(async move {
            let query = "SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables WHERE schemaname = 'jobqueue'";
            let mut pace = tokio::time::interval(LOOK_EVERY);
            loop {
                pace.tick().await;
                // ends when the server is stopped
                let Ok(dead) = sqlx::query_scalar(query).fetch_one(&mut connection).await else { return };
                highest.fetch_max(dead, Ordering::Relaxed);
            }
        });
        Ok(Self { peak, _looking: looking })
    }
}

/// What the processes of one role have used.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    /// Their processor time together.
    cpu: Duration,
    /// The largest memory of one of them, in megabytes.
    peak_mb: f64,
}

/// What was used between two readings.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    /// The unit to which the cost refers: a job or a second.
    unit: &'static str,
    pub(crate) wal_bytes: f64,
    commits: f64,
    /// Milliseconds per unit, which are seconds per 1,000 units.
    postgres_cpu: f64,
    our_cpu: f64,
    /// Database connections of the product's processes at the end.
    connections: f64,
    /// The largest memory of a process of each role.
    peaks_mb: Vec<(&'static str, f64)>,
    /// The largest number of dead rows in the tables of the queue.
    dead_rows: f64,
}

impl Meter {
    /// Reads what Postgres and these processes have used. A process that starts later counts from zero.
    pub(crate) async fn read<'a>(
        server: &BenchServer,
        processes: impl IntoIterator<Item = &'a Process>,
    ) -> anyhow::Result<Self> {
        let mut ours = BTreeMap::<_, Usage>::new();
        for process in processes {
            let usage = ours.entry(process.role).or_default();
            usage.cpu += process.cpu()?;
            usage.peak_mb = usage.peak_mb.max(process.peak_rss_mb()?);
        }
        let query = "SELECT (pg_current_wal_lsn() - '0/0')::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint, xact_commit,
                            (SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('jobqueue-api', 'jobqueue-worker', 'jobqueue-reaper'))
                     FROM pg_stat_database WHERE datname = current_database()";
        let (wal_bytes, commits, transactions, connections) =
            sqlx::query_as(query).fetch_one(&mut server.connection().await?).await?;
        let postgres = cpu_of_family(server.process_id()?)?;
        let dead_rows = Arc::new(DeadRows::watch(server).await?);
        let at = Instant::now();
        Ok(Self { at, wal_bytes, commits, transactions, connections, postgres, ours, dead_rows })
    }

    /// The cost per job since this reading.
    pub(crate) fn per_job(&self, now: &Self, jobs: u64) -> Cost {
        self.cost(now, float(jobs.max(1)), "job")
    }

    /// The cost per second since this reading.
    pub(crate) fn per_second(&self, now: &Self) -> Cost {
        self.cost(now, (now.at - self.at).as_secs_f64(), "second")
    }

    /// Transactions per second since this reading, including those that only read.
    pub(crate) fn transactions_per_second(&self, now: &Self) -> f64 {
        float(now.transactions.abs_diff(self.transactions)) / (now.at - self.at).as_secs_f64()
    }

    /// The share of a core that Postgres and each role have used since this reading, in percent.
    pub(crate) fn cores(&self, now: &Self) -> Vec<(&'static str, f64)> {
        let share = |before: Duration, after: Duration| {
            after.saturating_sub(before).div_duration_f64(now.at - self.at) * 100.0
        };
        let before = |role| self.ours.get(role).map_or(Duration::ZERO, |usage| usage.cpu);
        let ours = now.ours.iter().map(|(role, usage)| (*role, share(before(role), usage.cpu)));
        [("Postgres", share(self.postgres, now.postgres))].into_iter().chain(ours).collect()
    }

    fn our_cpu(&self) -> Duration {
        self.ours.values().map(|usage| usage.cpu).sum()
    }

    fn cost(&self, now: &Self, units: f64, unit: &'static str) -> Cost {
        let cpu_ms =
            |before: Duration, now: Duration| now.saturating_sub(before).as_secs_f64() * 1000.0 / units;
        Cost {
            unit,
            wal_bytes: float(now.wal_bytes.abs_diff(self.wal_bytes)) / units,
            commits: float(now.commits.abs_diff(self.commits)) / units,
            postgres_cpu: cpu_ms(self.postgres, now.postgres),
            our_cpu: cpu_ms(self.our_cpu(), now.our_cpu()),
            connections: float(now.connections.unsigned_abs()),
            dead_rows: float(self.dead_rows.peak.load(Ordering::Relaxed).unsigned_abs()),
            peaks_mb: now.ours.iter().map(|(role, usage)| (*role, usage.peak_mb)).collect(),
        }
    }
}

impl Cost {
    /// The costs by name, as they are printed.
    pub(crate) fn named(&self) -> Vec<(String, f64)> {
        let unit = self.unit;
        let mut named = vec![
            (format!("B of WAL per {unit}"), self.wal_bytes),
            (format!("commits with writes per {unit}"), self.commits),
            (format!("CPU-s of Postgres per 1,000 {unit}s"), self.postgres_cpu),
            (format!("CPU-s of our processes per 1,000 {unit}s"), self.our_cpu),
            ("connections".to_owned(), self.connections),
            ("dead rows (peak)".to_owned(), self.dead_rows),
        ];
        named.extend(self.peaks_mb.iter().map(|(role, mb)| (format!("MB in {role} (peak)"), *mb)));
        named
    }
}
