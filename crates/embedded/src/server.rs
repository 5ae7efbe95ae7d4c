//! One running private server: started, asked, stopped, started again on the same port. It ends with this value, and
//! with this process at the latest. It must never signal a process that is not its own child.

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

/// Crash recovery of a big data directory takes a while; nothing else does.
const READY_LIMIT: Duration = Duration::from_mins(2);
/// A clean stop writes a checkpoint.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// Between two looks at a process or a file of the server.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Ports are chosen below the range that outgoing connections take theirs from (Linux: from 32768), so that nobody
/// slips onto the port while the server is stopped, a reconnecting client of its own least of all.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Another process may take a free port before the server does; so often another port is tried.
const PORT_TRIES: u32 = 5;

/// How a server is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Ends connections and writes a checkpoint: a clean end.
    Fast,
    /// Ends at once, as a crash would; the next start recovers from the log.
    Immediate,
}

/// A private server and everything that belongs to it. Dropping it stops it, and removes it unless it is kept.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    cluster: Cluster,
    guard: Guard,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Makes the data directory if there is none, starts the server and waits until it accepts connections.
    ///
    /// Blocks for a second or two. Run it on a blocking thread from async code.
    pub fn start(options: ServerOptions) -> Result<Self, ServerError> {
        let cluster = Cluster::prepare(&options)?;
        let guard =
            Guard::start(&cluster.home, options.keep).map_err(ServerError::io("guard", &cluster.home))?;
        // From here on a failure drops the value, which removes what was made.
        let mut server = Self { port: 0, child: None, options, cluster, guard };
        server.cluster.init(&server.options, &mut server.guard)?;
        server.first_boot()?;
        Ok(server)
    }

    /// Stops the server and waits for its end; nothing happens if it does not run.
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

    /// Starts a stopped (or crashed) server again on the same port and data; nothing happens if it runs.
    pub fn resume(&mut self) -> Result<(), ServerError> {
        if self.is_running() { Ok(()) } else { self.boot() }
    }

    /// A clean stop and a start.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.stop(StopMode::Fast)?;
        self.resume()
    }

    /// Whether the server's main process is alive.
    pub fn is_running(&mut self) -> bool {
        let alive = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !alive && self.child.take().is_some() {
            // If the guard is gone there is nobody to tell.
            let _ = self.guard.rest();
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

    /// Where clients connect to reach `database`.
    pub fn database_url(&self, database: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{database}", self.options.superuser, self.port)
    }

    /// Makes a database; one that exists already is fine.
    pub fn create_database(&self, name: &str) -> Result<(), ServerError> {
        const DUPLICATE_DATABASE: &str = "42P04";
        match self.run(&format!("CREATE DATABASE {}", plain(name)?)) {
            Err(ServerError::Refused { code, .. }) if code == DUPLICATE_DATABASE => Ok(()),
            other => other,
        }
    }

    /// Removes a database and ends its connections; one that does not exist is fine.
    pub fn drop_database(&self, name: &str) -> Result<(), ServerError> {
        self.run(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", plain(name)?))
    }

    /// Boots on the port that was asked for, or on the first free one that nobody takes before the server does.
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
            thread::sleep(LOOK_INTERVAL);
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
            thread::sleep(LOOK_INTERVAL);
        }
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mode = if self.options.keep { StopMode::Fast } else { StopMode::Immediate };
        if self.stop(mode).is_err() {
            // Leave the rest to the guard, which acts when our end of its pipe closes with this value.
            return;
        }
        if !self.options.keep {
            // What cannot be removed lies in the system's temporary directory.
            let _ = fs::remove_dir_all(&self.cluster.home);
        }
        self.guard.release();
    }
}

/// The name in quotes, if it is one that needs no escape.
fn plain(name: &str) -> Result<String, ServerError> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_plain) {
        return Err(ServerError::BadName(name.to_owned()));
    }
    Ok(format!("\"{name}\""))
}

/// A port that is free now. Processes look at different ports first, and a process at another one each time: the port of a
/// server that is stopped for a while is free, and yet not to be had.
fn free_port() -> Result<u16, ServerError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = u32::from(PORTS.end - PORTS.start);
    // Prime steps spread neighbours over the range.
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
