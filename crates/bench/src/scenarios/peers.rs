//! peers: other queues on the same server in the same run, through their adapters in `bench/peers`, which are not part of this workspace.
//! Runs only when it is named.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use tokio::process::Command;

use super::Sizes;
use crate::ground::Ground;
use crate::report::Figure;

/// From the root of the repository.
const GRAPHILE_WORKER: &str = "bench/peers/graphile-worker";

/// One line of an adapter.
#[derive(Deserialize)]
struct Told {
    what: String,
    unit: String,
    value: f64,
}

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let folder = Path::new(GRAPHILE_WORKER);
    anyhow::ensure!(
        folder.join("node_modules").is_dir(),
        "run `npm ci` in {GRAPHILE_WORKER} first, and this from the root of the repository"
    );
    ground.fresh().await?;
    let output = Command::new("node")
        .arg(folder.join("run.mjs"))
        .env("DATABASE_URL", ground.url())
        .env("JOBS", sizes.jobs.min(200_000).to_string())
        .env("SECONDS", sizes.short.as_secs().to_string())
        .output()
        .await
        .context("node")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let told = text.lines().map(serde_json::from_str::<Told>).collect::<Result<Vec<_>, _>>()?;
    Ok(told
        .into_iter()
        .map(|told| {
            Figure::plain("peers", format!("graphile-worker, {}", told.what), &told.unit, &[told.value])
        })
        .collect())
}
