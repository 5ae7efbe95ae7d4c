//! Tests of `boot` from outside: this program starts itself as a service and checks its log lines, its
//! reaction to signals and its exit codes.
//!
//! It has no test harness, because a harness would set the exit code and capture the output of the service.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test without a harness")]

use axum::http::Uri;
use jobqueue_runtime::admin::{self, Admin, Readiness};
use jobqueue_runtime::{ConfigError, LogOutput, Shutdown, TelemetryArgs, boot};
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const ROLE: &str = "JOBQUEUE_TEST_BOOT_ROLE";
/// Much longer than the service may take; reached only if the service hangs.
const HANG: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        return service(&role);
    }
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("boot: test");
        }
        return ExitCode::SUCCESS;
    }
    let checks: [(&str, fn()); 9] = [
        ("a signal ends a service cleanly", a_signal_ends_a_service_cleanly),
        ("the admin port outlives the soft shutdown", the_admin_port_outlives_the_soft_shutdown),
        ("bad configuration exits with 64", bad_configuration_exits_with_64),
        ("an error exits with 1 and is logged once", an_error_exits_with_1_and_is_logged_once),
        ("a panicking task is one line and exit code 1", a_panicking_task_is_one_line_and_exit_code_1),
        ("a command without tasks ends at once", a_command_without_tasks_ends_at_once),
        ("a warning keeps the context of its span", a_warning_keeps_the_context_of_its_span),
        ("traces reach the collector before the end", traces_reach_the_collector_before_the_end),
        ("a silent collector never blocks the process", a_silent_collector_never_blocks_the_process),
    ];
    for (name, check) in checks {
        check();
        println!("ok: {name}");
    }
    ExitCode::SUCCESS
}

// ---- the service ----------------------------------------------------------------------------------------------------

fn service(role: &str) -> ExitCode {
    let mut telemetry =
        TelemetryArgs { otlp_endpoint: std::env::var("COLLECTOR").ok(), ..TelemetryArgs::default() };
    match role {
        "stderr" => telemetry.log_output = LogOutput::Stderr,
        "warn" => "warn".clone_into(&mut telemetry.log_level),
        _ => {}
    }
    let role = role.to_owned();
    boot("jobqueue-test", &telemetry, |shutdown| run(role, shutdown))
}

#[expect(clippy::unused_async, reason = "a service is a future")]
async fn run(role: String, shutdown: Shutdown) -> anyhow::Result<()> {
    match role.as_str() {
        "clean" => {
            let soft = shutdown.soft().clone();
            shutdown.spawn_service("loop", async move {
                let span = tracing::info_span!("attempt", job_id = "j-1");
                span.in_scope(|| tracing::info!(worker_id = "w-1", "running"));
                drop(span);
                soft.cancelled().await;
                Ok(())
            });
        }
        "stubborn" => {
            let admin = Admin { registry: prometheus::Registry::new(), readiness: Readiness::always() };
            admin::serve("127.0.0.1:0".parse::<SocketAddr>()?, admin, &shutdown)?;
            let hard = shutdown.hard().clone();
            shutdown.spawn(async move { hard.cancelled().await });
        }
        "config" => {
            let refused = ConfigError("WORKER_LEASE_DURATION_SECONDS must be at least 20".to_owned());
            return Err(anyhow::Error::from(refused).context("the worker cannot start"));
        }
        "error" => anyhow::bail!("the schema is unknown"),
        "panic" => {
            shutdown.spawn(async { panic!("first line\nsecond line") });
        }
        "warn" => tracing::info_span!("attempt", job_id = "j-1").in_scope(|| {
            tracing::info!("too quiet to be seen");
            tracing::warn!("lease lost");
        }),
        _ => tracing::info!("nothing to do"),
    }
    Ok(())
}

// ---- the checks -----------------------------------------------------------------------------------------------------

fn a_signal_ends_a_service_cleanly() {
    for signal in ["TERM", "INT"] {
        let mut service = Service::start("clean", &[]);
        let first = service.line_where(|_| true);
        assert_eq!(first["message"], "starting");
        assert_eq!(first["service.name"], "jobqueue-test");
        assert_eq!(first["service.version"], env!("CARGO_PKG_VERSION"));
        let running = service.line_where(|line| line["message"] == "running");
        assert_eq!((&running["job_id"], &running["worker_id"]), (&"j-1".into(), &"w-1".into()));
        service.signal(signal);
        service.line_where(|line| line["message"] == "stopped");
        assert_eq!(service.end(), (0, String::new()));
    }
}

fn the_admin_port_outlives_the_soft_shutdown() {
    let mut service = Service::start("stubborn", &[]);
    let open = service.line_where(|line| line.contains_key("admin.addr"));
    let addr: SocketAddr = open["admin.addr"].as_str().unwrap().parse().unwrap();
    assert!(get(addr, "/ready").starts_with("HTTP/1.1 200"));
    service.signal("TERM");
    service.line_where(|line| line["signal"] == "SIGTERM");
    assert!(get(addr, "/ready").starts_with("HTTP/1.1 503"));
    assert!(get(addr, "/health").starts_with("HTTP/1.1 200"));
    service.signal("TERM");
    let end = service.line_where(|line| line["level"] == "ERROR");
    assert_eq!(end["error"], "the shutdown was forced");
    assert_eq!(service.end().0, 1);
    assert!(TcpStream::connect(addr).is_err());
}

fn bad_configuration_exits_with_64() {
    let (code, stderr) = Service::start("config", &[]).end();
    assert_eq!(
        (code, stderr.as_str()),
        (64, "jobqueue-test: WORKER_LEASE_DURATION_SECONDS must be at least 20\n")
    );
    let (code, stderr) = Service::start("clean", &[("COLLECTOR", "collector:4318")]).end();
    assert_eq!(code, 64);
    assert!(stderr.starts_with("jobqueue-test: OTEL_EXPORTER_OTLP_ENDPOINT must be a URL"), "{stderr}");
}

fn an_error_exits_with_1_and_is_logged_once() {
    let mut service = Service::start("error", &[]);
    let line = service.line_where(|line| line["level"] == "ERROR");
    assert_eq!(line["error"], "the schema is unknown");
    assert_eq!(service.end(), (1, String::new()));
}

fn a_panicking_task_is_one_line_and_exit_code_1() {
    let mut service = Service::start("panic", &[]);
    let line = service.line_where(|line| line["level"] == "ERROR");
    assert_eq!(line["panic.message"], "first line\nsecond line");
    assert!(line["panic.location"].as_str().unwrap().contains("boot.rs"));
    assert_eq!(service.end(), (1, String::new()));
}

fn a_command_without_tasks_ends_at_once() {
    let (code, stderr) = Service::start("stderr", &[]).end();
    assert_eq!(code, 0);
    let messages: Vec<Value> = stderr.lines().map(|line| parsed(line)["message"].clone()).collect();
    assert_eq!(messages, ["starting", "nothing to do", "stopped"]);
}

fn a_warning_keeps_the_context_of_its_span() {
    let mut service = Service::start("warn", &[]);
    let only = service.line_where(|_| true);
    assert_eq!((&only["message"], &only["job_id"]), (&"lease lost".into(), &"j-1".into()));
    assert_eq!(service.end(), (0, String::new()));
}

fn traces_reach_the_collector_before_the_end() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", collector.local_addr().unwrap());
    let received = std::thread::spawn(move || {
        let (mut stream, _) = collector.accept().unwrap();
        let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&request).contains("attempt") {
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "closed after {}", String::from_utf8_lossy(&request));
            request.extend_from_slice(&chunk[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&request).into_owned()
    });
    let mut service = Service::start("clean", &[("COLLECTOR", &url)]);
    service.line_where(|line| line["message"] == "running");
    service.signal("TERM");
    assert_eq!(service.end().0, 0);
    let request = received.join().unwrap();
    let target: Uri = request.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(target.path(), "/v1/traces");
    assert!(request.contains("jobqueue-test") && request.contains("job_id"), "{request}");
}

fn a_silent_collector_never_blocks_the_process() {
    // the system accepts connections into the backlog, and no one answers them
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", collector.local_addr().unwrap());
    let mut service = Service::start("clean", &[("COLLECTOR", &url)]);
    service.line_where(|line| line["message"] == "running");
    service.signal("TERM");
    service.line_where(|line| line["message"] == "stopped");
    assert_eq!(service.end().0, 0);
    drop(collector);
}

// ---- a running service ----------------------------------------------------------------------------------------------

struct Service {
    child: Child,
    lines: BufReader<ChildStdout>,
    stderr: ChildStderr,
    /// Dropped with the service, which stops the watchdog.
    _alive: mpsc::Sender<()>,
}

/// A service that hangs is killed, so that its output ends and the check fails.
fn watchdog(pid: u32) -> mpsc::Sender<()> {
    let (alive, gone) = mpsc::channel();
    std::thread::spawn(move || {
        if gone.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ended_meanwhile = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    });
    alive
}

impl Drop for Service {
    fn drop(&mut self) {
        // after a failed check the service still runs
        let _ended = self.child.kill();
    }
}

impl Service {
    fn start(role: &str, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, role)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let stderr = child.stderr.take().unwrap();
        let alive = watchdog(child.id());
        Self { child, lines, stderr, _alive: alive }
    }

    /// Reads lines until one matches; every line must be one JSON object.
    fn line_where(&mut self, fits: impl Fn(&Map<String, Value>) -> bool) -> Map<String, Value> {
        loop {
            let mut text = String::new();
            self.lines.read_line(&mut text).unwrap();
            assert!(!text.is_empty(), "the output ended before the expected line");
            let mut line = parsed(&text);
            // missing fields are read as null, which keeps the closures short
            for name in ["message", "level", "signal"] {
                line.entry(name).or_insert(Value::Null);
            }
            if fits(&line) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Waits for the exit code and what was written to stderr.
    fn end(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap();
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        (status.code().expect("an exit code, not a signal"), stderr)
    }
}

fn parsed(line: &str) -> Map<String, Value> {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
