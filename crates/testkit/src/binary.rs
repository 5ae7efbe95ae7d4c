//! Runs binaries of the workspace as processes: builds them once, starts them with an empty environment,
//! collects their output, and kills them at the end of the test.

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

/// How to start a program; a builder like [`Command`].
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
    /// Uses the features of the whole workspace and its tests, as `cargo test --workspace` does, so that
    /// nothing is compiled twice. Cheap if they are up to date; cargo's lock serialises concurrent calls.
    pub fn build(names: &[&str]) {
        cargo_build(&names.iter().flat_map(|name| ["--bin", name]).collect::<Vec<_>>());
    }

    /// A binary of the workspace by its name, such as `jobqueue-api`; [`build`](Self::build) it first.
    pub fn named(name: &str) -> Self {
        Self::at(profile_dir().join(name))
    }

    /// An example of the workspace by its name. Builds it. Blocks.
    pub fn example(name: &str) -> Self {
        cargo_build(&["--example", name]);
        Self::at(profile_dir().join("examples").join(name))
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

    /// Adds a variable. The process gets only the variables that are added here.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory of the process.
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

fn cargo_build(targets: &[&str]) {
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
    build.args(targets);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    let outcome = build.output().expect("run cargo");
    let stderr = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "building {targets:?} failed:\n{stderr}");
}

/// How long to wait for the rest of the output after a program has ended.
const LAST_LINES: Duration = Duration::from_secs(5);

/// A running program and its output. Dropping it kills the program.
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

    /// Every line of stdout and stderr so far; the lines of each stream are in order.
    pub fn lines(&self) -> Vec<String> {
        self.output.lines()
    }

    /// Waits for a line that matches and returns it; lines before the call count. Panics with the whole
    /// output if `limit` passes or the output ends without such a line.
    pub async fn wait_for_line(&self, what: &str, is_it: impl Fn(&str) -> bool, limit: Duration) -> String {
        let mut progress = self.output.progress.subscribe();
        let waiting = async {
            loop {
                // reads the number of open streams before the lines: all lines of a closed stream are already
                // collected
                let open_ends = progress.borrow_and_update().open_ends;
                if let Some(line) = self.lines().into_iter().find(|line| is_it(line)) {
                    return Some(line);
                }
                if open_ends == 0 || progress.changed().await.is_err() {
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

    /// Waits for the line that contains `listening` and `marker`, and returns the address in it.
    pub async fn listening(&self, marker: &str, limit: Duration) -> SocketAddr {
        let is_it =
            |line: &str| line.contains("listening") && line.contains(marker) && address_in(line).is_some();
        let what = format!("a line with `listening`, `{marker}` and an address");
        address_in(&self.wait_for_line(&what, is_it, limit).await).unwrap()
    }

    /// Sends a signal. Call it only before the process has been waited for.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal the process");
    }

    /// Kills the process and returns when it has ended.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the process");
        self.child.wait().expect("wait for the killed process");
    }

    /// Whether the process is running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("look at the process").is_none()
    }

    /// Waits until the process ends, and for the rest of its output. Panics with the whole output if `limit`
    /// passes.
    pub async fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("look at the process") {
                let mut progress = self.output.progress.subscribe();
                // a child of the process may keep a stream open for long
                let _held_open =
                    timeout(LAST_LINES, progress.wait_for(|progress| progress.open_ends == 0)).await;
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
        // the process may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.lines().join("\n"));
        }
    }
}

/// The lines of both streams, each collected by a thread.
#[derive(Debug, Clone)]
struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    progress: watch::Sender<Progress>,
}

/// Changes with every line and at the end of each stream.
#[derive(Debug, Default)]
struct Progress {
    open_ends: u32,
}

impl Default for Output {
    fn default() -> Self {
        Self { lines: Arc::default(), progress: watch::Sender::new(Progress::default()) }
    }
}

impl Output {
    fn collect(&self, end: impl Read + Send + 'static) {
        let output = self.clone();
        self.progress.send_modify(|progress| progress.open_ends += 1);
        thread::spawn(move || {
            let mut reader = BufReader::new(end);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                output.lines.lock().unwrap().push(text);
                output.progress.send_modify(|_| ());
                line.clear();
            }
            output.progress.send_modify(|progress| progress.open_ends -= 1);
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

/// The first socket address in a line, in any format.
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
