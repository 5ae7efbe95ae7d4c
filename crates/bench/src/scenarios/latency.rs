//! latency: REST submission to handler start, open loop. The clock starts when a job was due to be sent, so a slow answer does not hide
//! the jobs behind it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Sizes, progress, wait_for_completed};
use crate::ground::Ground;
use crate::http_load::{Connection, post};
use crate::ledger::Ledger;
use crate::process::{Process, monotonic_micros};
use crate::report::Figure;
use crate::stats::{Latency, float};
use crate::submissions::KIND;

/// Senders; each has one connection.
const SENDERS: u32 = 32;

/// See the module.
pub(crate) async fn run(ground: &Ground, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for per_second in [50, 1000, 5000] {
        ground.fresh().await?;
        let store = ground.store()?;
        let (api, address) = Process::api(ground.url(), false).await?;
        let worker = Process::worker(ground.url(), 100, 0)?;
        let jobs = send(address, per_second, sizes.short).await?;
        wait_for_completed(&store, jobs, &progress("latency", usize::try_from(jobs)?)).await?;
        let ledger = worker.stop().await?;
        api.stop().await?;
        store.close().await;
        let told = Ledger::read(&[&ledger])?;
        told.prove_exactly_once(jobs)?;
        std::fs::remove_file(ledger)?;
        let latency = Latency::of_micros(told.micros)?;
        for (name, value) in [
            ("p50", latency.p50),
            ("p95", latency.p95),
            ("p99", latency.p99),
            ("p99.9", latency.p999),
            ("max", latency.max),
        ] {
            figures.push(Figure::plain(
                "latency",
                format!("REST to start, {per_second}/s, {name}"),
                "ms",
                &[value],
            ));
        }
        eprintln!("latency {per_second}/s ({:.0} jobs): {latency:?}", float(jobs));
    }
    Ok(figures)
}

async fn send(address: SocketAddr, per_second: u32, span: Duration) -> anyhow::Result<u64> {
    let mut senders = JoinSet::new();
    let pause = Duration::from_secs(1) * SENDERS / per_second;
    let began = Instant::now() + Duration::from_millis(500);
    for sender in 0..SENDERS {
        let first = began + Duration::from_secs(1) * sender / per_second;
        senders.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let (mut due, mut sent) = (first, 0_u64);
            while due < began + span {
                tokio::time::sleep_until(due.into()).await;
                let late = u64::try_from(due.elapsed().as_micros())?;
                let due_micros = monotonic_micros() - late;
                let body = format!(r#"{{"kind":"{KIND}","payload":{{"sent_micros":{due_micros}}}}}"#);
                anyhow::ensure!(
                    connection.send(&post("/v1/jobs", &body)).await? == 201,
                    "a submission was refused"
                );
                sent += 1;
                due += pause;
            }
            anyhow::Ok(sent)
        });
    }
    let mut jobs = 0;
    while let Some(sent) = senders.join_next().await {
        jobs += sent??;
    }
    Ok(jobs)
}
