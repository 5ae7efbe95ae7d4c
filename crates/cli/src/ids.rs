//! Job ids on the command line: whole, or as the beginning that tables print, or one on each line of standard input.

use std::io::Read as _;

use uuid::Uuid;

use crate::client::Client;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::raw::Fields;
use crate::resource::JOB;
use crate::time;

/// The least number of hexadecimal digits of a beginning: those of the time in milliseconds.
const LEAST_DIGITS: usize = 12;
/// How many jobs of the same millisecond are compared.
const COMPARED: usize = 1000;

/// The ids of the arguments. `-` stands for the first word of each line of standard input.
pub(crate) async fn resolve(client: &Client, arguments: &[String]) -> CommandResult<Vec<String>> {
    let mut ids = Vec::new();
    for argument in arguments {
        if argument == "-" {
            for word in words_of_stdin()? {
                ids.push(one(client, &word).await?);
            }
        } else {
            ids.push(one(client, argument).await?);
        }
    }
    Ok(ids)
}

fn words_of_stdin() -> CommandResult<Vec<String>> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| CommandError::usage(format!("standard input cannot be read: {error}")))?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// A whole id as it is, or the id of the only job that begins like this.
pub(crate) async fn one(client: &Client, text: &str) -> CommandResult<String> {
    let lower = text.trim().trim_end_matches('…').to_ascii_lowercase();
    if let Ok(id) = lower.parse::<Uuid>() {
        return Ok(id.hyphenated().to_string());
    }
    let digits: String = lower.chars().filter(|char| *char != '-').collect();
    if digits.len() < LEAST_DIGITS
        || digits.len() > 32
        || !digits.chars().all(|char| char.is_ascii_hexdigit())
    {
        return Err(CommandError::usage(format!(
            "`{text}` is not a job id; give an id, or its beginning of at least {LEAST_DIGITS} hexadecimal digits as tables print it"
        )));
    }
    find(client, text, &digits).await
}

/// The first 48 bits of an id are its time, so the jobs that begin like this are those of one millisecond.
async fn find(client: &Client, text: &str, digits: &str) -> CommandResult<String> {
    let out_of_range = || CommandError::usage(format!("`{text}` is not the beginning of a job id"));
    let millis = i64::from_str_radix(digits.get(..LEAST_DIGITS).unwrap_or_default(), 16)
        .map_err(|_| out_of_range())?;
    let bound = |millis: i64| time::at_millis(millis).ok_or_else(out_of_range);
    let filter = [("created_after", bound(millis)?), ("created_before", bound(millis.saturating_add(1))?)];
    let (jobs, more) = client.list(&JOB, &filter, COMPARED).await?;
    let mut ids: Vec<String> = jobs.iter().map(|job| Fields::of(job).text("id")).collect();
    ids.retain(|id| id.replace('-', "").starts_with(digits));
    match ids.as_slice() {
        [] => Err(CommandError::new(Exit::NotFound, format!("not found: no job's id begins with {text}"))),
        [id] if !more => Ok(id.clone()),
        _ => Err(CommandError::usage(format!(
            "`{text}` is ambiguous: {} jobs begin like this, for example {}; give more of the id (-o name prints all of it)",
            ids.len(),
            ids.first().map_or("", String::as_str),
        ))),
    }
}
