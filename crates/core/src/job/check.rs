//! The checks of a draft, each as one small function that notes its errors and goes on.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

use super::{JobDraft, NewJob, Start, UniqueDraft, default_max_attempts, priority};
use crate::field::FieldError;
use crate::json::Json;
use crate::limits::Limits;
use crate::name::NameError;
use crate::status::Status;
use crate::trace::TraceParent;
use crate::unique::Unique;

/// Collects the errors of one draft.
pub(super) struct Checker<'a> {
    limits: &'a Limits,
    errors: Vec<FieldError>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { limits, errors: Vec::new() }
    }

    pub(super) fn job(mut self, draft: JobDraft) -> Result<NewJob, Vec<FieldError>> {
        let queue = self.name("/queue", draft.queue.unwrap_or_else(|| "default".to_owned()).parse());
        let kind = self.name("/kind", draft.kind.parse());
        let payload = draft.payload.unwrap_or_default();
        self.size("/payload", &payload, self.limits.payload_bytes);
        let priority = self.priority(draft.priority.unwrap_or(0));
        let start = self.start(draft.run_at.as_deref(), draft.delay_seconds);
        let expires_at = self.moment("/expires_at", draft.expires_at.as_deref());
        self.order(start, expires_at);
        let max_attempts = self.max_attempts(draft.max_attempts);
        if let Some(policy) = &draft.retry {
            self.errors.extend(policy.check());
        }
        let timeout = self.timeout("/timeout_seconds", draft.timeout_seconds);
        let soft_timeout = self.timeout("/soft_timeout_seconds", draft.soft_timeout_seconds);
        if timeout.zip(soft_timeout).is_some_and(|(hard, soft)| soft >= hard) {
            self.note("/soft_timeout_seconds", "out_of_range", "must be below timeout_seconds");
        }
        let unique = draft.unique.map(|unique| self.unique(unique));
        let tags = self.tags(draft.tags);
        if let Some(metadata) = &draft.metadata {
            self.metadata(metadata);
        }
        let traceparent = draft.traceparent.and_then(|text| self.traceparent(text));
        let (Some(queue), Some(kind), true) = (queue, kind, self.errors.is_empty()) else {
            return Err(self.errors);
        };
        Ok(NewJob {
            queue,
            kind,
            payload,
            priority,
            start,
            expires_at,
            max_attempts,
            retry: draft.retry,
            timeout,
            soft_timeout,
            unique,
            tags,
            metadata: draft.metadata,
            traceparent,
        })
    }

    fn note(&mut self, pointer: &str, code: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError::new(pointer, code, message));
    }

    fn name<T>(&mut self, pointer: &str, parsed: Result<T, NameError>) -> Option<T> {
        parsed.map_err(|e| self.note(pointer, e.code(), e.to_string())).ok()
    }

    fn size(&mut self, pointer: &str, json: &Json, max: usize) {
        if json.len() > max {
            self.note(pointer, "too_long", format!("must have at most {max} bytes of JSON"));
        }
    }

    fn priority(&mut self, value: i64) -> i16 {
        priority(value).unwrap_or_else(|| {
            self.note("/priority", "out_of_range", "must be between -100 and 100");
            0
        })
    }

    fn start(&mut self, run_at: Option<&str>, delay_seconds: Option<f64>) -> Start {
        let at = self.moment("/run_at", run_at);
        let Some(delay) = delay_seconds else { return at.map_or(Start::Now, Start::At) };
        if at.is_some() {
            self.note("/delay_seconds", "conflict", "give either run_at or delay_seconds");
        }
        let max = f64::from(self.limits.delay_seconds);
        match Duration::try_from_secs_f64(delay) {
            Ok(delay) if delay.as_secs_f64() <= max => Start::After(delay),
            _ => {
                self.note("/delay_seconds", "out_of_range", format!("must be between 0 and {max}"));
                Start::Now
            }
        }
    }

    /// RFC 3339 with an offset. A leap second is refused: Postgres would silently move it to the next minute.
    fn moment(&mut self, pointer: &str, text: Option<&str>) -> Option<DateTime<Utc>> {
        let text = text?;
        let parsed = DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.to_utc());
        let usable = parsed.filter(|m| (1970..=9999).contains(&m.year()) && m.nanosecond() < 1_000_000_000);
        if usable.is_none() {
            self.note(
                pointer,
                "invalid",
                "must be an existing RFC 3339 moment with an offset, such as 2027-01-31T09:00:00Z",
            );
        }
        usable
    }

    fn order(&mut self, start: Start, expires_at: Option<DateTime<Utc>>) {
        if let (Start::At(run_at), Some(expires_at)) = (start, expires_at)
            && expires_at <= run_at
        {
            self.note("/expires_at", "out_of_range", "must be after run_at");
        }
    }

    fn max_attempts(&mut self, value: Option<i64>) -> u16 {
        let Some(value) = value else { return default_max_attempts() };
        let max = self.limits.max_attempts;
        u16::try_from(value).ok().filter(|n| (1..=max).contains(n)).unwrap_or_else(|| {
            self.note("/max_attempts", "out_of_range", format!("must be between 1 and {max}"));
            1
        })
    }

    fn timeout(&mut self, pointer: &str, seconds: Option<f64>) -> Option<Duration> {
        let max = f64::from(self.limits.timeout_seconds);
        let timeout = seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default())?;
        if timeout.is_zero() || timeout.as_secs_f64() > max {
            self.note(pointer, "out_of_range", format!("must be above 0 and at most {max}"));
        }
        Some(timeout)
    }

    fn unique(&mut self, draft: UniqueDraft) -> Unique {
        self.text("/unique/key", &draft.key, self.limits.key_bytes);
        let statuses = draft.statuses.unwrap_or_else(|| live().collect());
        if !live().all(|status| statuses.contains(&status)) {
            let message = "must hold blocked, scheduled, queued and running; completed, failed and cancelled are optional";
            self.note("/unique/statuses", "invalid", message);
        }
        let also_final = statuses.into_iter().filter(|s| s.is_final()).collect();
        Unique { key: draft.key, scope: draft.scope, also_final, on_conflict: draft.on_conflict }
    }

    fn tags(&mut self, tags: Vec<String>) -> Vec<String> {
        if tags.len() > self.limits.tags {
            self.note("/tags", "too_long", format!("must have at most {} entries", self.limits.tags));
        } else {
            for (index, tag) in tags.iter().enumerate() {
                self.text(&format!("/tags/{index}"), tag, self.limits.tag_bytes);
            }
        }
        tags
    }

    fn metadata(&mut self, metadata: &Json) {
        if metadata.is_object() {
            self.size("/metadata", metadata, self.limits.metadata_bytes);
        } else {
            self.note("/metadata", "invalid", "must be a JSON object");
        }
    }

    fn traceparent(&mut self, text: String) -> Option<TraceParent> {
        TraceParent::try_from(text).map_err(|message| self.note("/traceparent", "invalid", message)).ok()
    }

    /// Short human text: present, bounded, without control or direction-changing characters.
    fn text(&mut self, pointer: &str, text: &str, max: usize) {
        let hidden = |c: char| {
            c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        if text.is_empty() {
            self.note(pointer, "required", "must not be empty");
        } else if text.len() > max {
            self.note(pointer, "too_long", format!("must have at most {max} bytes"));
        } else if text.chars().any(hidden) {
            self.note(pointer, "invalid", "must not hold control or text-direction characters");
        }
    }
}

fn live() -> impl Iterator<Item = Status> {
    Status::ALL.into_iter().filter(|status| !status.is_final())
}
