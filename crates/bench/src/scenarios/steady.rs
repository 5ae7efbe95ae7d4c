//! saturate and its variants: jobs are enqueued as fast as they are done, and the depth is bounded, for minutes. The figure is the rate of
//! committed final states; the worst window is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, RetryPolicy};
use jobqueue_store::{Store, Submission};
use sqlx::Connection as _;
use tokio::task::JoinSet;

use super::{Sizes, progress};
use crate::ground::Ground;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::stats::float;
use crate::submissions;
use crate::yardstick;

/// Jobs that may wait before producers pause.
const DEPTH: u64 = 20_000;
/// Jobs of one enqueue call.
const BATCH: usize = 500;
const PRODUCERS: usize = 2;

/// What goes on besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Plain,
    /// An operator runs `SELECT count(*) FROM jobs WHERE status = 'queued'` every second.
    Counted,
    /// Priorities, delays and unique keys.
    Mixed,
    /// Another session holds a snapshot that has read `jobs`.
    Pinned,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "saturate",
            Self::Counted => "count",
            Self::Mixed => "mixed",
            Self::Pinned => "pinned",
        }
    }
}

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes, load: Load) -> anyhow::Result<Vec<Figure>> {
    let control = yardstick::measure(ground.url(), sizes.short).await?;
    ground.fresh().await?;
    let store = ground.store()?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut helpers = JoinSet::new();
    for _ in 0..PRODUCERS {
        helpers.spawn(produce(store.clone(), request(load)?, stop.clone()));
    }
    helpers.spawn(duties(store.clone(), stop.clone()));
    let worker = Process::worker(ground.url(), 100, 0)?;
    if load == Load::Counted {
        helpers.spawn(count_every_second(ground.url().to_owned(), stop.clone()));
    }
    let mut pin = ground.connection().await?;
    if load == Load::Pinned {
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM jobs")
            .execute(&mut pin)
            .await?;
    }
    let before = ground.meter().await?;
    let windows = watch(&store, sizes.steady, load.name()).await?;
    let after = ground.meter().await?;
    stop.store(true, Ordering::Relaxed);
    pin.close().await?;
    while let Some(done) = helpers.join_next().await {
        done??;
    }
    drain(&store).await?;
    let ledger = worker.stop().await?;
    Ledger::read(&[&ledger])?.prove_exactly_once(ground.count("completed").await?)?;
    std::fs::remove_file(ledger)?;
    store.close().await;
    let jobs: f64 = windows.iter().map(|(jobs, _)| *jobs).sum();
    let seconds: f64 = windows.iter().map(|(_, seconds)| *seconds).sum();
    let rates: Vec<f64> = windows.iter().map(|(jobs, seconds)| jobs / seconds).collect();
    let first = rates.first().copied().unwrap_or_default();
    let last = rates.last().copied().unwrap_or_default();
    let counted = u64::try_from(format!("{jobs:.0}").parse::<i64>()?)?;
    Ok(vec![
        Figure::plain(
            load.name(),
            format!("{:.0} s, one worker process", before_to(&before, &after)),
            "jobs/s",
            &[jobs / seconds],
        )
        .beside("yardstick", &[(jobs / seconds, control)])
        .costing(before.cost(&after, counted)),
        Figure::plain(load.name(), "by window: median (worst–best)", "jobs/s", &rates),
        Figure::plain(load.name(), "last window over first", "×", &[last / first]),
    ])
}

fn before_to(before: &crate::ground::Meter, after: &crate::ground::Meter) -> f64 {
    after.seconds_since(before)
}

/// One enqueue call of the load.
fn request(load: Load) -> anyhow::Result<Vec<Submission>> {
    let mut drafts = vec![submissions::draft()?; BATCH];
    if load == Load::Mixed {
        for (n, draft) in drafts.iter_mut().enumerate() {
            mix(n, draft);
        }
    }
    Ok(vec![submissions::submission(drafts)?])
}

/// 10 % delayed, four priorities, 5 % with a unique key.
fn mix(n: usize, draft: &mut JobDraft) {
    draft.priority = Some([0, 5, -5, 50].get(n % 4).copied().unwrap_or(0));
    draft.retry = Some(RetryPolicy::default());
    if n % 10 == 3 {
        draft.delay_seconds = Some(0.5);
    }
    if n % 20 == 7 {
        draft.unique = Some(UniqueDraft { key: format!("key-{n}"), ..UniqueDraft::default() });
    }
}

async fn produce(store: Store, request: Vec<Submission>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        if waiting(&store).await? > DEPTH {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        for _ in 0..4 {
            store.enqueue(&request).await?;
        }
    }
    Ok(())
}

/// The duties that the load needs: delayed jobs are promoted, tallies are folded.
async fn duties(store: Store, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut census_at = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        store.promote_due(5000).await?;
        if census_at.elapsed() > Duration::from_secs(5) {
            store.take_census().await?;
            census_at = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn count_every_second(url: String, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let mut connection = sqlx::PgConnection::connect(&url).await?;
    while !stop.load(Ordering::Relaxed) {
        sqlx::query("SELECT count(*) FROM jobs WHERE status = 'queued'").execute(&mut connection).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn totals(store: &Store) -> anyhow::Result<(u64, u64)> {
    let census = store.census().await?;
    let completed = census.queues.iter().map(|queue| queue.completed).sum();
    Ok((census.queues.iter().map(|queue| queue.created).sum(), completed))
}

async fn waiting(store: &Store) -> anyhow::Result<u64> {
    let (created, completed) = totals(store).await?;
    Ok(created.saturating_sub(completed))
}

/// Jobs and seconds of each window: a minute, or a fifth of a short run.
async fn watch(store: &Store, span: Duration, name: &str) -> anyhow::Result<Vec<(f64, f64)>> {
    let window = (span / 5).min(Duration::from_mins(1));
    let count = usize::try_from(span.as_millis() / window.as_millis().max(1))?;
    let bar = progress(name, count);
    let mut windows = Vec::with_capacity(count);
    let (mut last, mut at) = (totals(store).await?.1, Instant::now());
    for _ in 0..count {
        tokio::time::sleep(window).await;
        let now = totals(store).await?.1;
        windows.push((float(now - last), at.elapsed().as_secs_f64()));
        (last, at) = (now, Instant::now());
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(windows)
}

async fn drain(store: &Store) -> anyhow::Result<()> {
    while waiting(store).await? > 0 {
        store.promote_due(5000).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
