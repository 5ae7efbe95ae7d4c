//! The scenarios, one file each, and what they share.

mod backlog;
mod burn_down;
mod crowd;
mod idle;
mod latency;
mod memory;
mod peers;
mod rest;
mod steady;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jobqueue_core::JobDraft;
use jobqueue_store::Store;

use crate::args::{RunArgs, Scenario};
use crate::ground::Ground;
use crate::report::{Figure, write_json};
use crate::submissions;
use steady::Load;

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
            return Self { repeats: 1, jobs: 10_000, steady: second * 2, short: second / 2, deep: 20_000 };
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
    let ground =
        Ground::new(args.statements, if args.quick { Duration::ZERO } else { Duration::from_secs(5) })
            .await?;
    let wants = |scenario| args.scenarios.is_empty() || args.scenarios.contains(&scenario);
    let mut report = Report { figures: Vec::new(), json: args.json.clone() };
    if wants(Scenario::BurnDown) {
        report.add(burn_down::run(&ground, sizes).await?)?;
    }
    for (scenario, loads) in [
        (Scenario::Saturate, &[Load::Plain][..]),
        (Scenario::Count, &[Load::Counted]),
        (Scenario::Mixed, &[Load::Mixed, Load::MixedPayload(2_000), Load::MixedPayload(64_000)]),
        (Scenario::Pinned, &[Load::Pinned { read: false }, Load::Pinned { read: true }]),
    ] {
        for load in loads.iter().filter(|_| wants(scenario)) {
            report.add(steady::run(&ground, sizes, *load).await?)?;
        }
    }
    if wants(Scenario::Rest) {
        report.add(rest::run(&ground, sizes).await?)?;
    }
    if wants(Scenario::Latency) {
        report.add(latency::run(&ground, sizes).await?)?;
    }
    if wants(Scenario::Idle) {
        report.add(idle::run(&ground, sizes).await?)?;
    }
    if wants(Scenario::Memory) {
        report.add(memory::run(&ground, sizes).await?)?;
    }
    if wants(Scenario::Backlog) {
        report.add(backlog::run(&ground, sizes).await?)?;
    }
    if wants(Scenario::Crowd) {
        report.add(crowd::run(&ground, sizes).await?)?;
    }
    if args.scenarios.contains(&Scenario::Peers) {
        report.add(peers::run(&ground, sizes).await?)?;
    }
    if args.statements {
        ground.statements().await?.iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

/// Figures, told and kept as they come: what fails later must not cost what was measured before.
struct Report {
    figures: Vec<Figure>,
    json: Option<PathBuf>,
}

impl Report {
    fn add(&mut self, figures: Vec<Figure>) -> anyhow::Result<()> {
        figures.iter().for_each(Figure::print);
        self.figures.extend(figures);
        match &self.json {
            Some(path) => write_json(path, &self.figures).with_context(|| path.display().to_string()),
            None => Ok(()),
        }
    }
}

/// Stores `jobs` plain jobs, from four connections.
pub(crate) async fn fill(store: &Store, jobs: usize) -> anyhow::Result<()> {
    fill_with(store, jobs, |_| submissions::draft()).await
}

/// The same with a draft for each number.
pub(crate) async fn fill_with(
    store: &Store,
    jobs: usize,
    draft: fn(usize) -> anyhow::Result<JobDraft>,
) -> anyhow::Result<()> {
    let bar = progress("filling", jobs);
    let calls = jobs.div_ceil(BATCH);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..4 {
        let (store, bar) = (store.clone(), bar.clone());
        clients.spawn(async move {
            for call in (client..calls).step_by(4) {
                let numbers = call * BATCH..jobs.min((call + 1) * BATCH);
                let count = numbers.len();
                let drafts = numbers.map(draft).collect::<anyhow::Result<_>>()?;
                store.enqueue(&[submissions::submission(drafts)?]).await?;
                bar.inc(u64::try_from(count)?);
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

/// Without any progress for so long, a run has failed.
pub(crate) const STUCK: Duration = Duration::from_mins(1);

/// Waits until the database says that `jobs` jobs are completed; looks more often towards the end, for looking costs.
pub(crate) async fn wait_for_completed(store: &Store, jobs: u64, bar: &ProgressBar) -> anyhow::Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let completed: u64 = store.census().await?.queues.iter().map(|queue| queue.completed).sum();
        bar.set_position(completed);
        if completed > last {
            (last, since) = (completed, Instant::now());
        }
        anyhow::ensure!(since.elapsed() < STUCK, "{completed} of {jobs} jobs are completed, and no more");
        if completed >= jobs {
            bar.finish_and_clear();
            return Ok(());
        }
        let near = (jobs - completed) * 10 < jobs;
        tokio::time::sleep(Duration::from_millis(if near { 10 } else { 100 })).await;
    }
}

/// A progress bar on stderr.
pub(crate) fn progress(what: &str, length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {bar:40} {pos}/{len} {elapsed}")
        .unwrap_or(ProgressStyle::default_bar());
    ProgressBar::new(u64::try_from(length).unwrap_or(0)).with_style(style).with_message(what.to_owned())
}
