//! A fake API and a fake Prometheus for `validate.sh` and `chaos.sh`. Every job is finished at once, unless configured
//! otherwise; nothing is stored.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The differences from a healthy API.
#[derive(Clone, Copy)]
pub(super) struct Answers {
    /// The number of jobs of a batch that are finished.
    pub(super) finished: usize,
    /// Whether the attempts of a job show that one worker released it and another one finished it.
    pub(super) moved: bool,
    /// Whether Prometheus scrapes the workers.
    pub(super) scraped: bool,
    /// The check of `validate.sh` that must fail.
    pub(super) failing: &'static str,
}

impl Answers {
    pub(super) const HEALTHY: Self = Self { finished: usize::MAX, moved: true, scraped: true, failing: "" };
}

struct Api {
    answers: Answers,
    submitted: AtomicUsize,
    singles: AtomicUsize,
}

/// The metrics of the three processes, and the check that reads each of them.
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

/// Listens until the tests end; returns its port.
pub(super) fn start(answers: Answers) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = AtomicUsize::default;
    let api = Arc::new(Api { answers, submitted: count(), singles: count() });
    thread::spawn(move || {
        for stream in listener.incoming() {
            let api = Arc::clone(&api);
            // an error means that the client disconnected
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
            "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            answer.len()
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        stream.write_all(answer.as_bytes())
    }

    fn status(&self, path: &str, has_key: bool) -> u16 {
        let failing = |check| self.answers.failing == check;
        match path {
            "/health" if failing("api_alive") => 503,
            "/ready" if failing("api_ready") => 503,
            _ if path.starts_with("/v1/") && !has_key && !failing("key_required") => 401,
            _ => 200,
        }
    }

    fn answer(&self, path: &str, body: &str) -> String {
        let completed = |number| format!("{{{},\"status\":\"completed\"}}", id(number));
        let list = |count| (0..count).map(completed).collect::<Vec<_>>().join(",");
        match path {
            "/v1/jobs" => {
                // single jobs have numbers above those of a batch
                let number = 1000 + self.singles.fetch_add(1, Ordering::SeqCst);
                format!("{{{},\"status\":\"queued\"}}", id(number))
            }
            "/v1/jobs/batch" => {
                let count = body.matches("\"kind\"").count();
                self.submitted.store(count, Ordering::SeqCst);
                format!("{{\"items\":[{}]}}", list(count))
            }
            "/metrics" => {
                let output_text =
                    METRICS.iter().filter(|(_, check)| *check != self.answers.failing || check.is_empty());
                let lines: Vec<_> = output_text.map(|(name, _)| format!("{name} 1\n")).collect();
                lines.concat()
            }
            _ if path.starts_with("/v1/jobs?") => {
                let count = self.submitted.load(Ordering::SeqCst).min(self.answers.finished);
                format!("{{\"jobs\":[{}]}}", list(count))
            }
            _ if path.ends_with("/attempts") => {
                let before = if self.answers.moved { "{\"ended\":\"released\"}," } else { "" };
                format!("{{\"attempts\":[{before}{{\"ended\":\"completed\"}}]}}")
            }
            _ if path.starts_with("/v1/jobs/") && self.answers.failing == "job_finishes" => {
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
            target("worker", u8::from(self.answers.scraped && self.answers.failing != "prometheus_scrapes"));
        format!("{{\"data\":{{\"result\":[{},{worker},{}]}}}}", target("api", 1), target("reaper", 1))
    }
}
