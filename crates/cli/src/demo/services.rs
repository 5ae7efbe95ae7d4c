//! Runs API, worker and reaper in one process, with the code of the binaries. Their arguments are set here,
//! and environment variables have no effect on them.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use jobqueue_runtime::{Shutdown, parse_without_env};

use super::database::Database;

/// The addresses to print.
pub(crate) struct Services {
    pub(crate) worker_admin: SocketAddr,
    pub(crate) reaper_admin: SocketAddr,
}

/// The worker's configuration file: the program or URL of each kind.
fn handlers(receiver: SocketAddr) -> anyhow::Result<String> {
    let (wc, sha256sum, fails) = (program("wc")?, program("sha256sum")?, program("false")?);
    Ok(format!(
        r#"# Kinds of the demo and what runs them. A payload arrives on standard input, or as the body of the request.
[handlers."text.words"]
type = "command"
argv = ["{wc}", "-w"]

[handlers."text.checksum"]
type = "command"
argv = ["{sha256sum}"]

[handlers."text.deliver"]
type = "http"
url = "http://{receiver}/received"
allow = ["{receiver}"]

[handlers."always.fails"]
type = "command"
argv = ["{fails}"]
"#
    ))
}

/// The absolute path of a program, which the worker's configuration needs.
fn program(name: &str) -> anyhow::Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    Ok(found
        .with_context(|| format!("the demo needs the program `{name}`, which is not in PATH"))?
        .display()
        .to_string())
}

/// Starts the three services.
pub(crate) async fn start(
    database: &Database,
    address: SocketAddr,
    receiver: SocketAddr,
    shutdown: &Shutdown,
) -> anyhow::Result<Services> {
    let config = std::env::temp_dir().join(format!("jobqueue-demo-{}.toml", std::process::id()));
    std::fs::write(&config, handlers(receiver)?).with_context(|| config.display().to_string())?;
    let services = Services { worker_admin: free_address()?, reaper_admin: free_address()? };
    let (url, api, config_path) = (database.url(), address.to_string(), config.display().to_string());
    let api_admin = free_address()?.to_string();
    let worker_admin = services.worker_admin.to_string();
    let reaper_admin = services.reaper_admin.to_string();
    let common = ["--database-url", url];

    let own = ["jobqueue-api", "--insecure", "--api-addr", &api, "--admin-addr", &api_admin];
    let api: jobqueue_api::args::ApiCli = parse_without_env(own.iter().chain(&common))?;
    jobqueue_api::run(api.serve, shutdown.clone()).await?;

    let own = ["jobqueue-reaper", "--admin-addr", &reaper_admin];
    let args: jobqueue_reaper::ReaperCli = parse_without_env(own.iter().chain(&common))?;
    jobqueue_reaper::run(args, shutdown.clone()).await?;

    let own = ["jobqueue-worker", "--admin-addr", &worker_admin, "--config", &config_path];
    let args: jobqueue_worker::WorkerCli = parse_without_env(own.iter().chain(&common))?;
    let shutdown_of_worker = shutdown.clone();
    shutdown.spawn_service("worker", async move {
        let ended = jobqueue_worker::run(args, shutdown_of_worker).await;
        std::fs::remove_file(&config).ok();
        ended
    });
    Ok(services)
}

/// A loopback address with a port that is free now.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
