//! A key as its user described it, and the checks of it.

use serde::{Deserialize, Serialize};

use super::{Grant, Hide, MAX_PATTERNS, Rate, Scope};
use crate::field::FieldError;
use crate::job::check::short_text;
use crate::limits::{MAX_DESCRIPTION_BYTES, MAX_OWNER_BYTES};
use crate::route::Glob;

/// Most requests of a rate.
const MAX_REQUESTS: i64 = 1_000_000;
/// Longest period of a rate: a day.
const MAX_PERIOD_SECONDS: i64 = 86_400;

/// What a key may do, unchecked. It is stored in this form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKeyDraft {
    /// Names of scopes; at least one.
    pub scopes: Vec<String>,
    /// Patterns for queues; default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<Vec<String>>,
    /// Patterns for kinds; default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// Hidden members of responses, and JSON pointers to hidden values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hide: Vec<String>,
    /// Most requests in a period; default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateDraft>,
    /// The file or program that manages the key; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// A note for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A rate, unchecked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateDraft {
    /// Number of requests; required.
    pub requests: Option<i64>,
    /// Length of the period in seconds; required.
    pub per_seconds: Option<i64>,
}

impl ApiKeyDraft {
    /// Checks the draft and reports all field errors at once.
    pub fn parse(&self) -> Result<Grant, Vec<FieldError>> {
        let mut errors = Vec::new();
        let scopes = scopes(&self.scopes, &mut errors);
        let queues = globs("/queues", self.queues.as_deref(), &mut errors);
        let kinds = globs("/kinds", self.kinds.as_deref(), &mut errors);
        let hide = Hide::parse(&self.hide).map_err(|wrong| errors.extend(wrong)).unwrap_or_default();
        if !hide.is_empty() && scopes.contains(&Scope::Worker) {
            let message =
                "must be empty for a key with the scope `worker`, which has to read the payloads of its jobs";
            errors.push(FieldError::new("/hide", "conflict", message));
        }
        let rate = self.rate.and_then(|rate| rate.parse(&mut errors));
        for (pointer, text, max) in [
            ("/owner", &self.owner, MAX_OWNER_BYTES),
            ("/description", &self.description, MAX_DESCRIPTION_BYTES),
        ] {
            errors.extend(text.as_deref().and_then(|text| short_text(pointer, text, max)));
        }
        if errors.is_empty() { Ok(Grant { scopes, queues, kinds, hide, rate }) } else { Err(errors) }
    }
}

impl RateDraft {
    fn parse(self, errors: &mut Vec<FieldError>) -> Option<Rate> {
        let mut number = |field: &str, value: Option<i64>, most: i64| {
            let number =
                value.filter(|value| (1..=most).contains(value)).and_then(|value| u32::try_from(value).ok());
            if number.is_none() {
                let message = format!("must be between 1 and {most}");
                errors.push(FieldError::new(format!("/rate/{field}"), "out_of_range", message));
            }
            number
        };
        let requests = number("requests", self.requests, MAX_REQUESTS);
        let per_seconds = number("per_seconds", self.per_seconds, MAX_PERIOD_SECONDS);
        requests.zip(per_seconds).map(|(requests, per_seconds)| Rate { requests, per_seconds })
    }
}

fn scopes(names: &[String], errors: &mut Vec<FieldError>) -> Vec<Scope> {
    let mut scopes = Vec::new();
    if names.is_empty() {
        errors.push(FieldError::new(
            "/scopes",
            "required",
            "must have at least one of read, write, worker and admin",
        ));
    }
    for (at, name) in names.iter().enumerate().take(MAX_PATTERNS) {
        match Scope::named(name) {
            Some(scope) if scopes.contains(&scope) => {}
            Some(scope) => scopes.push(scope),
            None => {
                let message = "must be read, write, worker or admin";
                errors.push(FieldError::new(format!("/scopes/{at}"), "invalid", message));
            }
        }
    }
    scopes.sort_unstable();
    scopes
}

fn globs(pointer: &str, texts: Option<&[String]>, errors: &mut Vec<FieldError>) -> Vec<Glob> {
    let Some(texts) = texts else { return vec![Glob::everything()] };
    if !(1..=MAX_PATTERNS).contains(&texts.len()) {
        let message = format!("must have 1 to {MAX_PATTERNS} entries; leave it out for all");
        errors.push(FieldError::new(pointer, "out_of_range", message));
    }
    let mut globs = Vec::new();
    for (at, text) in texts.iter().enumerate().take(MAX_PATTERNS) {
        match Glob::try_from(text.clone()) {
            Ok(glob) => globs.push(glob),
            Err((code, message)) => errors.push(FieldError::new(format!("{pointer}/{at}"), code, message)),
        }
    }
    globs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(draft: &ApiKeyDraft) -> Vec<String> {
        draft.parse().unwrap_err().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let draft = ApiKeyDraft {
            scopes: vec!["read".into(), "root".into()],
            queues: Some(vec![]),
            kinds: Some(vec!["a b".into(), "*".into()]),
            hide: vec!["secrets".into(), "/a~2".into()],
            rate: Some(RateDraft { requests: Some(0), per_seconds: None }),
            owner: Some(String::new()),
            description: None,
        };
        let expected = [
            "/scopes/1",
            "/queues",
            "/kinds/0",
            "/hide/0",
            "/hide/1",
            "/rate/requests",
            "/rate/per_seconds",
            "/owner",
        ];
        assert_eq!(pointers(&draft), expected);
        assert_eq!(pointers(&ApiKeyDraft::default()), ["/scopes"]);
        let worker = ApiKeyDraft {
            scopes: vec!["worker".into()],
            hide: vec!["payload".into()],
            ..ApiKeyDraft::default()
        };
        assert_eq!(pointers(&worker), ["/hide"]);
    }

    #[test]
    fn what_is_left_out_is_not_limited() {
        let draft = ApiKeyDraft { scopes: vec!["write".into(), "read".into()], ..ApiKeyDraft::default() };
        let grant = draft.parse().unwrap();
        assert_eq!(grant, Grant { scopes: vec![Scope::Read, Scope::Write], ..Grant::everything() });
    }
}
