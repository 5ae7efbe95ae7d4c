//! The adapter of graphile_worker for `jobqueue-bench run peers`. DATABASE_URL is the URL of an empty database. The first line of the output
//! is "ready", the last one is JSON.
//!   WHAT=drain    drains JOBS waiting jobs with the fastest set-up of its own benchmark (local queue of 5000, concurrency 500, batched
//!                 completion): {"rate": jobs per second}
//!   WHAT=latency  runs JOBS jobs that another process submits, with its default set-up: {"micros": [from due to start, monotonic clock]}

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

const BATCH: usize = 10_000;

#[derive(Clone, Debug)]
struct Ran(Arc<AtomicUsize>);

#[derive(Clone, Debug)]
struct Starts(mpsc::UnboundedSender<u64>);

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
    sent_micros: u64,
}

impl TaskHandler for Timed {
    const IDENTIFIER: &'static str = "timed";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(starts) = context.get_ext::<Starts>() {
            let _ended = starts.0.send(monotonic_micros().saturating_sub(self.sent_micros));
        }
        Ok::<(), String>(())
    }
}

fn variable(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Microseconds of the monotonic clock, which all processes of this machine share.
fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

fn options(pool: &PgPool) -> WorkerOptions {
    WorkerOptions::default().schema("graphile_worker").pg_pool(pool.clone())
}

/// One process drains waiting jobs; the time ends when the last completion is committed.
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
    // what autovacuum would have done by then
    sqlx::query("VACUUM (ANALYZE)").execute(pool).await?;
    sqlx::query("CHECKPOINT").execute(pool).await?;
    println!("ready");
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
    println!("{}", serde_json::json!({ "rate": jobs as f64 / began.elapsed().as_secs_f64() }));
    worker.request_shutdown();
    running.await??;
    Ok(())
}

/// Microseconds from due time to start, of jobs that another process submits.
async fn latency(pool: &PgPool, jobs: usize) -> Result<(), Box<dyn Error>> {
    let (sender, mut started) = mpsc::unbounded_channel();
    let worker = Arc::new(options(pool).add_extension(Starts(sender)).define_job::<Timed>().init().await?);
    let running = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("ready");
    let mut micros = Vec::with_capacity(jobs);
    while micros.len() < jobs {
        micros.push(started.recv().await.ok_or("the worker is gone")?);
    }
    worker.request_shutdown();
    running.await??;
    println!("{}", serde_json::json!({ "micros": micros }));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = PgPoolOptions::new().max_connections(16).connect(&url).await?;
    let jobs = variable("JOBS", 200_000);
    match std::env::var("WHAT").as_deref() {
        Ok("latency") => latency(&pool, jobs).await,
        _ => burn_down(&pool, jobs).await,
    }
}
