//! One private server: starts it, runs statements, stops it, and starts it again on the same port. The server
//! ends when this value is dropped, and at the latest when this process ends. Never signals a process that is
//! not its child.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::command;
use crate::cluster::Cluster;
use crate::guard::Guard;
use crate::{ServerError, ServerOptions, wire};

/// Crash recovery of a large data directory can take long.
const READY_LIMIT: Duration = Duration::from_mins(2);
/// A clean stop writes a checkpoint.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// Time between two checks of a process or a file of the server.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// Ports are chosen below the range of outgoing connections (on Linux from 32768), so that no outgoing
/// connection, such as that of a reconnecting client, gets the port while the server is stopped.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many ports are tried, because another process may use a free port before the server does.
const PORT_TRIES: u32 = 5;

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Ends connections and writes a checkpoint: a clean end.
    Fast,
    /// Ends at once, as in a crash; the next start recovers from the WAL.
    Immediate,
}

/// A private server and its files. Dropping it stops the server, and removes the files unless they are kept.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    cluster: Cluster,
    guard: Guard,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Creates the data directory if there is none, starts the server and waits until it accepts connections.
    ///
    /// Blocks for a second or two. Run it on a blocking thread from async code.
    pub fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let cluster = Cluster::prepare(&options)?;
        let guard =
            Guard::start(&cluster.home, options.keep).map_err(ServerError::io("guard", &cluster.home))?;
        // from here on a failure drops the value, which removes what was created
        let mut server = Self { port: 0, child: None, options, cluster, guard };
        server.cluster.init(&server.options, &mut server.guard)?;
        server.first_boot()?;
        Ok(server)
    }

    /// Stops the server and waits for its end. Does nothing if the server is not running.
    ///
    /// A clean stop that takes too long becomes an immediate one.
    pub fn stop(&mut self, mode: StopMode) -> Result<(), ServerError> {
        if !self.is_running() {
            return Ok(());
        }
        let signals = match mode {
            StopMode::Fast => &[Signal::INT, Signal::QUIT][..],
            StopMode::Immediate => &[Signal::QUIT],
        };
        for signal in signals {
            self.signal(*signal)?;
            if self.ends_within(STOP_LIMIT) {
                return Ok(());
            }
        }
        self.signal(Signal::KILL)?;
        Err(ServerError::Timeout { state: "stopped", limit: STOP_LIMIT, log: self.cluster.log.clone() })
    }

    /// Starts a stopped or crashed server again on the same port and data. Does nothing if the server is
    /// running.
    pub fn resume(&mut self) -> Result<(), ServerError> {
        if self.is_running() { Ok(()) } else { self.boot() }
    }

    /// Stops the server cleanly and starts it again.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.stop(StopMode::Fast)?;
        self.resume()
    }

    /// Whether the server's main process is alive.
    pub fn is_running(&mut self) -> bool {
        let alive = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !alive && self.child.take().is_some() {
            // an error means that the guard has ended
            let _ = self.guard.watch_nothing();
        }
        alive
    }

    /// The server's main process; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory that holds the data and the log.
    pub fn home(&self) -> &Path {
        &self.cluster.home
    }

    /// The server's log.
    pub fn log_file(&self) -> &Path {
        &self.cluster.log
    }

    /// The connection URL of `database`.
    pub fn database_url(&self, database: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{database}", self.options.superuser, self.port)
    }

    /// Creates a database unless it exists.
    pub fn create_database(&self, name: &str) -> Result<(), ServerError> {
        const DUPLICATE_DATABASE: &str = "42P04";
        match self.run(&format!("CREATE DATABASE {}", quoted(name)?)) {
            Err(ServerError::Refused { code, .. }) if code == DUPLICATE_DATABASE => Ok(()),
            other => other,
        }
    }

    /// Drops a database, if it exists, and ends its connections.
    pub fn drop_database(&self, name: &str) -> Result<(), ServerError> {
        self.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name)?))
    }

    /// Starts on the requested port, or on a free one; tries another one if a process used that before the
    /// server.
    fn first_boot(&mut self) -> Result<(), ServerError> {
        if let Some(port) = self.options.port {
            self.port = port;
            return self.boot();
        }
        let mut tries = 0;
        loop {
            tries += 1;
            self.port = free_port()?;
            match self.boot() {
                Err(ServerError::Exited { tail, .. })
                    if tries < PORT_TRIES && tail.contains("Address already in use") => {}
                other => return other,
            }
        }
    }

    fn boot(&mut self) -> Result<(), ServerError> {
        let program = self.options.bin.program("postgres");
        let log = self.cluster.open_log()?;
        let errors = log.try_clone().map_err(ServerError::io("open", &self.cluster.log))?;
        let child = command(&program, self.cluster.account.as_ref())
            .arg("-D")
            .arg(&self.cluster.data)
            .args(self.options.arguments(self.port))
            .stdout(log)
            .stderr(Stdio::from(errors))
            .spawn()
            .map_err(ServerError::io("run", &program))?;
        let pid = child.id();
        self.child = Some(child);
        self.guard.watch(pid).map_err(ServerError::io("guard", &program))?;
        self.wait_until_ready(pid)
    }

    fn wait_until_ready(&mut self, pid: u32) -> Result<(), ServerError> {
        let deadline = Instant::now() + READY_LIMIT;
        while Instant::now() < deadline {
            if self.cluster.lock_file().is_some_and(|(owner, state)| owner == pid && state == "ready") {
                return Ok(());
            }
            if !self.is_running() {
                let tail = self.cluster.log_tail();
                return Err(ServerError::Exited { log: self.cluster.log.clone(), tail });
            }
            thread::sleep(CHECK_INTERVAL);
        }
        Err(ServerError::Timeout { state: "ready", limit: READY_LIMIT, log: self.cluster.log.clone() })
    }

    fn run(&self, statement: &str) -> Result<(), ServerError> {
        wire::run(self.port, &self.options.superuser, statement)
    }

    fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        let Some(child) = &self.child else { return Ok(()) };
        kill_process(Pid::from_child(child), signal)
            .map_err(|errno| ServerError::io("signal the server of", &self.cluster.data)(errno.into()))
    }

    fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(CHECK_INTERVAL);
        }
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mode = if self.options.keep { StopMode::Fast } else { StopMode::Immediate };
        if self.stop(mode).is_err() {
            // the guard does the rest, when its pipe is closed by dropping this value
            return;
        }
        if !self.options.keep {
            // files that cannot be removed are in the system's temporary directory
            let _ = fs::remove_dir_all(&self.cluster.home);
        }
        self.guard.release();
    }
}

/// The name in quotes. An error if it would need escaping.
fn quoted(name: &str) -> Result<String, ServerError> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_plain) {
        return Err(ServerError::BadName(name.to_owned()));
    }
    Ok(format!("\"{name}\""))
}

/// A port that is free now. Each process begins with a different port and each call continues with the next,
/// because the port of a stopped server looks free but must not be used.
fn free_port() -> Result<u16, ServerError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = u32::from(PORTS.end - PORTS.start);
    // a prime step spreads neighbouring process ids over the range
    let own = std::process::id().wrapping_mul(7_919) % span;
    let first = own + NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(101) % span;
    (0..span)
        .filter_map(|offset| u16::try_from((first + offset) % span).ok())
        .map(|offset| PORTS.start + offset)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| ServerError::Io {
            what: format!("find a free port from {} to {}", PORTS.start, PORTS.end),
            source: std::io::ErrorKind::AddrInUse.into(),
        })
}
