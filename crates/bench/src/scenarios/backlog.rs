//! backlog: compares the drain rate of a deep queue with that of a shallow one, and measures the cost of a lease and of
//! counting. Draining ten thousand jobs takes too little time for one measurement, so every depth is measured in rounds: a
//! paused queue with that many waiting jobs is resumed until ten thousand are completed, paused, and filled again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jobqueue_core::QueueName;
use jobqueue_store::Store;

use super::{STUCK, Sizes, fill, progress, wait_for_completed};
use crate::cost::{Cost, Meter};
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::{Figure, join};
use crate::server::BenchServer;
use crate::stats::{float, float_len};

/// The number of jobs completed since a timestamp, and the rate of the middle four fifths of them, from settlement to
/// settlement by the database's clock. The wait for the first poll of the worker and the last jobs of the round are not
/// counted.
const COMPLETED_SINCE: &str = "WITH done AS (SELECT finished_at AS at FROM jobqueue.outcome WHERE finished_at > $1::text::timestamptz),
         ends AS (SELECT percentile_disc(0.1) WITHIN GROUP (ORDER BY at) AS first, percentile_disc(0.9) WITHIN GROUP (ORDER BY at) AS last FROM done)
    SELECT count(*), (count(*) FILTER (WHERE at > first AND at <= last) / nullif(extract(epoch FROM last - first), 0))::float8
    FROM done, ends GROUP BY first, last";
/// The size of the waiting jobs and their indexes, in bytes.
const WAITING: &str = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relname ~ '^(body|ready)'";

/// See the module.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = Vec::new();
    for depth in [sizes.shallow, sizes.deep / 10, sizes.deep] {
        let shallow = figures.first().map(|figure| figure.value.median);
        figures.extend(drain(server, sizes, depth, shallow).await?);
    }
    Ok(figures)
}

/// Measures one depth, and compares its rate with `shallow`, the rate of the shallowest depth, if it is known.
async fn drain(
    server: &BenchServer,
    sizes: Sizes,
    depth: usize,
    shallow: Option<f64>,
) -> anyhow::Result<Vec<Figure>> {
    let figure = |what: &str, unit: &str, value| {
        Figure::plain("backlog", format!("{depth} waiting: {what}"), unit, value)
    };
    server.reset().await?;
    let backlog = Backlog { server, store: server.store()?, queue: "default".parse()? };
    backlog.store.queues().create(&backlog.queue).await?;
    backlog.store.queues().pause(&backlog.queue).await?;
    fill(&backlog.store, depth).await?;
    // a backlog of this depth takes long to build up, so the reaper and autovacuum would have done their work by then
    backlog.store.take_census(200).await?;
    server.vacuum().await?;
    server.checkpoint().await?;
    let bytes = float(u64::try_from(server.number(WAITING).await?)?);
    let began = Instant::now();
    server.count("queued").await?;
    let count_seconds = began.elapsed().as_secs_f64();

    let worker = Process::worker(server.url(), 100, 0)?;
    let (mut figures, mut completed) = (Vec::new(), 0);
    for _ in 0..sizes.rounds_per_depth {
        let drain_round = backlog.drain_round(&worker, completed, sizes.shallow).await?;
        completed += drain_round.jobs;
        let mut rate = figure(&format!("drained in rounds of {}", sizes.shallow), "jobs/s", drain_round.rate);
        if let Some(shallow) = shallow {
            rate = rate.compared_with(format!("{} waiting", sizes.shallow), [shallow]);
        }
        join(&mut figures, vec![rate.with_cost(&drain_round.cost)]);
        fill(&backlog.store, usize::try_from(drain_round.jobs)?).await?;
    }
    let value = |count: &AtomicU64| float(count.load(Ordering::Relaxed));
    let calls = value(&worker.progress.call_micros) / value(&worker.progress.completed).max(1.0);
    Ledger::take(&[worker.stop().await?])?.prove_exactly_once(server.completed().await?)?;
    backlog.store.close().await;
    figures.extend([
        figure("time of lease and settle calls per job", "us", calls),
        figure("count(*) of the queued jobs", "s", count_seconds),
        figure("tables and indexes per job", "bytes", bytes / float_len(depth)),
    ]);
    Ok(figures)
}

/// A queue with many waiting jobs.
struct Backlog<'a> {
    server: &'a BenchServer,
    store: Store,
    queue: QueueName,
}

/// The jobs that were completed between a resume and a pause of the queue.
struct DrainRound {
    jobs: u64,
    /// Jobs per second.
    rate: f64,
    cost: Cost,
}

impl Backlog<'_> {
    /// Resumes the queue until this many more jobs are completed, pauses it, and returns when the running jobs have
    /// ended.
    async fn drain_round(&self, worker: &Process, completed: u64, jobs: usize) -> anyhow::Result<DrainRound> {
        let mut connection = self.server.connection().await?;
        let began: String =
            sqlx::query_scalar("SELECT clock_timestamp()::text").fetch_one(&mut connection).await?;
        let before = Meter::read(self.server, [worker]).await?;
        self.store.queues().resume(&self.queue).await?;
        wait_for_completed(&self.store, completed + u64::try_from(jobs)?, &progress("backlog", jobs)).await?;
        self.store.queues().pause(&self.queue).await?;
        let paused = Instant::now();
        while self.server.number("SELECT count(*) FROM jobqueue.lease").await? > 0 {
            anyhow::ensure!(paused.elapsed() < STUCK, "leases of a paused queue do not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let after = Meter::read(self.server, [worker]).await?;
        let (jobs, rate): (i64, Option<f64>) =
            sqlx::query_as(COMPLETED_SINCE).bind(began).fetch_one(&mut connection).await?;
        let (jobs, rate) =
            (u64::try_from(jobs)?, rate.context("a round with a single settlement has no rate")?);
        Ok(DrainRound { jobs, rate, cost: before.per_job(&after, jobs) })
    }
}
