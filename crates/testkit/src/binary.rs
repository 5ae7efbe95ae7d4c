//! Real binaries of the workspace as processes: built once, started with a bare environment, watched line by line,
//! ended with the test. It knows nothing of what they do.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

pub use rustix::process::Signal;

/// How a program shall be started; filled in like a [`Command`].
#[derive(Debug, Clone)]
pub struct Binary {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
}

impl Binary {
    /// Builds binaries of the workspace by their names, in the profile and target directory of the running test. Blocks.
    ///
    /// With the features that the whole workspace and its tests ask for, as `cargo test --workspace` builds them: nothing is
    /// compiled twice. Cheap when they are fresh; cargo's own lock makes simultaneous calls wait for each other.
    pub fn build(names: &[&str]) {
        let profile_dir = profile_dir();
        let target_dir = profile_dir.parent().unwrap();
        let profile = match profile_dir.file_name().and_then(OsStr::to_str) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build
            .args(["build", "--quiet", "--locked", "--profile", profile, "--workspace"])
            .args(["--example", "with_database"])
            .arg("--target-dir")
            .arg(target_dir);
        build.args(names.iter().flat_map(|name| ["--bin", name]));
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        let outcome = build.output().expect("run cargo");
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.status.success(), "building {names:?} failed:\n{said}");
    }

    /// A binary of the workspace by its name, such as `jobqueue-api`; [`build`](Self::build) it first.
    pub fn named(name: &str) -> Self {
        Self::at(profile_dir().join(name))
    }

    /// Any program.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new(), directory: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds a variable. The process sees these and no others.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the directory that the process starts in.
    #[must_use]
    pub fn dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_path_buf());
        self
    }

    /// Starts it.
    pub fn spawn(&self) -> Process {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("run {}: {error}", self.program.display()));
        let output = Output::default();
        output.collect(child.stdout.take().unwrap());
        output.collect(child.stderr.take().unwrap());
        Process { name: self.program.display().to_string(), child, output }
    }
}

/// How long the output of a program that has ended may still come.
const LAST_LINES: Duration = Duration::from_secs(5);

/// A running program and everything it said. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Output,
}

impl Process {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every line of stdout and stderr so far; within one of them in order.
    pub fn lines(&self) -> Vec<String> {
        self.output.lines()
    }

    /// Waits for a line, past or to come, and returns it. Panics with the whole output when `limit` has passed or
    /// the process has ended its output without that line.
    pub async fn wait_for_line(&self, what: &str, is_it: impl Fn(&str) -> bool, limit: Duration) -> String {
        let mut news = self.output.news.subscribe();
        let waiting = async {
            loop {
                // First the open ends, then the lines: all lines of a closed end are there already.
                let open_ends = news.borrow_and_update().open_ends;
                if let Some(line) = self.lines().into_iter().find(|line| is_it(line)) {
                    return Some(line);
                }
                if open_ends == 0 || news.changed().await.is_err() {
                    return None;
                }
            }
        };
        let found = timeout(limit, waiting).await;
        match found {
            Ok(Some(line)) => line,
            Ok(None) => panic!("{} ended without {what}:\n{}", self.name, self.lines().join("\n")),
            Err(late) => {
                panic!("{}: {late} after {limit:?} without {what}:\n{}", self.name, self.lines().join("\n"))
            }
        }
    }

    /// Waits for the line that says `listening` and `marker`, and returns the address in it.
    pub async fn listening(&self, marker: &str, limit: Duration) -> SocketAddr {
        let is_it =
            |line: &str| line.contains("listening") && line.contains(marker) && address_in(line).is_some();
        let what = format!("a line with `listening`, `{marker}` and an address");
        address_in(&self.wait_for_line(&what, is_it, limit).await).unwrap()
    }

    /// Sends a signal. The process must not have been waited for yet.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal the process");
    }

    /// Ends it the hard way and returns when it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the process");
        self.child.wait().expect("wait for the killed process");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("look at the process").is_none()
    }

    /// Waits for its end and for its last lines. Panics with the whole output when `limit` has passed.
    pub async fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("look at the process") {
                let mut news = self.output.news.subscribe();
                // A child of its own may hold an end open for longer than anybody wants to wait.
                let _held_open = timeout(LAST_LINES, news.wait_for(|news| news.open_ends == 0)).await;
                return status;
            }
            let late = Instant::now() >= deadline;
            assert!(!late, "{} still runs after {limit:?}:\n{}", self.name, self.lines().join("\n"));
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.lines().join("\n"));
        }
    }
}

/// The lines of both ends, collected by a thread each.
#[derive(Debug, Clone)]
struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    news: watch::Sender<News>,
}

/// Changes with every line and every end.
#[derive(Debug, Default)]
struct News {
    open_ends: u32,
}

impl Default for Output {
    fn default() -> Self {
        Self { lines: Arc::default(), news: watch::Sender::new(News::default()) }
    }
}

impl Output {
    fn collect(&self, end: impl Read + Send + 'static) {
        let output = self.clone();
        self.news.send_modify(|news| news.open_ends += 1);
        thread::spawn(move || {
            let mut reader = BufReader::new(end);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                output.lines.lock().unwrap().push(text);
                output.news.send_modify(|_| ());
                line.clear();
            }
            output.news.send_modify(|news| news.open_ends -= 1);
        });
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// `target/debug` for a test in `target/debug/deps`.
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).expect("a test lies in target/<profile>/deps").to_path_buf()
}

/// The first socket address in a line of whatever format.
fn address_in(line: &str) -> Option<SocketAddr> {
    let part_of_it = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '[' | ']');
    line.split(|c| !part_of_it(c)).find_map(|word| word.trim_matches(':').parse().ok())
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn addresses_are_found_in_every_log_format() {
        let json =
            r#"{"timestamp":"2026-01-01T00:00:00Z","message":"listening","address":"127.0.0.1:41234"}"#;
        assert_eq!(address_in(json), "127.0.0.1:41234".parse().ok());
        assert_eq!(address_in("INFO listening on http://[::1]:80/"), "[::1]:80".parse().ok());
        assert_eq!(address_in("12:30:01 listening"), None);
    }
}
