//! The scenarios, one file each, and the functions that they share.

mod backlog;
mod burn_down;
mod crowd;
mod idle;
mod latency;
mod memory;
mod peers;
mod rest;
mod schedules;
mod steady;

use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use indicatif::{ProgressBar, ProgressStyle};
use jobqueue_core::JobDraft;
use jobqueue_store::Store;

use crate::args::{RunArgs, Scenario};
use crate::machine::Machine;
use crate::report::{Figure, Report, join};
use crate::server::BenchServer;
use crate::submissions;
use steady::Load;

/// Jobs per enqueue call when a backlog is created.
const BATCH: usize = 1000;

/// The sizes of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) jobs: usize,
    /// Duration of the steady scenarios.
    pub(crate) steady: Duration,
    /// Duration of each half of `idle`.
    pub(crate) idle: Duration,
    /// Duration of everything else, and of controls.
    pub(crate) short: Duration,
    /// Jobs of the deepest backlog.
    pub(crate) deep: usize,
    /// Jobs of the shallowest backlog, and jobs that one round drains from any backlog.
    pub(crate) shallow: usize,
    /// Number of these rounds.
    pub(crate) rounds_per_depth: usize,
}

impl Sizes {
    fn of(args: &RunArgs) -> Self {
        let second = Duration::from_secs(1);
        if args.quick {
            return Self {
                jobs: 10_000,
                steady: second * 2,
                idle: second * 2,
                short: second / 2,
                deep: 40_000,
                shallow: 2_000,
                rounds_per_depth: 2,
            };
        }
        Self {
            jobs: args.jobs,
            steady: Duration::from_secs(args.seconds.unwrap_or(600)),
            idle: Duration::from_secs(args.seconds.unwrap_or(120)),
            short: second * 10,
            deep: 10_000_000,
            shallow: 10_000,
            rounds_per_depth: 20,
        }
    }
}

/// Runs the scenarios round by round, and prints each one after its last round.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    let sizes = Sizes::of(&args);
    let rest = if args.quick { Duration::ZERO } else { Duration::from_secs(5) };
    let server = BenchServer::new(args.statements, rest).await?;
    let mut report = Report { machine: Machine::of(&server).await?, figures: Vec::new() };
    println!("{}\n", report.machine);
    let wanted = || Scenario::value_variants().iter().copied().filter(|scenario| scenario.is_wanted(&args));
    for round in 1..=wanted().map(|scenario| scenario.repeats(&args)).max().unwrap_or(0) {
        for scenario in wanted().filter(|scenario| scenario.repeats(&args) >= round) {
            join(&mut report.figures, scenario.round(&server, sizes).await?);
            // a later failure must not lose the figures so far
            if let Some(path) = &args.json {
                report.write(path)?;
            }
            let lines = report.figures.iter().filter(|figure| scenario.owns(figure));
            if round < scenario.repeats(&args) {
                lines.for_each(|line| eprintln!("after round {round}: {line}"));
            } else {
                lines.for_each(|line| println!("{line}"));
            }
        }
    }
    if args.statements {
        server.statements().await?.iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

impl Scenario {
    fn is_wanted(self, args: &RunArgs) -> bool {
        if args.scenarios.is_empty() { self != Self::Peers } else { args.scenarios.contains(&self) }
    }

    fn owns(self, figure: &Figure) -> bool {
        self.to_possible_value().is_some_and(|name| name.get_name() == figure.scenario)
    }

    fn repeats(self, args: &RunArgs) -> usize {
        let is_brief = matches!(self, Self::BurnDown | Self::Rest | Self::Crowd | Self::Peers);
        args.repeats.unwrap_or(if is_brief && !args.quick { 3 } else { 1 })
    }

    /// Measures the scenario once.
    async fn round(self, server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
        let payloads = [Load::Mixed, Load::MixedPayload(2_000), Load::MixedPayload(64_000)];
        let pins = [false, true].map(|read| Load::Pinned { read });
        match self {
            Self::BurnDown => burn_down::round(server, sizes).await,
            Self::Saturate => steady::round(server, sizes, &[Load::Plain]).await,
            Self::Count => steady::round(server, sizes, &[Load::Counted]).await,
            Self::Mixed => steady::round(server, sizes, &payloads).await,
            Self::Pinned => steady::round(server, sizes, &pins).await,
            Self::Rest => rest::round(server, sizes).await,
            Self::Latency => latency::round(server, sizes).await,
            Self::Idle => idle::round(server, sizes).await,
            Self::Memory => memory::round(server, sizes).await,
            Self::Backlog => backlog::round(server, sizes).await,
            Self::Crowd => crowd::round(server, sizes).await,
            Self::Schedules => schedules::round(server, sizes).await,
            Self::Peers => peers::round(server, sizes).await,
        }
    }
}

/// Stores `jobs` plain jobs, from four connections.
pub(crate) async fn fill(store: &Store, jobs: usize) -> anyhow::Result<()> {
    fill_with(store, jobs, |_| submissions::draft()).await
}

/// Stores jobs whose drafts are made from their numbers.
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

/// A run fails if there is no progress for this long.
pub(crate) const STUCK: Duration = Duration::from_mins(1);

/// Waits until `jobs` jobs are completed according to the database. Counting is expensive, so it is done more often
/// only towards the end.
pub(crate) async fn wait_for_completed(store: &Store, jobs: u64, bar: &ProgressBar) -> anyhow::Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let completed: u64 = store.census().await?.queues.iter().map(|queue| queue.completed).sum();
        bar.set_position(completed);
        if completed > last {
            (last, since) = (completed, Instant::now());
        }
        anyhow::ensure!(
            since.elapsed() < STUCK,
            "{completed} of {jobs} jobs are completed, and there is no progress"
        );
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
