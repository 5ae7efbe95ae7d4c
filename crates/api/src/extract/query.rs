//! Query parameters, some of them repeatable. Unknown ones are refused: a typo must not widen a filter in silence.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::problem::Problem;
use crate::state::ApiState;

/// All parameters of a request, to be taken out by name.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl FromRequestParts<ApiState> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::parameter("", "the query cannot be read"))?;
        Ok(Self(pairs.0))
    }
}

impl Query {
    /// Every value of a repeatable parameter.
    pub(crate) fn all<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Vec<T>, Problem> {
        let (mine, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = rest;
        let read = |(_, text): (String, String)| {
            text.parse::<T>().map_err(|error| Problem::parameter(name, error.to_string()))
        };
        mine.into_iter().map(read).collect()
    }

    /// The value of a parameter that may be given once.
    pub(crate) fn one<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let mut all = self.all::<T>(name)?;
        if all.len() > 1 {
            return Err(Problem::parameter(name, "must be given at most once"));
        }
        Ok(all.pop())
    }

    /// The same for a number with bounds.
    pub(crate) fn number(&mut self, name: &str, default: u32, bounds: (u32, u32)) -> Result<u32, Problem> {
        let (least, most) = bounds;
        let refuse =
            || Problem::parameter(name, format!("must be a whole number between {least} and {most}"));
        let Some(text) = self.one::<String>(name)? else { return Ok(default) };
        let number = text.parse::<u32>().map_err(|_| refuse())?;
        if (least..=most).contains(&number) { Ok(number) } else { Err(refuse()) }
    }

    /// A span in seconds, fractions included, from 0 to `most`; absent is 0.
    pub(crate) fn seconds(&mut self, name: &str, most: u32) -> Result<Duration, Problem> {
        let refuse = || Problem::parameter(name, format!("must be between 0 and {most} seconds"));
        let Some(text) = self.one::<String>(name)? else { return Ok(Duration::ZERO) };
        let seconds = text.parse::<f64>().map_err(|_| refuse())?;
        if !(0.0..=f64::from(most)).contains(&seconds) {
            return Err(refuse());
        }
        Duration::try_from_secs_f64(seconds).map_err(|_| refuse())
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(Problem::parameter(&name, "is not a parameter of this route"))
            }
            None => Ok(()),
        }
    }
}
