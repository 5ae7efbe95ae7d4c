//! The filter of a list or a count, from query parameters.

use std::fmt::Display;
use std::str::FromStr;

use jobqueue_core::limits::MAX_FILTER_VALUES;
use jobqueue_store::JobFilter;

use crate::extract::Query;
use crate::problem::Problem;

/// Removes the parameters of the filter from the query.
pub(super) fn read(query: &mut Query) -> Result<JobFilter, Problem> {
    Ok(JobFilter {
        statuses: query.all("status")?,
        queues: query.all("queue")?,
        kinds: query.all("kind")?,
        tags: texts(query, "tag")?,
        created_after: query.timestamp("created_after")?,
        created_before: query.timestamp("created_before")?,
        finished_after: query.timestamp("finished_after")?,
        finished_before: query.timestamp("finished_before")?,
        error_types: few(texts(query, "error_type")?, "error_type")?,
        unique_keys: few(texts(query, "unique_key")?, "unique_key")?,
        metadata: few(query.all("metadata")?, "metadata")?,
        payload: few(query.all("payload")?, "payload")?,
        retrying: query.one("retrying")?.unwrap_or_default(),
    })
}

fn texts(query: &mut Query, name: &str) -> Result<Vec<String>, Problem> {
    let texts = query.all::<Text>(name)?;
    Ok(texts.into_iter().map(|Text(text)| text).collect())
}

fn few<T>(values: Vec<T>, name: &str) -> Result<Vec<T>, Problem> {
    if values.len() > MAX_FILTER_VALUES {
        return Err(Problem::parameter(name, format!("must be given at most {MAX_FILTER_VALUES} times")));
    }
    Ok(values)
}

/// A text that Postgres can compare.
struct Text(String);

impl FromStr for Text {
    type Err = Nul;

    fn from_str(text: &str) -> Result<Self, Nul> {
        if text.contains('\0') { Err(Nul) } else { Ok(Self(text.to_owned())) }
    }
}

/// The text has a character that Postgres cannot store.
struct Nul;

impl Display for Nul {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("must not contain U+0000")
    }
}
