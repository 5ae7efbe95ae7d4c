//! The machine, the database and the code of a run, which a reader needs to interpret the figures. Reads `/proc`,
//! Postgres and git.

use std::fmt;
use std::process::Command;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::server::BenchServer;

/// The settings of Postgres that are printed.
const SETTINGS: [&str; 8] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_compression",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "shared_preload_libraries",
];

/// The machine, the database and the code of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The model of the processor, or the architecture if the kernel reports no model.
    processor: String,
    processors: usize,
    memory_gib: f64,
    kernel: String,
    /// Version of Postgres.
    postgres: String,
    settings: Vec<(String, String)>,
    /// When the run began, in UTC, by the clock of the database.
    date: String,
    version: String,
    /// Commit of the source code at the time of the run, with `-dirty` if it was changed; none outside of a repository.
    commit: Option<String>,
    /// Whether the build is not optimised, which makes the figures meaningless.
    debug: bool,
}

impl Machine {
    /// Reads everything, once per run.
    pub(crate) async fn of(server: &BenchServer) -> anyhow::Result<Self> {
        let mut connection = server.connection().await?;
        let (postgres, date) = sqlx::query_as(
            "SELECT current_setting('server_version'), to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')",
        )
        .fetch_one(&mut connection)
        .await?;
        let settings =
            sqlx::query_as("SELECT name, current_setting(name) FROM unnest($1::text[]) AS s (name)")
                .bind(&SETTINGS[..])
                .fetch_all(&mut connection)
                .await?;
        let kb: f64 =
            field("/proc/meminfo", "MemTotal")?.context("no MemTotal")?.trim_end_matches(" kB").parse()?;
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name")?.unwrap_or(std::env::consts::ARCH.to_owned()),
            processors: std::thread::available_parallelism()?.get(),
            memory_gib: kb / f64::from(1 << 20),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            postgres,
            settings,
            date,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit(),
            debug: cfg!(debug_assertions),
        })
    }
}

/// The first value with this name in a file of `name : value` lines.
fn field(path: &str, name: &str) -> anyhow::Result<Option<String>> {
    let text = std::fs::read_to_string(path).context(path.to_owned())?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    Ok(fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned()))
}

fn commit() -> Option<String> {
    let git = ["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"];
    let described = Command::new("git").args(git).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(described.stdout).ok()?.trim().to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, memory_gib, kernel, postgres, date, version, .. } = self;
        let commit = self.commit.as_deref().unwrap_or("unknown");
        let build = if self.debug { ", a debug build" } else { "" };
        writeln!(f, "{processors} × {processor}, {memory_gib:.1} GiB, Linux {kernel}")?;
        write!(f, "Postgres {postgres}:")?;
        for (name, value) in self.settings.iter().filter(|(_, value)| !value.is_empty()) {
            write!(f, " {name}={value}")?;
        }
        write!(f, "\njobqueue {version} (commit {commit}{build}), {date} UTC")
    }
}
