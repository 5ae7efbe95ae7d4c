//! graphile_worker in the fastest set-up of its own benchmark (local queue of 5000, concurrency 500, batched completion), and by default
//! for latency. DATABASE_URL names an empty database. Prints one JSON object a line: {"what", "unit", "value"}.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const BATCH: usize = 10_000;

#[derive(Clone, Debug)]
struct Ran(Arc<AtomicUsize>);

#[derive(Clone, Debug)]
struct Starts(mpsc::UnboundedSender<(usize, Instant)>);

#[derive(Deserialize, Serialize)]
struct Noop {}

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(ran) = context.get_ext::<Ran>() {
            ran.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), String>(())
    }
}

#[derive(Deserialize, Serialize)]
struct Timed {
    number: usize,
}

impl TaskHandler for Timed {
    const IDENTIFIER: &'static str = "timed";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(starts) = context.get_ext::<Starts>() {
            let _ended = starts.0.send((self.number, Instant::now()));
        }
        Ok::<(), String>(())
    }
}

fn variable(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn tell(what: &str, unit: &str, value: f64) {
    println!("{}", serde_json::json!({ "what": what, "unit": unit, "value": value }));
}

fn options(pool: &PgPool) -> WorkerOptions {
    WorkerOptions::default().schema("graphile_worker").pg_pool(pool.clone())
}

/// Jobs wait, one process starts; the clock stops when the last completion is committed.
async fn burn_down(pool: &PgPool, jobs: usize) -> Result<(), Box<dyn Error>> {
    let ran = Ran(Arc::default());
    let worker = options(pool)
        .concurrency(500)
        .poll_interval(Duration::from_millis(5))
        .complete_job_batch_delay(Duration::from_millis(5))
        .local_queue(LocalQueueConfig::default().with_size(5000))
        .add_extension(ran.clone())
        .define_job::<Noop>()
        .init()
        .await?;
    let utils = worker.create_utils();
    let payload = serde_json::json!({
        "to": "someone@example.com", "subject": "hello", "body": "a hundred bytes of text, more or less"
    });
    let spec = RawJobSpec { identifier: "noop".to_owned(), payload, spec: JobSpec::default() };
    for at in (0..jobs).step_by(BATCH) {
        utils.add_raw_jobs(&vec![spec.clone(); BATCH.min(jobs - at)]).await?;
    }
    sqlx::query("CHECKPOINT").execute(pool).await?;
    let began = Instant::now();
    let worker = Arc::new(worker);
    let running = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    while ran.0.load(Ordering::Relaxed) < jobs {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left = "SELECT count(*) FROM graphile_worker._private_jobs";
    while sqlx::query_scalar::<_, i64>(left).fetch_one(pool).await? > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tell(&format!("burn-down of {jobs}"), "jobs/s", jobs as f64 / began.elapsed().as_secs_f64());
    worker.request_shutdown();
    running.await??;
    Ok(())
}

/// Open loop at 50 a second, from the moment a job was due; SQL to handler start.
async fn latency(pool: &PgPool, seconds: usize) -> Result<(), Box<dyn Error>> {
    let (sender, mut started) = mpsc::unbounded_channel();
    let worker = Arc::new(options(pool).add_extension(Starts(sender)).define_job::<Timed>().init().await?);
    let running = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    let due = |number: usize| start + Duration::from_millis(20) * u32::try_from(number).unwrap_or(0);
    let count = seconds * 50;
    let mut sending = JoinSet::new();
    for number in 0..count {
        tokio::time::sleep_until(due(number).into()).await;
        let pool = pool.clone();
        sending.spawn(async move {
            let add = "SELECT graphile_worker.add_job('timed', $1::json)";
            let payload = serde_json::json!({ "number": number }).to_string();
            sqlx::query(add).bind(payload).execute(&pool).await.map(|_| ())
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent??;
    }
    let mut micros = Vec::with_capacity(count);
    while micros.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(60), started.recv()).await?;
        let (number, at) = next.ok_or("the worker is gone")?;
        micros.push((at - due(number)).as_micros());
    }
    worker.request_shutdown();
    running.await??;
    micros.sort_unstable();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let place = ((micros.len() - 1) as f64 * share) as usize;
        tell(&format!("SQL to start, 50/s, {name}"), "ms", micros[place] as f64 / 1000.0);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = PgPoolOptions::new().max_connections(16).connect(&url).await?;
    burn_down(&pool, variable("JOBS", 200_000)).await?;
    latency(&pool, variable("SECONDS", 10)).await
}
