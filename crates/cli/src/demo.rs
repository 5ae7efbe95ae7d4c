//! The demo: runs API, worker, reaper and Postgres, submits jobs and prints where to look at them.

mod args;
mod database;
mod receiver;
mod services;
mod work;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jobqueue_runtime::{ConfigError, Shutdown};
use jobqueue_store::Store;

use crate::client::Client;
pub(crate) use args::DemoArgs;
use database::Database;

/// How long the services may take to become ready.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Runs the demo until its jobs are done (`--exit`) or the shutdown begins.
pub(crate) async fn run(args: DemoArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    if let Err(error) = std::net::TcpListener::bind(address) {
        return Err(ConfigError(format!(
            "port {} is taken ({error}); choose another with --port",
            args.port
        ))
        .into());
    }
    let database = Database::open(&args).await?;
    println!("Postgres  {}", database.describe());
    let outcome = serve(&args, address, &database, &shutdown).await;
    shutdown.begin();
    shutdown.wait().await;
    database.close().await?;
    outcome
}

async fn serve(
    args: &DemoArgs,
    address: SocketAddr,
    database: &Database,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let migrated = Store::migrate(database.url()).await?;
    println!("schema    {} migrations, {} applied now", migrated.total, migrated.now.len());
    let receiver = receiver::start(shutdown).await?;
    let services = services::start(database, address, receiver, shutdown).await?;
    let client = Client::new(&format!("http://{address}"), None)?;
    wait_until_ready(&client, shutdown).await?;
    println!("API       http://{address} (docs: http://{address}/docs, metrics: http://{address}/metrics)");
    println!("dashboard http://{address}/ui/");
    println!("worker    10 slots, metrics: http://{}/metrics", services.worker_admin);
    println!("reaper    metrics: http://{}/metrics\n", services.reaper_admin);
    work::run(args, &client, shutdown).await?;
    if args.exit || shutdown.soft().is_cancelled() {
        return Ok(());
    }
    println!("\nEverything keeps running. Submit a job of your own:\n");
    println!("  curl -s http://{address}/v1/jobs -H 'content-type: application/json' \\");
    println!("       -d '{{\"kind\": \"text.words\", \"payload\": \"three little words\"}}'\n");
    println!("and read its result, with the `id` of the response:\n");
    println!("  curl -s 'http://{address}/v1/jobs/<id>?wait=10'\n");
    println!(
        "Query Postgres:\n\n  psql '{}' -c \"SELECT status, count(*) FROM jobs GROUP BY 1\"\n",
        database.psql_argument()
    );
    println!("Ctrl-C stops it; the data is kept in {}.", database.home());
    shutdown.soft().cancelled().await;
    println!("\nstopping");
    Ok(())
}

async fn wait_until_ready(client: &Client, shutdown: &Shutdown) -> anyhow::Result<()> {
    let ready = async {
        while !client.is_ready().await && !shutdown.soft().is_cancelled() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(START_LIMIT, ready).await.map_err(|_| {
        anyhow::anyhow!("the API is not ready after {START_LIMIT:?}; run with LOG_LEVEL=INFO to see why")
    })
}
