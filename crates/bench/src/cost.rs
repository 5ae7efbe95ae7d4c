//! What a measurement costs: read from Postgres and from `/proc` before it and after it. Decides nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::ground::Ground;
use crate::process::{Process, cpu_of_family};
use crate::stats::float;

/// What Postgres and processes of the product have done so far.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    at: Instant,
    wal_bytes: i64,
    /// Transactions that wrote, by their ids: exact at once.
    commits: i64,
    /// All of them, by statistics that connections hand in some seconds late: good for minutes.
    transactions: i64,
    connections: i64,
    /// Processor time of the whole server.
    postgres: Duration,
    ours: BTreeMap<&'static str, Usage>,
}

/// What the processes of a role have used.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    /// Processor time of all of them.
    cpu: Duration,
    /// The most memory of any of them, in megabytes.
    peak_mb: f64,
}

/// What was used between two readings.
#[derive(Clone, Debug)]
pub(crate) struct Cost {
    /// Of what it is the cost.
    unit: &'static str,
    pub(crate) wal_bytes: f64,
    commits: f64,
    /// Milliseconds for one, which are seconds for a thousand.
    postgres_cpu: f64,
    our_cpu: f64,
    /// Of the product's processes, at the end.
    connections: f64,
    /// The most memory of any process of a role.
    peaks_mb: Vec<(&'static str, f64)>,
}

impl Meter {
    /// Reads what Postgres and these processes have done. One that starts later has done nothing yet.
    pub(crate) async fn read<'a>(
        ground: &Ground,
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
            sqlx::query_as(query).fetch_one(&mut ground.connection().await?).await?;
        let postgres = cpu_of_family(ground.postmaster()?)?;
        let at = Instant::now();
        Ok(Self { at, wal_bytes, commits, transactions, connections, postgres, ours })
    }

    /// What each of `jobs` jobs cost since.
    pub(crate) fn per_job(&self, now: &Self, jobs: u64) -> Cost {
        self.cost(now, float(jobs.max(1)), "job")
    }

    /// What each second cost since.
    pub(crate) fn per_second(&self, now: &Self) -> Cost {
        self.cost(now, (now.at - self.at).as_secs_f64(), "second")
    }

    /// Transactions a second since, those that only read too.
    pub(crate) fn transactions_per_second(&self, now: &Self) -> f64 {
        float(now.transactions.abs_diff(self.transactions)) / (now.at - self.at).as_secs_f64()
    }

    /// How much of a core Postgres and each role have used since, in percent.
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
            peaks_mb: now.ours.iter().map(|(role, usage)| (*role, usage.peak_mb)).collect(),
        }
    }
}

impl Cost {
    /// By name, as they are printed.
    pub(crate) fn named(&self) -> Vec<(String, f64)> {
        let unit = self.unit;
        let mut named = vec![
            (format!("B of WAL a {unit}"), self.wal_bytes),
            (format!("writing commits a {unit}"), self.commits),
            (format!("CPU-s of Postgres for 1,000 {unit}s"), self.postgres_cpu),
            (format!("CPU-s of ours for 1,000 {unit}s"), self.our_cpu),
            ("connections".to_owned(), self.connections),
        ];
        named.extend(self.peaks_mb.iter().map(|(role, mb)| (format!("MB at most in {role}"), *mb)));
        named
    }
}
