//! An API and a worker in this process, and the `jobqueue` binary as a user runs it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jobqueue_runtime::{Shutdown, install_tls_provider, parse_without_env};
use jobqueue_testkit::{TestDb, eventually};
use jobqueue_worker::{HandlerError, JobContext, Worker};
use serde_json::Value;
use tokio::task::spawn_blocking;

/// Time limit; reached only if the test fails.
pub(crate) const SOON: Duration = Duration::from_mins(1);
/// The root key of the API.
pub(crate) const KEY: &str = "a-key-of-at-least-thirty-two-characters";

/// A deployment on its own database.
pub(crate) struct Service {
    pub(crate) db: TestDb,
    pub(crate) address: SocketAddr,
    pub(crate) home: Home,
    shutdown: Shutdown,
    worker: Option<Shutdown>,
}

/// A directory that is the user's home. It is removed at the end.
pub(crate) struct Home(PathBuf);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        Self::start_at(address).await
    }

    /// The same at an address that is free.
    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        install_tls_provider();
        let db = TestDb::new().await;
        let shutdown = Shutdown::new();
        let own = address.to_string();
        let words =
            ["jobqueue-api", "--api-addr", &own, "--admin-addr", "127.0.0.1:0", "--database-url", db.url()];
        let words = words.into_iter().chain(["--api-secret-key", KEY]);
        let args: jobqueue_api::args::ApiCli = parse_without_env(words).unwrap();
        jobqueue_api::run(args.serve, shutdown.clone()).await.unwrap();
        let service = Self { db, address, home: Home::new(), shutdown, worker: None };
        let ready = async || {
            let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            drop(stream);
            let ran = service.ran(&["get", "queues"]).await;
            if ran.code == 0 { Ok(()) } else { Err(format!("{ran:?}")) }
        };
        eventually(SOON, "the API is ready", ready).await;
        service
    }

    /// Adds a worker whose kind `echo` returns its payload, `fail` fails permanently, and `block` runs until it is cancelled.
    pub(crate) fn with_worker(mut self) -> Self {
        let worker = Worker::at(self.db.url())
            .name("of-the-test")
            .queues(["default", "mail"])
            .poll_interval(Duration::from_millis(50))
            .heartbeat_interval(Duration::from_millis(100))
            .stale_after(Duration::from_secs(20))
            .cancel_grace(Duration::from_millis(100))
            .handle("echo", async |_: JobContext, input: Value| Ok::<_, HandlerError>(input))
            .handle("fail", |context: JobContext, _: Value| async move {
                context.log("about to fail");
                Err::<(), _>(HandlerError::discard("broken", "it is broken"))
            })
            .handle("block", |context: JobContext, _: Value| async move {
                context.log("started");
                context.cancelled().await;
                // an error of a job that is to be cancelled cancels it
                Err::<(), _>(HandlerError::from(std::io::Error::other("stopped")))
            })
            .build()
            .unwrap();
        // a drain ends the worker, not the API
        let its_own = Shutdown::new();
        its_own.spawn_service("worker", worker.run(its_own.clone()));
        self.worker = Some(its_own);
        self
    }

    /// Runs a command with the right URL and key, and returns how it ended.
    pub(crate) async fn ran(&self, args: &[&str]) -> Ran {
        self.fed(args, "").await
    }

    /// The same with a text on its standard input.
    pub(crate) async fn fed(&self, args: &[&str], stdin: &str) -> Ran {
        let url = format!("http://{}", self.address);
        run(&self.home, args, &[("JOBQUEUE_URL", &url), ("JOBQUEUE_API_KEY", KEY)], stdin).await
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) async fn ok(&self, args: &[&str]) -> String {
        let ran = self.ran(args).await;
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.stdout
    }

    /// The same, as JSON.
    pub(crate) async fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.ok(&args).await).unwrap()
    }

    /// Submits a job and returns its id.
    pub(crate) async fn submit(&self, args: &[&str]) -> String {
        let args: Vec<&str> = ["submit"].iter().chain(args).copied().chain(["-o", "name"]).collect();
        self.ok(&args).await.trim().to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.begin();
        if let Some(worker) = &self.worker {
            worker.begin();
        }
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("jobqueue-cli-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _absent = std::fs::remove_dir_all(&self.0);
    }
}

/// The binary with an environment of its own.
pub(crate) fn command(home: &Home, args: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobqueue"));
    command.args(args).env_clear().env("HOME", home.path()).envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary to its end.
pub(crate) async fn run(home: &Home, args: &[&str], variables: &[(&str, &str)], stdin: &str) -> Ran {
    let mut command = command(home, args, variables);
    let stdin = stdin.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            // a command that does not read its input closes the pipe
            let _closed = input.write_all(stdin.as_bytes());
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    };
    spawn_blocking(run).await.unwrap()
}

impl Ran {
    /// Asserts the code, and that stderr is one line that has these words.
    pub(crate) fn fails(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(words), "{words}: {self:?}");
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "{self:?}");
    }
}

/// Lines of JSON.
pub(crate) fn json_lines(values: impl IntoIterator<Item = Value>) -> String {
    values.into_iter().fold(String::new(), |mut text, value| {
        writeln!(text, "{value}").unwrap();
        text
    })
}

/// Reads a pipe until it has these words.
pub(crate) fn read_until(pipe: &mut impl std::io::Read, words: &str) -> String {
    let (mut text, mut chunk) = (String::new(), [0; 1024]);
    while !text.contains(words) {
        let count = pipe.by_ref().read(&mut chunk).unwrap();
        assert!(count > 0, "it ended without {words}: {text}");
        text.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    text
}
