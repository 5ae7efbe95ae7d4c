//! The processes under test, and their processor time and memory, read from `/proc`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use jobqueue_runtime::Shutdown;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use crate::args::{ApiArgs, ReaperArgs};
use crate::stats::float;

/// Clock ticks per second in `/proc/*/stat`; 100 on all supported Linux systems.
const TICKS_PER_SECOND: u64 = 100;
/// The key of the API under test.
pub(crate) const KEY: &str = "benchmark-key-of-at-least-32-characters";

/// A child process, which is stopped by SIGTERM.
pub(crate) struct Process {
    /// Its role, which is its first argument.
    pub(crate) role: &'static str,
    child: Child,
    /// Its ledger, if it is a worker.
    pub(crate) ledger: PathBuf,
    /// The progress that it reports, if it is a worker.
    pub(crate) progress: Arc<WorkerProgress>,
    _reader: JoinSet<()>,
}

/// The attempts that a worker has ended, as the worker counts them after each commit. Counting in the database would
/// slow it down.
#[derive(Debug, Default)]
pub(crate) struct WorkerProgress {
    /// Jobs completed.
    pub(crate) completed: AtomicU64,
    /// Jobs that reached any final status.
    pub(crate) ended: AtomicU64,
    /// Microseconds that its calls for leasing and settling took.
    pub(crate) call_micros: AtomicU64,
}

impl WorkerProgress {
    /// Reads lines of three numbers until the process ends.
    async fn listen(self: Arc<Self>, output: ChildStdout) {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
            for progress in [&self.completed, &self.ended, &self.call_micros] {
                progress.store(numbers.next().unwrap_or_default(), Ordering::Relaxed);
            }
        }
    }
}

impl Process {
    fn spawn(role: &'static str, args: &[&str], ledger: PathBuf) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(role)
            .args(args)
            .env("LOG_LEVEL", "ERROR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (progress, mut reader) = (Arc::new(WorkerProgress::default()), JoinSet::new());
        reader.spawn(progress.clone().listen(child.stdout.take().context("no pipe")?));
        Ok(Self { role, child, ledger, progress, _reader: reader })
    }

    /// A worker with `slots` slots.
    pub(crate) fn worker(url: &str, slots: usize, number: usize) -> anyhow::Result<Self> {
        let ledger = ledger(number);
        let (slots, path) = (slots.to_string(), ledger.display().to_string());
        Self::spawn("worker", &["--url", url, "--slots", &slots, "--ledger", &path], ledger)
    }

    /// Workers over HTTP, each with its own connection.
    pub(crate) fn remote(address: SocketAddr, workers: usize) -> anyhow::Result<Self> {
        let ledger = ledger(0);
        let (address, path) = (address.to_string(), ledger.display().to_string());
        let workers = workers.to_string();
        Self::spawn("remote", &["--address", &address, "--workers", &workers, "--ledger", &path], ledger)
    }

    /// A reaper.
    pub(crate) fn reaper(url: &str) -> anyhow::Result<Self> {
        Self::spawn("reaper", &["--url", url], PathBuf::new())
    }

    /// An API on a free port.
    pub(crate) async fn api(url: &str, control: bool) -> anyhow::Result<(Self, SocketAddr)> {
        let address = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let port = address.port().to_string();
        let mut args = vec!["--url", url, "--port", &port];
        args.extend(control.then_some("--control"));
        let process = Self::spawn("api", &args, PathBuf::new())?;
        let up = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), up).await.context("the API does not start")?;
        Ok((process, address))
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the process has ended")
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(self.pid()?).context("no /proc")
    }

    /// Resident memory now, in megabytes.
    pub(crate) fn rss_mb(&self) -> anyhow::Result<f64> {
        self.memory_mb("VmRSS:")
    }

    /// Its largest resident memory so far, in megabytes.
    pub(crate) fn peak_rss_mb(&self) -> anyhow::Result<f64> {
        self.memory_mb("VmHWM:")
    }

    fn memory_mb(&self, name: &'static str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find(|line| line.starts_with(name)).context(name)?;
        let kb: u64 = line.split_whitespace().nth(1).context(name)?.parse()?;
        Ok(float(kb) / 1024.0)
    }

    /// Fails if the process has ended by itself.
    pub(crate) fn is_alive(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        anyhow::ensure!(ended.is_none(), "a process under test has ended by itself: {ended:?}");
        Ok(())
    }

    /// Sends SIGTERM and waits for the end, when a worker has written its ledger.
    pub(crate) async fn stop(mut self) -> anyhow::Result<PathBuf> {
        let pid = i32::try_from(self.pid()?)?;
        let pid = rustix::process::Pid::from_raw(pid).context("no process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = tokio::time::timeout(Duration::from_secs(90), self.child.wait()).await??;
        anyhow::ensure!(status.success(), "a process under test ended with {status}");
        Ok(std::mem::take(&mut self.ledger))
    }
}

/// Runs the API as its binary does. As the control it has 64 connections, more than two cores can use; each request is
/// a batch of one job, so it is one INSERT and one commit.
pub(crate) async fn api(args: ApiArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals()?;
    let address = format!("127.0.0.1:{}", args.port);
    let mut line =
        vec!["api", "--database-url", &args.url, "--api-addr", &address, "--admin-addr", "127.0.0.1:0"];
    line.extend(["--api-secret-key", KEY, "--log-level", "ERROR"]);
    if args.control {
        line.extend(["--database-max-connections", "64"]);
    }
    let cli = jobqueue_api::args::ApiCli::try_parse_from(line)?;
    jobqueue_api::run(cli.serve, shutdown.clone()).await?;
    shutdown.wait().await;
    Ok(())
}

/// Runs the reaper as its binary does.
pub(crate) async fn reaper(args: ReaperArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    shutdown.listen_for_signals()?;
    let line = ["reaper", "--database-url", &args.url, "--admin-addr", "127.0.0.1:0", "--log-level", "ERROR"];
    jobqueue_reaper::run(jobqueue_reaper::ReaperCli::try_parse_from(line)?, shutdown.clone()).await?;
    shutdown.wait().await;
    Ok(())
}

fn ledger(number: usize) -> PathBuf {
    std::env::temp_dir().join(format!("jobqueue-bench-{}-{number}.ledger", std::process::id()))
}

/// Processor time of a process and its children, running and reaped.
pub(crate) fn cpu_of_family(parent: u32) -> anyhow::Result<Duration> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let living = children.split_whitespace().filter_map(|pid| cpu_of(pid.parse().ok()?));
    Ok(living.chain(cpu_of(parent)).chain(reaped(parent)).sum())
}

fn cpu_of(pid: u32) -> Option<Duration> {
    ticks(pid, [11, 12])
}

fn reaped(pid: u32) -> Option<Duration> {
    ticks(pid, [13, 14])
}

/// Sum of two fields of `/proc/pid/stat`, counted after the command's closing parenthesis.
fn ticks(pid: u32, fields: [usize; 2]) -> Option<Duration> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let sum = words.get(fields[0])?.parse::<u64>().ok()? + words.get(fields[1])?.parse::<u64>().ok()?;
    Some(Duration::from_millis(sum * 1000 / TICKS_PER_SECOND))
}

/// Microseconds of the monotonic clock, which all processes of this machine share.
pub(crate) fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}
