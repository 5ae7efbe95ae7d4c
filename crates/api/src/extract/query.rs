//! Query parameters, some of them repeatable. Unknown ones are refused, because a misspelt filter would match too many jobs.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;

use chrono::{DateTime, Utc};
use jobqueue_core::time::{self, TIMESTAMP_RULE};

use crate::problem::Problem;

/// How many characters of an unknown name the problem quotes.
const NAME_CHARS: usize = 64;

/// The parameters of a request. A route removes them by name.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.uri)
    }
}

impl Query {
    /// The parameters of a URI.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::parameter("", "the query is not valid URL encoding"))?;
        // `metadata.team=billing` is another way to write `metadata=team=billing`, and so for the payload
        let pair = |(name, value): (String, String)| match name.split_once('.') {
            Some((of @ ("metadata" | "payload"), path)) => (of.to_owned(), format!("{path}={value}")),
            _ => (name, value),
        };
        Ok(Self(pairs.0.into_iter().map(pair).collect()))
    }

    /// Refuses parameters that are not in `known`.
    pub(crate) fn refuse_others_than(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                let name: String = name.chars().take(NAME_CHARS).collect();
                Err(Problem::parameter(&name, "is not a parameter of this route"))
            }
            None => Ok(()),
        }
    }

    /// Removes and returns every value of a repeatable parameter.
    pub(crate) fn all<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Vec<T>, Problem> {
        let (mine, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = rest;
        let read = |(_, text): (String, String)| {
            text.parse::<T>().map_err(|error| Problem::parameter(name, error.to_string()))
        };
        mine.into_iter().map(read).collect()
    }

    /// Removes and returns the value of a parameter that may be given once.
    pub(crate) fn one<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let mut all = self.all::<T>(name)?;
        if all.len() > 1 {
            return Err(Problem::parameter(name, "must be given at most once"));
        }
        Ok(all.pop())
    }

    /// Like [`one`](Self::one), for a number within bounds.
    pub(crate) fn number(&mut self, name: &str, default: u32, bounds: (u32, u32)) -> Result<u32, Problem> {
        let (least, most) = bounds;
        let refuse =
            || Problem::parameter(name, format!("must be a whole number between {least} and {most}"));
        let Some(text) = self.one::<String>(name)? else { return Ok(default) };
        let number = text.parse::<u32>().map_err(|_| refuse())?;
        if (least..=most).contains(&number) { Ok(number) } else { Err(refuse()) }
    }

    /// Like [`one`](Self::one), for an RFC 3339 timestamp.
    pub(crate) fn timestamp(&mut self, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        let Some(text) = self.one::<String>(name)? else { return Ok(None) };
        // an unescaped `+` in an offset arrives as a space
        let at = time::timestamp(&text.replace(' ', "+"));
        at.map(Some).ok_or_else(|| Problem::parameter(name, TIMESTAMP_RULE))
    }

    /// Like [`one`](Self::one), for a duration of 0 to `most` seconds, which may have a fraction. Absent means 0.
    pub(crate) fn seconds(&mut self, name: &str, most: u32) -> Result<Duration, Problem> {
        let refuse = || Problem::parameter(name, format!("must be between 0 and {most} seconds"));
        let Some(text) = self.one::<String>(name)? else { return Ok(Duration::ZERO) };
        let seconds = text.parse::<f64>().map_err(|_| refuse())?;
        time::seconds(seconds, Duration::ZERO..=Duration::from_secs(most.into())).ok_or_else(refuse)
    }
}
