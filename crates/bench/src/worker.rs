//! The worker process under test: the product's worker with a handler that only records that it ran.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobqueue_runtime::Shutdown;
use jobqueue_worker::{HandlerError, JobContext, Worker};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::WorkerArgs;
use crate::process::monotonic_micros;
use crate::submissions::KIND;

/// Maximum number of jobs per lease call. The product's default is smaller, because it is for jobs that take time.
const BATCH: usize = 500;
/// The interval between progress reports while there is progress, and while there is none, so that an idle worker uses
/// no processor time.
const REPORT_INTERVALS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// The members of a payload that control the handler.
#[derive(Deserialize)]
struct Work {
    /// When the job was due, in microseconds of the monotonic clock.
    #[serde(default)]
    sent_micros: u64,
    /// Return a result.
    #[serde(default)]
    result: bool,
    /// Fail in the first attempt.
    #[serde(default)]
    fail_first: bool,
}

/// Writes executions to the ledger. It is buffered, so that it uses little memory and time.
#[derive(Clone)]
pub(crate) struct LedgerWriter(Arc<Mutex<BufWriter<File>>>);

impl LedgerWriter {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(BufWriter::with_capacity(64 * 1024, File::create(path)?)))))
    }

    /// Records the start of an attempt of a job that was due at `sent_micros`; 0 if unknown.
    pub(crate) fn record(&self, id: &str, attempt: u16, sent_micros: u64) {
        let micros = if sent_micros > 0 { monotonic_micros().saturating_sub(sent_micros).max(1) } else { 0 };
        if let Ok(mut ledger) = self.0.lock() {
            // a line that cannot be written appears as a lost job
            let _ = writeln!(ledger, "{id} {attempt} {micros}");
        }
    }

    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        Ok(self.0.lock().map_err(|_| anyhow::anyhow!("a handler panicked"))?.flush()?)
    }
}

/// Runs until SIGTERM, then finishes the ledger.
pub(crate) async fn run(args: WorkerArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals()?;
    let ledger = LedgerWriter::create(&args.ledger)?;
    let handler_ledger = ledger.clone();
    let worker = Worker::at(&args.url)
        .queues(["default"])
        .slots(args.slots)
        .batch_size(BATCH)
        .handle(KIND, move |context: JobContext, work: Work| {
            let ledger = handler_ledger.clone();
            async move {
                ledger.record(&context.id().to_string(), context.attempt(), work.sent_micros);
                if work.fail_first && context.attempt() == 1 {
                    return Err(HandlerError::retry("first", "every first attempt fails"));
                }
                Ok::<Option<Value>, _>(
                    work.result.then(|| json!({ "sum": 42, "note": "some forty bytes of a result" })),
                )
            }
        })
        .build()?;
    let mut progress = Reporter { registry: worker.registry().clone(), reported: (0.0, 0.0) };
    let running = worker.run(shutdown);
    tokio::pin!(running);
    let mut pause = REPORT_INTERVALS[0];
    loop {
        let record = tokio::time::timeout(pause, &mut running).await;
        pause = if progress.report()? { REPORT_INTERVALS[0] } else { (pause * 2).min(REPORT_INTERVALS[1]) };
        if let Ok(ended) = record {
            ended?;
            return ledger.finish();
        }
    }
}

/// Reports the number of committed jobs and the time of the calls to the parent process, as lines `completed ended
/// call_micros`.
struct Reporter {
    registry: prometheus::Registry,
    /// The last report: jobs completed, and jobs ended.
    reported: (f64, f64),
}

impl Reporter {
    /// Reports if the numbers have changed. Returns whether it did.
    fn report(&mut self) -> anyhow::Result<bool> {
        let (mut completed, mut ended, mut call_seconds) = (0.0, 0.0, 0.0);
        for family in self.registry.gather() {
            for metric in family.get_metric() {
                let count = metric.get_counter().get_value();
                let status = metric.get_label().iter().find(|label| label.name() == "status");
                match (family.name(), status.map(prometheus::proto::LabelPair::value)) {
                    ("worker_lease_seconds", _) => call_seconds = metric.get_histogram().get_sample_sum(),
                    ("worker_attempts_total", Some("completed")) => {
                        (completed, ended) = (completed + count, ended + count);
                    }
                    ("worker_attempts_total", Some("failed" | "cancelled")) => ended += count,
                    _ => {}
                }
            }
        }
        let news = (completed, ended) > self.reported;
        if news {
            self.reported = (completed, ended);
            writeln!(std::io::stdout(), "{completed:.0} {ended:.0} {:.0}", call_seconds * 1e6)?;
        }
        Ok(news)
    }
}
