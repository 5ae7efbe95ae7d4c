//! The worker process under test: the product's worker with a handler that does nothing but note that it ran.

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

/// Most jobs of one lease call; the product's default is for jobs that take longer than no time.
const BATCH: usize = 500;
/// How often progress is told, while there is any and while there is none: idle shall be idle.
const TELLING: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// What a payload asks of its handler.
#[derive(Deserialize)]
struct Work {
    /// When the job was to be sent.
    #[serde(default)]
    sent_micros: u64,
    /// Give back a result.
    #[serde(default)]
    result: bool,
    /// Fail at the first attempt.
    #[serde(default)]
    fail_first: bool,
}

/// Where executions are noted; buffered, so that memory and time go to the product.
#[derive(Clone)]
pub(crate) struct Notes(Arc<Mutex<BufWriter<File>>>);

impl Notes {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(BufWriter::with_capacity(64 * 1024, File::create(path)?)))))
    }

    /// Notes the start of an attempt of a job that was to be sent at `sent_micros`, or at no known time.
    pub(crate) fn ran(&self, id: &str, attempt: u16, sent_micros: u64) {
        let micros = if sent_micros > 0 { monotonic_micros().saturating_sub(sent_micros).max(1) } else { 0 };
        if let Ok(mut notes) = self.0.lock() {
            // what is missing at the end is a lost job
            let _ = writeln!(notes, "{id} {attempt} {micros}");
        }
    }

    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        Ok(self.0.lock().map_err(|_| anyhow::anyhow!("a handler panicked"))?.flush()?)
    }
}

/// Runs until SIGTERM, then completes the ledger.
pub(crate) async fn run(args: WorkerArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals()?;
    let notes = Notes::create(&args.ledger)?;
    let handler_notes = notes.clone();
    let worker = Worker::at(&args.url)
        .queues(["default"])
        .slots(args.slots)
        .batch_size(BATCH)
        .handle(KIND, move |context: JobContext, work: Work| {
            let notes = handler_notes.clone();
            async move {
                notes.ran(&context.id().to_string(), context.attempt(), work.sent_micros);
                if work.fail_first && context.attempt() == 1 {
                    return Err(HandlerError::retry("first", "every first attempt fails"));
                }
                Ok::<Option<Value>, _>(
                    work.result.then(|| json!({ "sum": 42, "note": "some forty bytes of a result" })),
                )
            }
        })
        .build()?;
    let mut progress = Progress { registry: worker.registry().clone(), told: (0.0, 0.0) };
    let running = worker.run(shutdown);
    tokio::pin!(running);
    let mut pause = TELLING[0];
    loop {
        let ran = tokio::time::timeout(pause, &mut running).await;
        pause = if progress.tell()? { TELLING[0] } else { (pause * 2).min(TELLING[1]) };
        if let Ok(ended) = ran {
            ended?;
            return notes.finish();
        }
    }
}

/// What was committed and how long the calls for it took, for whoever started us: `completed ended call_micros` a line.
struct Progress {
    registry: prometheus::Registry,
    /// Jobs completed, and jobs ended.
    told: (f64, f64),
}

impl Progress {
    /// Tells it if it is news.
    fn tell(&mut self) -> anyhow::Result<bool> {
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
        let news = (completed, ended) > self.told;
        if news {
            self.told = (completed, ended);
            writeln!(std::io::stdout(), "{completed:.0} {ended:.0} {:.0}", call_seconds * 1e6)?;
        }
        Ok(news)
    }
}
