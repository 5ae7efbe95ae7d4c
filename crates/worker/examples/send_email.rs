//! The program of docs/rust-worker.md.

use jobqueue_worker::{HandlerError, JobContext, Shutdown, Worker};

#[derive(serde::Deserialize)]
struct SendEmail {
    to: String,
}

async fn send_email(context: JobContext, email: SendEmail) -> Result<usize, HandlerError> {
    if !email.to.contains('@') {
        // a retry would not help
        return Err(HandlerError::discard("bad_address", format!("`{}` is not an address", email.to)));
    }
    context.log("sending");
    context.progress(&50)?;
    // `?` turns any error into a retry by the retry policy of the job
    tokio::fs::write("/tmp/outbox", &email.to).await?;
    Ok(email.to.len())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    // the first SIGTERM or SIGINT drains the worker, the second one ends it at once
    shutdown.listen_for_signals()?;
    Worker::at(std::env::var("DATABASE_URL")?)
        .queues(["emails=3", "default"])
        .slots(10)
        .handle("send_email", send_email)
        .build()?
        .run(shutdown)
        .await
}
