//! The format of the lines, and that no text can forge a second line.

use super::*;
use std::io;
use std::sync::{Arc, Mutex};
use tracing_subscriber::layer::SubscriberExt;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: Format, work: impl FnOnce()) -> String {
    let kept = Written::default();
    let writer = kept.clone();
    let layer = Lines::new(format, move || writer.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
}

fn one_json_line(work: impl FnOnce()) -> serde_json::Map<String, Value> {
    let text = logged(Format::Json, work);
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_json_line_has_the_fixed_fields_first_then_flat_fields() {
    let text = logged(Format::Json, || {
        let outer = tracing::info_span!(
            "request",
            request_id = "r-1",
            job_id = "outer",
            late = tracing::field::Empty
        );
        let _outer = outer.enter();
        outer.record("late", 7);
        let _inner = tracing::info_span!("attempt", worker_id = "w-1", job_id = "inner").entered();
        tracing::info!(queue.name = "mail", duration_ms = 12.5, ok = true, attempt = 2_u32, "job settled");
    });
    let prefix = first_names(&text);
    assert_eq!(prefix, ["timestamp", "level", "message", "queue.name", "duration_ms", "ok", "attempt"]);
    let line: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["message"], "job settled");
    assert_eq!(line["queue.name"], "mail");
    assert_eq!(line["duration_ms"], 12.5);
    assert_eq!(line["attempt"], 2);
    assert_eq!(line["ok"], true);
    assert_eq!(line["job_id"], "inner", "the innermost value of a name wins");
    assert_eq!(line["worker_id"], "w-1");
    assert_eq!(line["request_id"], "r-1");
    assert_eq!(line["late"], 7);
    assert_eq!(text.matches("\"job_id\"").count(), 1, "no name twice: {text}");
    let timestamp = line["timestamp"].as_str().unwrap();
    assert_eq!(timestamp.len(), "2026-01-01T00:00:00.000000Z".len(), "{timestamp}");
    assert!(timestamp.ends_with('Z') && timestamp.as_bytes()[10] == b'T', "{timestamp}");
    assert!(line["target"].as_str().unwrap().starts_with("jobqueue_runtime"));
}

/// The first seven names of a line whose strings contain no comma.
fn first_names(line: &str) -> Vec<&str> {
    line.split(',').take(7).map(|member| member.split('"').nth(1).unwrap()).collect()
}

#[test]
fn user_input_cannot_forge_a_line_or_control_a_terminal() {
    let hostile = "a\r\n{\"level\":\"ERROR\"}\u{1b}[31m\u{9b}2J\u{7f}\u{2028}\u{202e}\0\"";
    let line = one_json_line(|| tracing::info!(job.kind = hostile, debugged = ?hostile, "{hostile}"));
    assert_eq!(line["message"], hostile, "escaped, not lost");
    assert_eq!(line["job.kind"], hostile);
    for format in [Format::Json, Format::Console { colour: false }] {
        let text = logged(format, || tracing::info!(job.kind = hostile, debugged = ?hostile, "{hostile}"));
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        assert!(!text.trim_end_matches('\n').contains(is_control), "{text:?}");
    }
}

#[test]
fn reserved_names_and_odd_values_stay_valid() {
    let long = "é".repeat(9_000);
    let line = one_json_line(|| {
        let _span = tracing::info_span!("s", level = "span", message = "span").entered();
        tracing::warn!(level = "mine", timestamp = 1, nan = f64::NAN, r#type = "t", long = long, "m");
    });
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["message"], "m");
    assert_eq!(line["fields.level"], "mine");
    assert_eq!(line["fields.timestamp"], 1);
    assert_eq!(line["nan"], "NaN");
    assert_eq!(line["type"], "t");
    assert!(line["long"].as_str().unwrap().ends_with("(cut, 18000 bytes)"));
}

#[test]
fn an_error_shows_its_causes() {
    let cause = io::Error::other("connection refused");
    let error = anyhow::Error::from(cause).context("database is unreachable");
    let error: &(dyn std::error::Error + 'static) = error.as_ref();
    assert_eq!(
        one_json_line(|| tracing::error!(error, "x"))["error"],
        "database is unreachable: connection refused"
    );
}

#[test]
fn the_console_line_is_readable_and_coloured_only_on_request() {
    let work = || tracing::warn!(job_id = "j-1", reason = "two words", "lease lost");
    let plain = logged(Format::Console { colour: false }, work);
    assert!(plain.ends_with(" WARN lease lost job_id=j-1 reason=\"two words\"\n"), "{plain}");
    assert!(!plain.contains('\u{1b}'));
    assert!(logged(Format::Console { colour: true }, work).contains("\u{1b}[33m WARN\u{1b}[0m lease lost"));
}
