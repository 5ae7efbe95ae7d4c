//! peers: other queues on the same server in the same run, through their adapters in `bench/peers`, which are not part of this workspace.
//! Runs only when it is named.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::process::Command;

use super::Sizes;
use crate::ground::Ground;
use crate::report::Figure;

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

/// One line of an adapter.
#[derive(Deserialize)]
struct Told {
    what: String,
    unit: String,
    value: f64,
}

/// See the module. Those that were not built are left out, with a line that says so.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for peer in PEERS {
        if !Path::new(peer.needs).exists() {
            eprintln!("{} is left out: from the root of the repository, run {}", peer.name, peer.build);
            continue;
        }
        ground.fresh().await?;
        let told = ask(&peer, ground, sizes).await.context(peer.name)?;
        figures.extend(told.into_iter().map(|told| {
            Figure::plain("peers", format!("{}, {}", peer.name, told.what), &told.unit, &[told.value])
        }));
    }
    Ok(figures)
}

async fn ask(peer: &Peer, ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Told>> {
    let [program, arguments @ ..] = peer.command else { anyhow::bail!("no command") };
    let output = Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", ground.url())
        .env("JOBS", sizes.jobs.min(200_000).to_string())
        .env("SECONDS", sizes.short.as_secs().to_string())
        .output()
        .await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| Ok(serde_json::from_str::<Told>(line)?)).collect()
}
