//! The demo's Postgres: a private server, or the one that the user named.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jobqueue_embedded::{Server, ServerOptions, StopMode};
use jobqueue_runtime::ConfigError;
use jobqueue_store::{Store, StoreError};

use super::args::DemoArgs;

/// Name of the database in the private server.
const NAME: &str = "jobqueue";
/// The data directory for root. Postgres runs as another user, who may not enter root's home directory.
const SHARED_HOME: &str = "/var/tmp/jobqueue-demo";

/// A database to run on.
pub(crate) struct Database {
    url: String,
    server: Option<Server>,
}

impl Database {
    /// Starts the private server, or uses the empty database that `--database-url` names.
    pub(crate) async fn open(args: &DemoArgs) -> anyhow::Result<Self> {
        if let Some(url) = &args.database_url {
            refuse_unless_empty(url).await?;
            return Ok(Self { url: url.clone(), server: None });
        }
        let home = args.data_dir.clone().unwrap_or_else(default_home);
        tokio::task::spawn_blocking(move || Self::start(&home)).await?
    }

    fn start(home: &Path) -> anyhow::Result<Self> {
        let bin = match jobqueue_embedded::find_binaries() {
            Ok(bin) => bin,
            Err(missing) => {
                println!("{missing}");
                jobqueue_embedded::install(|line| println!("  {line}"))?
            }
        };
        let server = Server::start(ServerOptions::named(bin, home)).with_context(|| {
            format!("Postgres does not start in {}; try another --data-dir", home.display())
        })?;
        server.create_database(NAME)?;
        // the private server has no TLS, so PGSSLMODE must not apply
        Ok(Self { url: format!("{}?sslmode=disable", server.database_url(NAME)), server: Some(server) })
    }

    /// The connection URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where the data is.
    pub(crate) fn home(&self) -> String {
        self.server.as_ref().map_or("your database".to_owned(), |server| server.home().display().to_string())
    }

    /// The argument with which psql connects to it; never the URL of the user, which may contain a password.
    pub(crate) fn psql_argument(&self) -> &str {
        if self.server.is_some() { &self.url } else { "<the value of --database-url>" }
    }

    /// One line that describes it, without secrets.
    pub(crate) fn describe(&self) -> String {
        match &self.server {
            Some(server) => format!("127.0.0.1:{}, data in {}", server.port(), self.home()),
            None => "the database of --database-url".to_owned(),
        }
    }

    /// Stops the private server.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        if let Some(mut server) = self.server {
            tokio::task::spawn_blocking(move || server.stop(StopMode::Fast)).await??;
        }
        Ok(())
    }
}

async fn refuse_unless_empty(url: &str) -> anyhow::Result<()> {
    match Store::is_empty_database(url).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(ConfigError(
            "the database of --database-url is not empty; create one for the demo (CREATE DATABASE jobqueue_demo) and name that".to_owned(),
        )
        .into()),
        Err(StoreError::Url(reason)) => {
            Err(ConfigError(reason.to_string().replace("DATABASE_URL:", "--database-url:")).into())
        }
        Err(error) => Err(anyhow::Error::from(error).context("the database of --database-url cannot be used")),
    }
}

fn default_home() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")));
    base.map(|base| base.join("jobqueue-demo"))
        .filter(|home| jobqueue_embedded::reachable(home))
        .unwrap_or_else(|| PathBuf::from(SHARED_HOME))
}
