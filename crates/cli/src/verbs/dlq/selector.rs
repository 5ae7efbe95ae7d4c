//! Selectors of dead letters, with the parameters of `GET /v1/dead-letters`.

use clap::Args;

use crate::exit::{CommandError, CommandResult};
use crate::raw::Fields;
use crate::selector;

/// Dead letters that match all of these.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selectors (a dead letter must match all of them)")]
pub(crate) struct LetterSelector {
    /// Only this group.
    #[arg(short = 'g', long, value_name = "GROUP")]
    group: Option<String>,

    /// Only jobs of one of these queues.
    #[arg(short = 'q', long, value_name = "QUEUE", value_delimiter = ',')]
    queue: Vec<String>,

    /// Only jobs of one of these kinds.
    #[arg(short = 'k', long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,

    /// Only jobs with all of these tags.
    #[arg(short = 't', long, value_name = "TAG", value_delimiter = ',')]
    tag: Vec<String>,

    /// Only errors of one of these types.
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    error_type: Vec<String>,

    /// Only errors with this text in their message, in upper or lower case.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,

    /// Only jobs that failed at or after this time (RFC 3339, for example 2026-01-31T09:00:00Z).
    #[arg(long, value_name = "TIME")]
    failed_after: Option<String>,

    /// Only jobs that failed before this time.
    #[arg(long, value_name = "TIME")]
    failed_before: Option<String>,
}

impl LetterSelector {
    /// As query parameters.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        selector::query(&self.lists(), &self.singles())
    }

    /// As the `filter` of a request. `all` is required if there is no selector.
    pub(crate) fn body(&self, all: bool) -> CommandResult<String> {
        let mut members = selector::members(&self.lists(), &self.singles());
        match (members.is_empty(), all) {
            (true, true) => members.push("\"all\":true".to_owned()),
            (true, false) => {
                return Err(CommandError::usage(
                    "give a selector such as --group, or --all for all dead letters",
                ));
            }
            (false, true) => return Err(CommandError::usage("--all cannot be combined with a selector")),
            (false, false) => {}
        }
        Ok(format!("{{{}}}", members.join(",")))
    }

    /// The same without those that failed after this dry run: the answer to a question does not concern them. `yes`: there was no question.
    pub(crate) fn body_until(&self, dry_run: &Fields<'_>, yes: bool) -> CommandResult<String> {
        let as_of = Some(dry_run.text("as_of")).filter(|as_of| !yes && !as_of.is_empty());
        let bounded = Self { failed_before: self.failed_before.clone().or(as_of), ..self.clone() };
        bounded.body(bounded.query().is_empty())
    }

    fn lists(&self) -> [(&'static str, &[String]); 4] {
        [("queue", &self.queue), ("kind", &self.kind), ("tag", &self.tag), ("error_type", &self.error_type)]
    }

    fn singles(&self) -> [(&'static str, &Option<String>); 4] {
        [
            ("group", &self.group),
            ("text", &self.text),
            ("failed_after", &self.failed_after),
            ("failed_before", &self.failed_before),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_query_and_a_filter() {
        let selector = LetterSelector {
            kind: vec!["a".to_owned(), "b".to_owned()],
            text: Some("\"x\"".to_owned()),
            ..LetterSelector::default()
        };
        assert_eq!(selector.query()[1..], [("kind", "b".to_owned()), ("text", "\"x\"".to_owned())]);
        assert_eq!(selector.body(false).unwrap(), r#"{"kind":["a","b"],"text":"\"x\""}"#);
        assert!(selector.body(true).is_err());
        let none = LetterSelector::default();
        let answer = crate::raw::object(&[("as_of", "\"2026-01-31T09:00:00Z\"")]);
        let bounded = none.body_until(&Fields::of(&answer), false).unwrap();
        assert_eq!(bounded, r#"{"failed_before":"2026-01-31T09:00:00Z"}"#);
        assert_eq!(none.body_until(&Fields::of(&answer), true).unwrap(), r#"{"all":true}"#);
        assert_eq!((none.body(true).unwrap().as_str(), none.body(false).is_err()), (r#"{"all":true}"#, true));
    }
}
