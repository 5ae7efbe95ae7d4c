//! Remote workers: each leases by long poll over HTTP and settles, one job at a time.

use std::net::SocketAddr;

use anyhow::Context as _;
use jobqueue_runtime::Shutdown;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use crate::args::RemoteArgs;
use crate::http_load::{Connection, post};
use crate::worker::LedgerWriter;

#[derive(Deserialize)]
struct Acquired {
    leases: Vec<Granted>,
}

#[derive(Deserialize)]
struct Granted {
    lease: String,
    job: GrantedJob,
}

#[derive(Deserialize)]
struct GrantedJob {
    id: String,
    attempt: u16,
}

/// Runs until SIGTERM, then finishes the ledger.
pub(crate) async fn run(args: RemoteArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals()?;
    let ledger = LedgerWriter::create(&args.ledger)?;
    let address: SocketAddr = args.address.parse()?;
    let mut workers = JoinSet::new();
    for _ in 0..args.workers {
        workers.spawn(work(address, ledger.clone(), shutdown.clone()));
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    ledger.finish()
}

async fn work(address: SocketAddr, ledger: LedgerWriter, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    let acquire = json!({ "queues": ["default"], "limit": 1, "wait": 1 }).to_string();
    let acquire = post("/v1/leases", &acquire);
    while !shutdown.soft().is_cancelled() {
        let (status, body) = connection.exchange(&acquire).await?;
        anyhow::ensure!(status == 200, "{status} for a lease");
        let acquired: Acquired = serde_json::from_slice(body).context("leases")?;
        if acquired.leases.is_empty() {
            continue;
        }
        let items: Vec<_> = acquired
            .leases
            .iter()
            .map(|granted| {
                ledger.record(&granted.job.id, granted.job.attempt, 0);
                json!({ "lease": granted.lease, "outcome": "completed" })
            })
            .collect();
        let settle = post("/v1/leases/settle", &json!({ "items": items }).to_string());
        let (status, _) = connection.exchange(&settle).await?;
        anyhow::ensure!(status == 200, "{status} for a settle");
    }
    Ok(())
}
