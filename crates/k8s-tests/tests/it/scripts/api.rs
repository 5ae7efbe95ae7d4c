//! An API, and a Prometheus, that answer what `validate.sh` and `chaos.sh` ask for. Every job is finished at once, unless it is told
//! otherwise; nothing is stored.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What differs from a healthy one.
#[derive(Clone, Copy)]
pub(super) struct Answers {
    /// Jobs of a batch that are finished.
    pub(super) finished: usize,
    /// The attempts of a job tell that one worker gave it back and another finished it.
    pub(super) moved: bool,
    /// The count of workers falls after it was asked for once.
    pub(super) workers_go: bool,
    /// Prometheus reaches the workers.
    pub(super) scraped: bool,
    /// The check of `validate.sh` that is not to pass.
    pub(super) spoiled: &'static str,
}

impl Answers {
    pub(super) const HEALTHY: Self =
        Self { finished: usize::MAX, moved: true, workers_go: true, scraped: true, spoiled: "" };
}

struct Api {
    answers: Answers,
    submitted: AtomicUsize,
    singles: AtomicUsize,
    metrics_asked: AtomicUsize,
}

/// What the pages of the three processes tell, and the check that looks for it.
const METRICS: [(&str, &str); 8] = [
    ("job_created_total{kind=\"k\"}", ""),
    ("job_completed_total{kind=\"k\"}", ""),
    ("job_failed_total{kind=\"k\"}", "metrics_of_the_queues"),
    ("job_queue_depth{queue=\"default\"}", ""),
    ("worker_lease_acquired_total{queue=\"default\"}", ""),
    ("worker_slots", ""),
    ("reaper_runs_total{duty=\"reclaim\"}", "metrics_of_the_processes"),
    ("http_request_duration_seconds_count{route=\"/ready\"}", ""),
];

/// Listens until the tests end, and tells its port.
pub(super) fn start(answers: Answers) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = AtomicUsize::default;
    let api = Arc::new(Api { answers, submitted: count(), singles: count(), metrics_asked: count() });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let api = Arc::clone(&api);
            // A client that went away has no answer to wait for.
            thread::spawn(move || api.serve(&stream.unwrap()).ok());
        }
    });
    port
}

fn id(number: usize) -> String {
    format!("\"id\":\"00000000-0000-7000-8000-{number:012x}\"")
}

impl Api {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let (mut length, mut has_key) = (0, false);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            has_key |= line.to_ascii_lowercase().starts_with("authorization:");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let path = first.split(' ').nth(1).unwrap_or_default();
        let answer = self.answer(path, &String::from_utf8_lossy(&body));
        let status = self.status(path, has_key);
        let head = format!(
            "HTTP/1.1 {status} As told\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            answer.len()
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        stream.write_all(answer.as_bytes())
    }

    fn status(&self, path: &str, has_key: bool) -> u16 {
        let spoiled = |check| self.answers.spoiled == check;
        match path {
            "/health" if spoiled("api_alive") => 503,
            "/ready" if spoiled("api_ready") => 503,
            _ if path.starts_with("/v1/") && !has_key && !spoiled("key_required") => 401,
            _ => 200,
        }
    }

    fn answer(&self, path: &str, body: &str) -> String {
        let completed = |number| format!("{{{},\"status\":\"completed\"}}", id(number));
        let list = |count| (0..count).map(completed).collect::<Vec<_>>().join(",");
        match path {
            "/v1/jobs" => {
                // beyond those of a batch, each with its own
                let number = 1000 + self.singles.fetch_add(1, Ordering::SeqCst);
                format!("{{{},\"status\":\"queued\"}}", id(number))
            }
            "/v1/jobs/batch" => {
                let count = body.matches("\"kind\"").count();
                self.submitted.store(count, Ordering::SeqCst);
                format!("{{\"items\":[{}]}}", list(count))
            }
            "/metrics" => {
                let asked = self.metrics_asked.fetch_add(1, Ordering::SeqCst);
                let workers = if asked > 0 && self.answers.workers_go { 0 } else { 2 };
                let told =
                    METRICS.iter().filter(|(_, check)| *check != self.answers.spoiled || check.is_empty());
                let lines: Vec<_> = told.map(|(name, _)| format!("{name} 1\n")).collect();
                let lines = lines.concat();
                format!("{lines}job_queue_workers {workers}\n")
            }
            _ if path.starts_with("/v1/jobs?") => {
                let count = self.submitted.load(Ordering::SeqCst).min(self.answers.finished);
                format!("{{\"jobs\":[{}]}}", list(count))
            }
            _ if path.ends_with("/attempts") => {
                let before = if self.answers.moved { "{\"ended\":\"released\"}," } else { "" };
                format!("{{\"attempts\":[{before}{{\"ended\":\"completed\"}}]}}")
            }
            _ if path.starts_with("/v1/jobs/") && self.answers.spoiled == "job_finishes" => {
                completed(1).replace("completed", "running")
            }
            _ if path.starts_with("/v1/jobs/") => completed(1),
            _ if path.starts_with("/api/v1/query") => self.targets(),
            _ => String::new(),
        }
    }

    fn targets(&self) -> String {
        let target = |name: &str, up: u8| {
            format!(
                "{{\"metric\":{{\"__name__\":\"up\",\"pod\":\"jobqueue-{name}-x\"}},\"value\":[1.5,\"{up}\"]}}"
            )
        };
        let worker =
            target("worker", u8::from(self.answers.scraped && self.answers.spoiled != "prometheus_scrapes"));
        format!("{{\"data\":{{\"result\":[{},{worker},{}]}}}}", target("api", 1), target("reaper", 1))
    }
}
