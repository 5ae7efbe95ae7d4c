//! The scenarios, one file each, and what they share.

mod backlog;
mod burn_down;
mod idle;
mod latency;
mod rest;
mod steady;

use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jobqueue_store::Store;

use crate::args::{RunArgs, Scenario};
use crate::ground::Ground;
use crate::report::{Figure, write_json};

/// Jobs of one enqueue call while a backlog is made.
const BATCH: usize = 1000;

/// Sizes and repeats of this run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) repeats: usize,
    pub(crate) jobs: usize,
    pub(crate) steady: Duration,
    pub(crate) short: Duration,
    pub(crate) deep: usize,
}

impl Sizes {
    fn of(args: &RunArgs) -> Self {
        if args.quick {
            let second = Duration::from_secs(1);
            return Self { repeats: 1, jobs: 20_000, steady: second * 5, short: second * 2, deep: 50_000 };
        }
        let second = Duration::from_secs(1);
        Self {
            repeats: args.repeats,
            jobs: args.jobs,
            steady: second * u32::try_from(args.seconds).unwrap_or(600),
            short: second * 10,
            deep: 10_000_000,
        }
    }
}

/// Runs what was asked for and prints it.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    let sizes = Sizes::of(&args);
    let ground = Ground::new().await?;
    let wants = |scenario| args.scenarios.is_empty() || args.scenarios.contains(&scenario);
    let mut figures: Vec<Figure> = Vec::new();
    if wants(Scenario::BurnDown) {
        figures.extend(burn_down::run(&ground, sizes).await?);
    }
    for (scenario, load) in [
        (Scenario::Saturate, steady::Load::Plain),
        (Scenario::Count, steady::Load::Counted),
        (Scenario::Mixed, steady::Load::Mixed),
        (Scenario::Pinned, steady::Load::Pinned),
    ] {
        if wants(scenario) {
            figures.extend(steady::run(&ground, sizes, load).await?);
        }
    }
    if wants(Scenario::Rest) {
        figures.extend(rest::run(&ground, sizes).await?);
    }
    if wants(Scenario::Latency) {
        figures.extend(latency::run(&ground, sizes).await?);
    }
    if wants(Scenario::Idle) {
        figures.extend(idle::run(&ground, sizes).await?);
    }
    if wants(Scenario::Backlog) {
        figures.extend(backlog::run(&ground, sizes).await?);
    }
    println!();
    figures.iter().for_each(Figure::print);
    if let Some(path) = &args.json {
        write_json(path, &figures).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Stores `jobs` plain jobs, from four connections.
pub(crate) async fn fill(store: &Store, jobs: usize) -> anyhow::Result<()> {
    let bar = progress("filling", jobs);
    let request = [crate::submissions::plain(BATCH)?];
    let calls = jobs.div_ceil(BATCH);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..4 {
        let (store, request, bar) = (store.clone(), request.clone(), bar.clone());
        clients.spawn(async move {
            for _ in (client..calls).step_by(4) {
                store.enqueue(&request).await?;
                bar.inc(1000);
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Waits until the database says that `jobs` more jobs are completed than at the start; answers when it said so.
pub(crate) async fn wait_for_completed(store: &Store, jobs: u64, bar: &ProgressBar) -> anyhow::Result<()> {
    loop {
        let completed: u64 = store.census().await?.queues.iter().map(|queue| queue.completed).sum();
        bar.set_position(completed);
        if completed >= jobs {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A progress bar on stderr.
pub(crate) fn progress(what: &str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {bar:40} {pos}/{len} {elapsed}")
        .unwrap_or(ProgressStyle::default_bar());
    ProgressBar::new(u64::try_from(length).unwrap_or(0)).with_style(style).with_message(what.to_owned())
}
