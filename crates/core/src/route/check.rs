//! The checks of a route's draft. They record all field errors.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Glob, JobRoute, RouteDraft};
use crate::field::FieldError;
use crate::job::check::short_text;
use crate::job::{JobDraft, NewJob};
use crate::json::Json;
use crate::limits::{Limits, MAX_DESCRIPTION_BYTES, MAX_OWNER_BYTES};
use crate::name::RouteName;
use crate::time::{self, MIN_LIMIT};

/// Positions are between minus this number and this number.
const MAX_POSITION: i64 = 1_000_000;

impl JobRoute {
    /// Checks a draft and reports all field errors at once. Each default is checked as a submission with it would be.
    pub fn parse(name: &RouteName, draft: &RouteDraft, limits: &Limits) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let position = position(draft.position).map_err(|error| errors.push(error)).ok();
        let kind = Glob::try_from(draft.kind.clone());
        let kind = kind.map_err(|(code, message)| errors.push(FieldError::new("/kind", code, message))).ok();
        let submission = JobDraft {
            kind: "any".to_owned(),
            queue: draft.queue.clone(),
            priority: draft.priority,
            max_attempts: draft.max_attempts,
            retry: draft.retry.clone(),
            timeout_seconds: draft.timeout_seconds,
            soft_timeout_seconds: draft.soft_timeout_seconds,
            tags: Some(draft.tags.clone()),
            on_end: draft.on_end.clone(),
            ..JobDraft::default()
        };
        errors.extend(NewJob::parse(submission, limits).err().into_iter().flatten());
        let expires_after =
            expires_after(draft.expires_after_seconds, limits).map_err(|error| errors.push(error));
        for (pointer, text, max) in [
            ("/owner", &draft.owner, MAX_OWNER_BYTES),
            ("/description", &draft.description, MAX_DESCRIPTION_BYTES),
        ] {
            errors.extend(text.as_deref().and_then(|text| short_text(pointer, text, max)));
        }
        let (Some(position), Some(kind), Ok(expires_after), true) =
            (position, kind, expires_after, errors.is_empty())
        else {
            return Err(errors);
        };
        Ok(Self {
            name: name.clone(),
            position,
            kind,
            queue: draft.queue.clone(),
            priority: draft.priority,
            max_attempts: draft.max_attempts,
            retry: draft.retry.clone(),
            timeout_seconds: draft.timeout_seconds,
            soft_timeout_seconds: draft.soft_timeout_seconds,
            expires_after,
            tags: draft.tags.clone(),
            on_end: draft.on_end.clone(),
        })
    }

    /// Reads what is stored, or says what is wrong with it.
    pub fn of_stored(name: &RouteName, spec: &Json) -> Result<Self, String> {
        let draft: RouteDraft = spec.to().map_err(|error| error.to_string())?;
        Self::parse(name, &draft, &Limits::default()).map_err(|errors| {
            let sentences = errors.into_iter().map(|error| format!("{} {}", error.pointer, error.message));
            sentences.collect::<Vec<_>>().join("; ")
        })
    }
}

fn position(value: Option<i64>) -> Result<i32, FieldError> {
    let value = value.ok_or_else(|| {
        FieldError::new(
            "/position",
            "required",
            "is required: routes are tried by position, the lowest first",
        )
    })?;
    i32::try_from(value).ok().filter(|_| (-MAX_POSITION..=MAX_POSITION).contains(&value)).ok_or_else(|| {
        let message = format!("must be between -{MAX_POSITION} and {MAX_POSITION}");
        FieldError::new("/position", "out_of_range", message)
    })
}

/// A duration, exact to the millisecond.
fn expires_after(value: Option<f64>, limits: &Limits) -> Result<Option<TimeDelta>, FieldError> {
    let Some(value) = value else { return Ok(None) };
    let parsed = time::seconds(value, MIN_LIMIT..=limits.horizon)
        .and_then(|after| TimeDelta::try_milliseconds(i64::try_from(after.as_millis()).ok()?));
    parsed.map(Some).ok_or_else(|| {
        let most = limits.horizon.as_secs();
        let message = format!("must be between {} and {most} seconds", Duration::as_secs_f64(&MIN_LIMIT));
        FieldError::new("/expires_after_seconds", "out_of_range", message)
    })
}
