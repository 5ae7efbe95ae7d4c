//! Selectors: which jobs a command is about, with the parameters of `GET /v1/jobs`.

use clap::Args;

use crate::raw::{Fields, quoted};

/// Jobs that match all of these.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selectors (a job must match all of them)")]
pub(crate) struct Selector {
    /// Only jobs in one of these statuses: blocked, scheduled, queued, running, completed, failed, cancelled.
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,

    /// Only jobs of one of these queues.
    #[arg(short = 'q', long, value_name = "QUEUE", value_delimiter = ',')]
    queue: Vec<String>,

    /// Only jobs of one of these kinds.
    #[arg(short = 'k', long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,

    /// Only jobs with all of these tags.
    #[arg(short = 't', long, value_name = "TAG", value_delimiter = ',')]
    tag: Vec<String>,

    /// Only jobs submitted at or after this time (RFC 3339, for example 2026-01-31T09:00:00Z).
    #[arg(long, value_name = "TIME")]
    created_after: Option<String>,

    /// Only jobs submitted before this time.
    #[arg(long, value_name = "TIME")]
    created_before: Option<String>,

    /// Only jobs that became final at or after this time.
    #[arg(long, value_name = "TIME")]
    finished_after: Option<String>,

    /// Only jobs that became final before this time.
    #[arg(long, value_name = "TIME")]
    finished_before: Option<String>,

    /// Only jobs that failed or were cancelled with one of these types of error.
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    error_type: Vec<String>,

    /// Only jobs with one of these unique keys. May be repeated.
    #[arg(long, value_name = "KEY")]
    unique_key: Vec<String>,

    /// Only jobs whose metadata has this value, for example team=billing, owner.team=billing or /a.b/c=1. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    metadata: Vec<String>,

    /// Only jobs whose payload has this value, for example user.id=42 or /a.b/c=1. May be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    payload: Vec<String>,

    /// Only jobs that have failed before and wait for their next attempt.
    #[arg(long)]
    retrying: bool,
}

impl Selector {
    pub(crate) fn is_empty(&self) -> bool {
        self.query().is_empty()
    }

    /// As query parameters.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = query(&self.lists(), &self.times());
        query.extend(self.retrying.then(|| ("retrying", "true".to_owned())));
        query
    }

    /// As the `filter` of a bulk request.
    pub(crate) fn body(&self) -> String {
        let mut members = members(&self.lists(), &self.times());
        members.extend(self.retrying.then(|| "\"retrying\":true".to_owned()));
        format!("{{{}}}", members.join(","))
    }

    /// Without jobs that match only after this dry run: the answer to a question does not concern them. `ended`: the action concerns jobs
    /// that have ended. `yes`: there was no question.
    pub(crate) fn until(&self, dry_run: &Fields<'_>, ended: bool, yes: bool) -> Self {
        let mut bounded = self.clone();
        let as_of = Some(dry_run.text("as_of")).filter(|as_of| !yes && !as_of.is_empty());
        let bound = if ended { &mut bounded.finished_before } else { &mut bounded.created_before };
        *bound = bound.take().or(as_of);
        bounded
    }

    fn lists(&self) -> [(&'static str, &[String]); 8] {
        [
            ("status", &self.status),
            ("queue", &self.queue),
            ("kind", &self.kind),
            ("tag", &self.tag),
            ("error_type", &self.error_type),
            ("unique_key", &self.unique_key),
            ("metadata", &self.metadata),
            ("payload", &self.payload),
        ]
    }

    fn times(&self) -> [(&'static str, &Option<String>); 4] {
        [
            ("created_after", &self.created_after),
            ("created_before", &self.created_before),
            ("finished_after", &self.finished_after),
            ("finished_before", &self.finished_before),
        ]
    }
}

/// Query parameters from lists of values and from single values.
pub(crate) fn query(
    lists: &[(&'static str, &[String])],
    singles: &[(&'static str, &Option<String>)],
) -> Vec<(&'static str, String)> {
    let lists =
        lists.iter().flat_map(|(name, values)| values.iter().map(move |value| (*name, value.clone())));
    let singles = singles.iter().filter_map(|(name, value)| Some((*name, (*value).clone()?)));
    lists.chain(singles).collect()
}

/// The same as members of a JSON object.
pub(crate) fn members(
    lists: &[(&'static str, &[String])],
    singles: &[(&'static str, &Option<String>)],
) -> Vec<String> {
    let list = |values: &[String]| values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(",");
    let lists = lists.iter().filter(|(_, values)| !values.is_empty());
    let lists = lists.map(|(name, values)| format!("{}:[{}]", quoted(name), list(values)));
    let singles = singles.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    lists.chain(singles.map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_query_and_a_filter() {
        let selector = Selector {
            queue: vec!["a".to_owned(), "b\"".to_owned()],
            created_before: Some("2026-01-31T09:00:00Z".to_owned()),
            ..Selector::default()
        };
        assert!(!selector.is_empty() && Selector::default().is_empty());
        assert_eq!(selector.query()[1], ("queue", "b\"".to_owned()));
        assert_eq!(selector.body(), r#"{"queue":["a","b\""],"created_before":"2026-01-31T09:00:00Z"}"#);
        assert_eq!(Selector::default().body(), "{}");
        let retrying = Selector { payload: vec!["a=1".to_owned()], retrying: true, ..Selector::default() };
        assert_eq!(retrying.query(), [("payload", "a=1".to_owned()), ("retrying", "true".to_owned())]);
        assert_eq!(retrying.body(), r#"{"payload":["a=1"],"retrying":true}"#);
    }

    #[test]
    fn what_matches_only_after_the_question_is_not_meant() {
        let answer = crate::raw::object(&[("as_of", "\"2026-01-31T09:00:00Z\"")]);
        let answer = Fields::of(&answer);
        let all = Selector::default();
        let body = |ended, yes| all.until(&answer, ended, yes).body();
        assert_eq!(body(false, false), r#"{"created_before":"2026-01-31T09:00:00Z"}"#);
        assert_eq!(body(true, false), r#"{"finished_before":"2026-01-31T09:00:00Z"}"#);
        assert_eq!(body(true, true), "{}", "there was no question");
        let given = Selector { created_before: Some("2025-01-01T00:00:00Z".to_owned()), ..all.clone() };
        assert_eq!(given.until(&answer, false, false).body(), given.body());
    }
}
