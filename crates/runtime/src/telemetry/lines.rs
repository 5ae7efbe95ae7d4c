//! Writes one line for each event. Owns the two formats and their escaping, so that user input cannot forge a
//! second line or send control sequences to a terminal; does not decide what is logged.

use super::fields::Fields;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Names that the line itself uses; an event's field with such a name is written as `fields.<name>`.
const RESERVED: [&str; 4] = ["timestamp", "level", "message", "target"];

/// The format of a line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    Json,
    Console { colour: bool },
}

/// The layer that writes a line for each event, with the fields of the spans that contain it.
pub(super) struct Lines<W> {
    format: Format,
    writer: W,
}

impl<W> Lines<W> {
    pub(super) fn new(format: Format, writer: W) -> Self {
        Self { format, writer }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = Line::start(self.format, event, &mut fields);
        line.add(&fields, true);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.add(fields, false);
            }
        }
        let text = line.finish(event.metadata().target());
        // if stdout is closed, the line is lost and the work continues
        let _lost = self.writer.make_writer_for(event.metadata()).write_all(text.as_bytes());
    }
}

/// A line that is being built: head, fields of the event, fields of its spans from the innermost outward,
/// target.
struct Line {
    format: Format,
    text: String,
    seen: Vec<&'static str>,
}

impl Line {
    fn start(format: Format, event: &Event<'_>, fields: &mut Fields) -> Self {
        let mut timestamp = String::new();
        // writing to a String cannot fail; with a clock before 1970 the timestamp is empty
        let _no_clock = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        let message =
            fields.remove("message").unwrap_or_else(|| Value::String(event.metadata().name().to_owned()));
        let level = *event.metadata().level();
        let mut line = Self { format, text: String::with_capacity(256), seen: Vec::new() };
        match format {
            Format::Json => {
                line.text.push('{');
                line.json("timestamp", &timestamp);
                line.json("level", level.as_str());
                line.json("message", &message);
            }
            Format::Console { colour } => line.console_head(&timestamp, level, &message, colour),
        }
        line
    }

    fn add(&mut self, fields: &Fields, of_event: bool) {
        for (name, value) in fields.iter() {
            // the innermost value of a name wins, because JSON must not have duplicate names
            if self.seen.contains(&name) {
                continue;
            }
            self.seen.push(name);
            let shown = match (RESERVED.contains(&name), of_event) {
                (false, _) => Cow::Borrowed(name),
                (true, true) => Cow::Owned(format!("fields.{name}")),
                (true, false) => continue,
            };
            match self.format {
                Format::Json => self.json(&shown, value),
                Format::Console { colour } => self.console(&shown, value, colour),
            }
        }
    }

    fn finish(mut self, target: &str) -> String {
        match self.format {
            Format::Json => {
                self.json("target", target);
                self.text.push('}');
                self.text = escape_beyond_json(self.text);
            }
            Format::Console { .. } => {}
        }
        self.text.push('\n');
        self.text
    }

    fn json<V: Serialize + ?Sized>(&mut self, name: &str, value: &V) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        self.text.push_str(&quoted(name));
        self.text.push(':');
        self.text.push_str(&quoted(value));
    }

    fn console_head(&mut self, timestamp: &str, level: Level, message: &Value, colour: bool) {
        let message = escaped(message.as_str().unwrap_or_default());
        let (paint, dim, plain) =
            if colour { (paint(level), "\u{1b}[2m", "\u{1b}[0m") } else { ("", "", "") };
        let written = write!(self.text, "{dim}{timestamp}{plain} {paint}{level:>5}{plain} {message}");
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }

    fn console(&mut self, name: &str, value: &Value, colour: bool) {
        let (dim, plain) = if colour { ("\u{1b}[2m", "\u{1b}[0m") } else { ("", "") };
        let shown = match value {
            Value::String(text) if is_plain_word(text) => text.clone(),
            other => escape_beyond_json(quoted(other)),
        };
        let written = write!(self.text, " {dim}{name}={plain}{shown}");
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
}

fn paint(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

fn quoted<V: Serialize + ?Sized>(value: &V) -> String {
    // text, numbers and booleans can always be serialised
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn is_plain_word(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(|c: char| is_control(c) || c.is_whitespace() || matches!(c, '"' | '=' | '\\'))
}

/// Characters that move a terminal's cursor, start a line or reorder text: C0, DEL, C1 (like ESC, U+009B
/// starts a sequence), the Unicode line separators and the bidirectional controls.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON does not escape DEL, C1 and the separators. They occur only inside strings, where an escape is
/// equivalent.
fn escape_beyond_json(text: String) -> String {
    if !text.contains(is_control) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_control(c) {
            safe.extend(format!("\\u{:04x}", u32::from(c)).chars());
        } else {
            safe.push(c);
        }
    }
    safe
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
