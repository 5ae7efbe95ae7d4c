//! The demo's Postgres: a private server, or the one that the user named.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jobqueue_embedded::{Server, ServerOptions, StopMode};
use jobqueue_runtime::DatabaseArgs;

use crate::args::DemoArgs;

/// Name of the database in the private server.
const NAME: &str = "jobqueue";
/// For root, whose home Postgres may not enter.
const SHARED_HOME: &str = "/var/tmp/jobqueue-demo";

/// A database to run on.
pub(crate) struct Database {
    url: String,
    server: Option<Server>,
}

impl Database {
    /// Starts the private server, or takes what `DATABASE_URL` names.
    pub(crate) async fn open(args: &DemoArgs) -> anyhow::Result<Self> {
        if let Some(url) = &args.database_url {
            return Ok(Self { url: DatabaseArgs::for_url(url).url(), server: None });
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
        Ok(Self { url: server.database_url(NAME), server: Some(server) })
    }

    /// Where to connect.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where the data are.
    pub(crate) fn home(&self) -> String {
        self.server.as_ref().map_or("your database".to_owned(), |server| server.home().display().to_string())
    }

    /// One line about it, without secrets.
    pub(crate) fn describe(&self) -> String {
        match &self.server {
            Some(server) => format!("127.0.0.1:{}, data in {}", server.port(), self.home()),
            None => "from DATABASE_URL".to_owned(),
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

fn default_home() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")));
    base.map(|base| base.join("jobqueue-demo"))
        .filter(|home| jobqueue_embedded::reachable(home))
        .unwrap_or_else(|| PathBuf::from(SHARED_HOME))
}
