//! peers: other queues on the same server in the same run, through their adapters in `bench/peers`, which are not part
//! of this workspace. It runs only if it is named on the command line. Each round measures the yardstick, jobqueue and
//! every peer, one after the other.
//!
//! A peer is treated like jobqueue: it uses its fastest documented set-up, and after the fill it gets `VACUUM
//! (ANALYZE)`, which autovacuum would have done by then. If a peer is far below its known share of the yardstick, its
//! set-up is wrong and the run fails.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::latency::{self, Route};
use super::{STUCK, Sizes, burn_down};
use crate::open_loop::{SubmitBy, due_in, send};
use crate::report::Figure;
use crate::server::BenchServer;
use crate::stats::Latency;
use crate::{submissions, yardstick};

/// An adapter: its name, its command from the root of the repository, the file that must exist, and the command that
/// builds it.
struct Peer {
    name: &'static str,
    command: &'static [&'static str],
    needs: &'static str,
    build: &'static str,
    /// Its drain rate as a share of the yardstick's, measured outside of this benchmark on an idle machine with its
    /// fastest set-up.
    share: f64,
}

const PEERS: [Peer; 2] = [
    Peer {
        name: "graphile-worker (npm)",
        command: &["node", "bench/peers/graphile-worker/run.mjs"],
        needs: "bench/peers/graphile-worker/node_modules",
        build: "(cd bench/peers/graphile-worker && npm ci)",
        share: 0.78,
    },
    Peer {
        name: "graphile_worker (crate)",
        command: &["bench/peers/graphile-worker-rs/target/release/jobqueue-bench-graphile-worker-rs"],
        needs: "bench/peers/graphile-worker-rs/target/release/jobqueue-bench-graphile-worker-rs",
        build: "(cd bench/peers/graphile-worker-rs && CARGO_TARGET_DIR=target cargo build --release)",
        share: 0.81,
    },
];

/// The part of its known share that a peer must reach for a fair comparison.
const LEAST_PART: f64 = 0.8;

/// Maximum number of jobs of a drain, for which the slowest peer takes half a minute.
const JOBS: usize = 200_000;
/// Submissions per second when latency is measured.
const PER_SECOND: u32 = 50;
/// The statement that submits a job with its due time to a peer.
const ADD_TIMED: &str = "SELECT graphile_worker.add_job('timed', $1::json)";

/// The result of an adapter, which is its last line.
#[derive(Deserialize)]
struct PeerResult {
    /// Jobs per second of a drain.
    #[serde(default)]
    rate: f64,
    /// Microseconds from the due time to the start of each job.
    #[serde(default)]
    micros: Vec<u64>,
}

/// See the module. Each measurement has an empty database. Peers that were not built are skipped with a message.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let (jobs, span) = (sizes.jobs.min(JOBS), sizes.short * 3);
    let limit = yardstick::measure(server, sizes.short).await?.rate;
    let ours = burn_down::once(server, jobs, 1, |_| submissions::draft()).await?;
    let (rest, rest_cost) = latency::measure(server, Route::Rest, PER_SECOND, span).await?;
    let (sql, sql_cost) = latency::measure(server, Route::SqlWake, PER_SECOND, span).await?;
    let raw = yardstick::latency(server, PER_SECOND, span).await?;
    let mut figures = Vec::new();
    for peer in PEERS {
        if !Path::new(peer.needs).exists() {
            eprintln!(
                "{} is skipped because it is not built; to build it, run in the root of the repository: {}",
                peer.name, peer.build
            );
            continue;
        }
        let rate = drain(&peer, server, jobs).await.context(peer.name)?;
        let share = Figure::plain("peers", format!("{}: burn-down of {jobs}", peer.name), "jobs/s", rate);
        figures.push(share.compared_with("yardstick", [limit]));
        peer.check_share(rate / limit)?;
        let theirs = start_latency(&peer, server, span).await.context(peer.name)?;
        // compares a figure of ours with the one of this peer
        let figure = |what: &str, unit: &str, ours: f64, theirs: f64| {
            let what = format!("ours compared with {}: {what}", peer.name);
            Figure::plain("peers", what, unit, ours).compared_with("theirs", [theirs])
        };
        let start = |route: &str, share: &str| {
            format!("{route} to start ({PER_SECOND}/s, {share}), their SQL to start")
        };
        figures.extend([
            figure(&format!("burn-down of {jobs}"), "jobs/s", ours.rate, rate).with_cost(&ours.cost),
            figure(&start("REST", "p50"), "ms", rest.p50, theirs.p50).with_cost(&rest_cost),
            figure(&start("REST", "p99"), "ms", rest.p99, theirs.p99),
            figure(&start("SQL", "p50"), "ms", sql.p50, theirs.p50).with_cost(&sql_cost),
            figure(&start("SQL", "p99"), "ms", sql.p99, theirs.p99),
            figure(&start("yardstick", "p50"), "ms", raw.p50, theirs.p50),
            figure(&start("yardstick", "p99"), "ms", raw.p99, theirs.p99),
        ]);
    }
    Ok(figures)
}

impl Peer {
    /// Fails if only a wrong set-up can explain the figure.
    fn check_share(&self, share: f64) -> anyhow::Result<()> {
        anyhow::ensure!(
            share >= LEAST_PART * self.share,
            "{} drained {share:.2} of the yardstick and is known to drain {:.2}: its set-up is wrong, or other work disturbed the run",
            self.name,
            self.share
        );
        Ok(())
    }
}

/// Jobs per second of a peer that drains waiting jobs.
async fn drain(peer: &Peer, server: &BenchServer, jobs: usize) -> anyhow::Result<f64> {
    server.reset().await?;
    Ok(Adapter::start(peer, server, "drain", jobs).await?.end().await?.rate)
}

/// Latency of a peer in its default set-up, with the same sender as for jobqueue.
async fn start_latency(peer: &Peer, server: &BenchServer, span: Duration) -> anyhow::Result<Latency> {
    server.reset().await?;
    let jobs = usize::try_from(due_in(span, PER_SECOND))?;
    let adapter = Adapter::start(peer, server, "latency", jobs).await?;
    let submit_by = SubmitBy::Sql { url: server.url().to_owned(), statement: ADD_TIMED.to_owned() };
    send(submit_by, PER_SECOND, span).await?;
    Latency::of_micros(adapter.end().await?.micros)
}

/// A running adapter. Its first line is `ready`, its last line is the result.
struct Adapter {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Adapter {
    async fn start(peer: &Peer, server: &BenchServer, what: &str, jobs: usize) -> anyhow::Result<Self> {
        let [program, arguments @ ..] = peer.command else { anyhow::bail!("no command") };
        let mut child = Command::new(program)
            .args(arguments)
            .env("DATABASE_URL", server.url())
            .env("WHAT", what)
            .env("JOBS", jobs.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let first = tokio::time::timeout(STUCK, lines.next_line()).await??;
        anyhow::ensure!(first.as_deref() == Some("ready"), "its first line is {first:?} instead of `ready`");
        Ok(Self { child, lines })
    }

    async fn end(mut self) -> anyhow::Result<PeerResult> {
        let last = tokio::time::timeout(STUCK * 2, self.lines.next_line()).await??;
        let result = serde_json::from_str(&last.context("it printed no result")?)?;
        let status = tokio::time::timeout(STUCK, self.child.wait()).await??;
        anyhow::ensure!(status.success(), "{status}");
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_far_below_its_known_share_fails_the_run() {
        for peer in PEERS {
            assert!(peer.check_share(peer.share * 0.81).is_ok(), "{}", peer.name);
            let refused = peer.check_share(peer.share * 0.79).unwrap_err().to_string();
            assert!(refused.contains(peer.name), "{refused}");
        }
    }
}
