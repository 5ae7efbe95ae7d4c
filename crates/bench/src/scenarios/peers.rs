//! peers: other queues on the same server in the same run, through their adapters in `bench/peers`, which are not part of this workspace.
//! Runs only when it is named; we have a turn in each round.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::latency::{self, Route};
use super::{STUCK, Sizes, burn_down};
use crate::ground::Ground;
use crate::open_loop::{Way, due_in, send};
use crate::report::Figure;
use crate::stats::Latency;
use crate::{submissions, yardstick};

/// An adapter: its name, its command from the root of the repository, and what builds it.
struct Peer {
    name: &'static str,
    command: &'static [&'static str],
    needs: &'static str,
    build: &'static str,
}

const PEERS: [Peer; 2] = [
    Peer {
        name: "graphile-worker (npm)",
        command: &["node", "bench/peers/graphile-worker/run.mjs"],
        needs: "bench/peers/graphile-worker/node_modules",
        build: "(cd bench/peers/graphile-worker && npm ci)",
    },
    Peer {
        name: "graphile_worker (crate)",
        command: &["bench/peers/graphile-worker-rs/target/release/jobqueue-bench-graphile-worker-rs"],
        needs: "bench/peers/graphile-worker-rs/target/release/jobqueue-bench-graphile-worker-rs",
        build: "(cd bench/peers/graphile-worker-rs && CARGO_TARGET_DIR=target cargo build --release)",
    },
];

/// Jobs of a drain, at most: the slowest takes half a minute then.
const JOBS: usize = 200_000;
/// Submissions a second, for latency.
const PER_SECOND: u32 = 50;
/// How peers are asked for a job that tells when it was due.
const ADD_TIMED: &str = "SELECT graphile_worker.add_job('timed', $1::json)";

/// The last line of an adapter.
#[derive(Deserialize)]
struct Told {
    /// Jobs per second of a drain.
    #[serde(default)]
    rate: f64,
    /// Microseconds from due to start, of each job.
    #[serde(default)]
    micros: Vec<u64>,
}

/// See the module. Everybody has a turn with a fresh database. Peers that were not built are left out, with a line that says so.
pub(crate) async fn round(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let (jobs, span) = (sizes.jobs.min(JOBS), sizes.short * 3);
    let ours = burn_down::once(ground, jobs, 1, |_| submissions::draft()).await?;
    let (rest, rest_cost) = latency::measure(ground, Route::Rest, PER_SECOND, span).await?;
    let (sql, sql_cost) = latency::measure(ground, Route::SqlWake, PER_SECOND, span).await?;
    let raw = yardstick::latency(ground, PER_SECOND, span).await?;
    let mut figures = Vec::new();
    for peer in PEERS {
        if !Path::new(peer.needs).exists() {
            eprintln!("{} is left out: from the root of the repository, run {}", peer.name, peer.build);
            continue;
        }
        let rate = drain(&peer, ground, jobs).await.context(peer.name)?;
        let theirs = start_latency(&peer, ground, span).await.context(peer.name)?;
        // a figure of ours is another one beside each peer
        let figure = |what: &str, unit: &str, ours: f64, theirs: f64| {
            let what = format!("ours beside {}: {what}", peer.name);
            Figure::plain("peers", what, unit, ours).beside("theirs", [theirs])
        };
        let start =
            |way: &str, share: &str| format!("{way} to start ({PER_SECOND}/s, {share}), their SQL to start");
        figures.extend([
            figure(&format!("burn-down of {jobs}"), "jobs/s", ours.rate, rate).costing(&ours.cost),
            figure(&start("REST", "p50"), "ms", rest.p50, theirs.p50).costing(&rest_cost),
            figure(&start("REST", "p99"), "ms", rest.p99, theirs.p99),
            figure(&start("SQL", "p50"), "ms", sql.p50, theirs.p50).costing(&sql_cost),
            figure(&start("SQL", "p99"), "ms", sql.p99, theirs.p99),
            figure(&start("yardstick", "p50"), "ms", raw.p50, theirs.p50),
            figure(&start("yardstick", "p99"), "ms", raw.p99, theirs.p99),
        ]);
    }
    Ok(figures)
}

/// Jobs per second of a peer that drains what waits.
async fn drain(peer: &Peer, ground: &Ground, jobs: usize) -> anyhow::Result<f64> {
    ground.fresh().await?;
    Ok(Adapter::start(peer, ground, "drain", jobs).await?.end().await?.rate)
}

/// Latency of a peer in its default set-up, with the sender that we are measured with.
async fn start_latency(peer: &Peer, ground: &Ground, span: Duration) -> anyhow::Result<Latency> {
    ground.fresh().await?;
    let jobs = usize::try_from(due_in(span, PER_SECOND))?;
    let adapter = Adapter::start(peer, ground, "latency", jobs).await?;
    let way = Way::Sql { url: ground.url().to_owned(), statement: ADD_TIMED.to_owned() };
    send(way, PER_SECOND, span).await?;
    Latency::of_micros(adapter.end().await?.micros)
}

/// A running adapter: its first line says that it is ready, its last one what it has measured.
struct Adapter {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Adapter {
    async fn start(peer: &Peer, ground: &Ground, what: &str, jobs: usize) -> anyhow::Result<Self> {
        let [program, arguments @ ..] = peer.command else { anyhow::bail!("no command") };
        let mut child = Command::new(program)
            .args(arguments)
            .env("DATABASE_URL", ground.url())
            .env("WHAT", what)
            .env("JOBS", jobs.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let first = tokio::time::timeout(STUCK, lines.next_line()).await??;
        anyhow::ensure!(first.as_deref() == Some("ready"), "it said {first:?}");
        Ok(Self { child, lines })
    }

    async fn end(mut self) -> anyhow::Result<Told> {
        let last = tokio::time::timeout(STUCK * 2, self.lines.next_line()).await??;
        let told = serde_json::from_str(&last.context("it told nothing")?)?;
        let status = tokio::time::timeout(STUCK, self.child.wait()).await??;
        anyhow::ensure!(status.success(), "{status}");
        Ok(told)
    }
}
