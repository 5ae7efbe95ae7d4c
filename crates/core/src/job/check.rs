//! The checks of a draft: one small function a field, which records its errors and continues.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{JobDraft, NewJob, Start, UniqueDraft, default_max_attempts, priority};
use crate::field::FieldError;
use crate::json::Json;
use crate::limits::{Limits, MAX_SNOOZES};
use crate::name::NameError;
use crate::on_end::{OnEnd, OnEndDraft};
use crate::status::Status;
use crate::time::{self, MIN_LIMIT, TIMESTAMP_RULE};
use crate::trace::TraceParent;
use crate::unique::Unique;

impl NewJob {
    /// Checks a draft and reports all field errors at once. Nothing validates a job after this.
    pub fn parse(draft: JobDraft, limits: &Limits) -> Result<Self, Vec<FieldError>> {
        Checker { limits, errors: Vec::new() }.job(draft)
    }
}

/// Collects the errors of one draft.
struct Checker<'a> {
    limits: &'a Limits,
    errors: Vec<FieldError>,
}

impl Checker<'_> {
    fn job(mut self, draft: JobDraft) -> Result<NewJob, Vec<FieldError>> {
        let queue = self.name("/queue", draft.queue.unwrap_or_else(|| "default".to_owned()).parse());
        let kind = self.name("/kind", draft.kind.parse());
        let payload = draft.payload.unwrap_or_default();
        self.size("/payload", &payload, self.limits.payload_bytes);
        let priority = self.priority(draft.priority.unwrap_or(0));
        let start = self.start(draft.run_at.as_deref(), draft.delay_seconds);
        let expires_at = self.timestamp("/expires_at", draft.expires_at.as_deref());
        self.order(start, expires_at);
        let max_attempts = self.max_attempts(draft.max_attempts);
        let max_snoozes = self.max_snoozes(draft.max_snoozes);
        if let Some(policy) = &draft.retry {
            self.errors.extend(policy.check());
        }
        let timeout = self.timeout("/timeout_seconds", draft.timeout_seconds);
        let soft_timeout = self.timeout("/soft_timeout_seconds", draft.soft_timeout_seconds);
        if timeout.zip(soft_timeout).is_some_and(|(hard, soft)| soft >= hard) {
            self.note("/soft_timeout_seconds", "out_of_range", "must be below timeout_seconds");
        }
        let unique = draft.unique.map(|unique| self.unique(unique));
        let tags = self.tags(draft.tags.unwrap_or_default());
        if let Some(metadata) = &draft.metadata {
            self.metadata(metadata);
        }
        let traceparent = draft.traceparent.and_then(|text| self.traceparent(text));
        let on_end = draft.on_end.and_then(|on_end| self.on_end(&on_end));
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
            max_snoozes,
            retry: draft.retry,
            timeout,
            soft_timeout,
            unique,
            tags,
            metadata: draft.metadata,
            traceparent,
            on_end,
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
        let at = self.timestamp("/run_at", run_at);
        let Some(delay) = delay_seconds else { return at.map_or(Start::Now, Start::At) };
        if at.is_some() {
            self.note("/delay_seconds", "conflict", "give either run_at or delay_seconds");
        }
        let max = self.limits.horizon;
        time::seconds(delay, Duration::ZERO..=max).map_or_else(
            || {
                self.note(
                    "/delay_seconds",
                    "out_of_range",
                    format!("must be between 0 and {}", max.as_secs()),
                );
                Start::Now
            },
            Start::After,
        )
    }

    fn timestamp(&mut self, pointer: &str, text: Option<&str>) -> Option<DateTime<Utc>> {
        let Some(at) = time::timestamp(text?) else {
            self.note(pointer, "invalid", TIMESTAMP_RULE);
            return None;
        };
        if self
            .limits
            .now
            .is_some_and(|now| (at - now).to_std().is_ok_and(|ahead| ahead > self.limits.horizon))
        {
            let days = self.limits.horizon.as_secs() / (24 * 3600);
            self.note(pointer, "out_of_range", format!("must be at most {days} days ahead"));
        }
        Some(at)
    }

    fn order(&mut self, start: Start, expires_at: Option<DateTime<Utc>>) {
        let start = match start {
            Start::Now => None,
            Start::At(run_at) => Some(run_at),
            Start::After(delay) => {
                self.limits.now.and_then(|now| now.checked_add_signed(TimeDelta::from_std(delay).ok()?))
            }
        };
        if start.zip(expires_at).is_some_and(|(start, expires_at)| expires_at <= start) {
            self.note("/expires_at", "out_of_range", "must be after the start");
        }
    }

    fn max_snoozes(&mut self, value: Option<i64>) -> Option<u32> {
        let value = value?;
        let usable = u32::try_from(value).ok().filter(|snoozes| *snoozes <= MAX_SNOOZES);
        if usable.is_none() {
            self.note("/max_snoozes", "out_of_range", format!("must be between 0 and {MAX_SNOOZES}"));
        }
        usable
    }

    fn max_attempts(&mut self, value: Option<i64>) -> u16 {
        let Some(value) = value else { return default_max_attempts() };
        let max = self.limits.max_attempts;
        u16::try_from(value).ok().filter(|n| (1..=max).contains(n)).unwrap_or_else(|| {
            self.note("/max_attempts", "out_of_range", format!("must be between 1 and {max}"));
            1
        })
    }

    fn timeout(&mut self, pointer: &str, value: Option<f64>) -> Option<Duration> {
        let max = Duration::from_secs(self.limits.timeout_seconds.into());
        let timeout = time::seconds(value?, MIN_LIMIT..=max);
        if timeout.is_none() {
            let message =
                format!("must be between {} and {} seconds", MIN_LIMIT.as_secs_f64(), max.as_secs());
            self.note(pointer, "out_of_range", message);
        }
        timeout
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

    fn on_end(&mut self, draft: &OnEndDraft) -> Option<OnEnd> {
        OnEnd::parse(draft).map_err(|errors| self.errors.extend(errors)).ok()
    }

    fn text(&mut self, pointer: &str, text: &str, max: usize) {
        self.errors.extend(short_text(pointer, text, max));
    }
}

/// Checks a short text: not empty, at most `max` bytes, without control or text-direction characters.
pub(crate) fn short_text(pointer: &str, text: &str, max: usize) -> Option<FieldError> {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.is_empty() {
        Some(FieldError::new(pointer, "required", "must not be empty"))
    } else if text.len() > max {
        Some(FieldError::new(pointer, "too_long", format!("must have at most {max} bytes")))
    } else if text.chars().any(hidden) {
        Some(FieldError::new(pointer, "invalid", "must not hold control or text-direction characters"))
    } else {
        None
    }
}

fn live() -> impl Iterator<Item = Status> {
    Status::ALL.into_iter().filter(|status| !status.is_final())
}
