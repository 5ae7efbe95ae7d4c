//! backlog: does a deep queue drain as fast as a shallow one, what does a lease cost there, and what does counting it take? Ten thousand jobs
//! are over too soon, so every depth goes by the same turns: that many wait in a paused queue, it flows until ten thousand are completed, it
//! is paused and filled up again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jobqueue_core::QueueName;
use jobqueue_store::Store;

use super::{STUCK, Sizes, fill, progress, wait_for_completed};
use crate::cost::{Cost, Meter};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::{Figure, join};
use crate::stats::{float, float_len};

/// Jobs completed since a moment, and the rate of the middle four fifths of them, from settlement to settlement by the database's clock: the
/// wait for a worker's next look at the queue is not counted, nor the last jobs of a queue that ends.
const COMPLETED_SINCE: &str = "WITH done AS (SELECT finished_at AS at FROM jobqueue.outcome WHERE finished_at > $1::text::timestamptz),
         ends AS (SELECT percentile_disc(0.1) WITHIN GROUP (ORDER BY at) AS first, percentile_disc(0.9) WITHIN GROUP (ORDER BY at) AS last FROM done)
    SELECT count(*), (count(*) FILTER (WHERE at > first AND at <= last) / nullif(extract(epoch FROM last - first), 0))::float8
    FROM done, ends GROUP BY first, last";
/// Waiting jobs and their indexes, in bytes.
const WAITING: &str = "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relname ~ '^(body|ready)'";

/// See the module.
pub(crate) async fn round(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = Vec::new();
    for depth in [sizes.shallow, sizes.deep / 10, sizes.deep] {
        let shallow = figures.first().map(|figure| figure.value.median);
        figures.extend(drain(ground, sizes, depth, shallow).await?);
    }
    Ok(figures)
}

/// Everything about one depth; its rate beside that of the `shallow` one, which has none to stand beside.
async fn drain(
    ground: &Ground,
    sizes: Sizes,
    depth: usize,
    shallow: Option<f64>,
) -> anyhow::Result<Vec<Figure>> {
    let figure = |what: &str, unit: &str, value| {
        Figure::plain("backlog", format!("{depth} waiting: {what}"), unit, value)
    };
    ground.fresh().await?;
    let backlog = Backlog { ground, store: ground.store()?, queue: "default".parse()? };
    backlog.store.pause_queue(&backlog.queue, true).await?;
    fill(&backlog.store, depth).await?;
    // a backlog of this depth has grown for long: the duties of the reaper and of autovacuum are done
    backlog.store.take_census().await?;
    ground.vacuum().await?;
    ground.checkpoint().await?;
    let bytes = float(u64::try_from(ground.number(WAITING).await?)?);
    let asked = Instant::now();
    ground.count("queued").await?;
    let count_seconds = asked.elapsed().as_secs_f64();

    let worker = Process::worker(ground.url(), 100, 0)?;
    let (mut figures, mut completed) = (Vec::new(), 0);
    for _ in 0..sizes.turns {
        let turn = backlog.turn(&worker, completed, sizes.shallow).await?;
        completed += turn.jobs;
        let mut rate = figure(&format!("drained by {}", sizes.shallow), "jobs/s", turn.rate);
        if let Some(shallow) = shallow {
            rate = rate.beside(format!("{} waiting", sizes.shallow), [shallow]);
        }
        join(&mut figures, vec![rate.costing(&turn.cost)]);
        fill(&backlog.store, usize::try_from(turn.jobs)?).await?;
    }
    let told = |count: &AtomicU64| float(count.load(Ordering::Relaxed));
    let calls = told(&worker.told.call_micros) / told(&worker.told.completed).max(1.0);
    Ledger::take(&[worker.stop().await?])?.prove_exactly_once(ground.completed().await?)?;
    backlog.store.close().await;
    figures.extend([
        figure("calls that lease and settle, their time a job", "us", calls),
        figure("count(*) of the queued", "s", count_seconds),
        figure("tables and indexes of them, a job", "bytes", bytes / float_len(depth)),
    ]);
    Ok(figures)
}

/// A queue in which many wait.
struct Backlog<'a> {
    ground: &'a Ground,
    store: Store,
    queue: QueueName,
}

/// What was completed between a start and a pause of the queue.
struct Turn {
    jobs: u64,
    /// Jobs per second.
    rate: f64,
    cost: Cost,
}

impl Backlog<'_> {
    /// Lets the queue flow until so many more are completed, and comes back when what runs has ended too.
    async fn turn(&self, worker: &Process, completed: u64, jobs: usize) -> anyhow::Result<Turn> {
        let mut connection = self.ground.connection().await?;
        let began: String =
            sqlx::query_scalar("SELECT clock_timestamp()::text").fetch_one(&mut connection).await?;
        let before = Meter::read(self.ground, [worker]).await?;
        self.store.pause_queue(&self.queue, false).await?;
        wait_for_completed(&self.store, completed + u64::try_from(jobs)?, &progress("backlog", jobs)).await?;
        self.store.pause_queue(&self.queue, true).await?;
        let paused = Instant::now();
        while self.ground.number("SELECT count(*) FROM jobqueue.lease").await? > 0 {
            anyhow::ensure!(paused.elapsed() < STUCK, "leases of a paused queue do not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let after = Meter::read(self.ground, [worker]).await?;
        let (jobs, rate): (i64, Option<f64>) =
            sqlx::query_as(COMPLETED_SINCE).bind(began).fetch_one(&mut connection).await?;
        let (jobs, rate) = (u64::try_from(jobs)?, rate.context("a turn of one settlement has no rate")?);
        Ok(Turn { jobs, rate, cost: before.per_job(&after, jobs) })
    }
}
