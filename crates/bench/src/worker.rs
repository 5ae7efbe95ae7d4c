//! The worker process under test: the product's worker with a handler that does nothing but note that it ran.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use jobqueue_runtime::Shutdown;
use jobqueue_worker::{JobContext, Worker};
use serde::Deserialize;

use crate::args::WorkerArgs;
use crate::process::monotonic_micros;
use crate::submissions::KIND;

/// The part of a payload that tells when the job was to be sent.
#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    sent_micros: u64,
}

/// Runs until SIGTERM, then writes the ledger.
pub(crate) async fn run(args: WorkerArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals()?;
    let ledger = Arc::new(Mutex::new(String::new()));
    let notes = ledger.clone();
    let worker = Worker::at(&args.url)
        .queues(["default"])
        .slots(args.slots)
        .batch_size(args.batch)
        .handle(KIND, move |context: JobContext, sent: Sent| {
            let notes = notes.clone();
            async move {
                let micros = if sent.sent_micros > 0 {
                    monotonic_micros().saturating_sub(sent.sent_micros).max(1)
                } else {
                    0
                };
                if let Ok(mut notes) = notes.lock() {
                    // writing to a String cannot fail
                    let _ = writeln!(notes, "{} {} {micros}", context.id(), context.attempt());
                }
                Ok(())
            }
        })
        .build()?;
    worker.run(shutdown).await?;
    let text = ledger.lock().map(|notes| notes.clone()).unwrap_or_default();
    std::fs::write(&args.ledger, text)?;
    Ok(())
}
