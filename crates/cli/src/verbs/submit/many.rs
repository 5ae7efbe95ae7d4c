//! Submits one job for each line of a file, in batches. A line that is invalid is reported with its number; the others are stored.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use serde_json::value::RawValue;

use super::body::{body, json};
use crate::client::{Client, explanation};
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::OutputArgs;
use crate::raw::Fields;
use crate::resource::JOB;
use crate::verbs::wait::{Goal, wait};
use crate::{progress, raw};

/// Most jobs of one request.
const BATCH: usize = 500;
/// Most bytes of one request; the API accepts 8 MiB.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Where the jobs come from.
pub(super) struct Lines<'a> {
    pub(super) kind: Option<&'a str>,
    pub(super) fields: &'a [(&'static str, String)],
    pub(super) path: &'a Path,
}

/// Whether to wait for the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    No,
    /// For at most this time; `None` is without a limit.
    UpTo(Option<Duration>),
}

/// Submits all lines, and waits for the jobs if `waits` says so.
pub(super) async fn run(
    client: &Client,
    lines: &Lines<'_>,
    output: &OutputArgs,
    waits: Waiting,
) -> CommandResult {
    if lines.kind.is_none() && !lines.fields.is_empty() {
        return Err(CommandError::usage(
            "without a kind each line is a whole job: put the fields into the lines",
        ));
    }
    let mut reader: Box<dyn BufRead> = if lines.path == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let file = File::open(lines.path).map_err(|error| {
            CommandError::usage(format!("{} cannot be read: {error}", lines.path.display()))
        })?;
        Box::new(BufReader::new(file))
    };
    let mut sender = Sender {
        client,
        output,
        quiet: waits != Waiting::No,
        exit: Exit::Done,
        ids: Vec::new(),
        titled: true,
    };
    let spinner = progress::bar(usize::MAX, "submitting");
    spinner.unset_length();
    let mut batch = Batch::default();
    for number in 1.. {
        let mut line = String::new();
        let read = reader.read_line(&mut line);
        let read =
            read.map_err(|error| CommandError::usage(format!("line {number} cannot be read: {error}")))?;
        if !line.trim().is_empty() {
            let job = lines.job(number, &line)?;
            if batch.is_full_with(&job) {
                sender.send(std::mem::take(&mut batch)).await?;
                spinner.set_position(u64::try_from(sender.ids.len()).unwrap_or(u64::MAX));
            }
            batch.push(number, job);
        }
        if read == 0 {
            break;
        }
    }
    sender.send(batch).await?;
    spinner.finish_and_clear();
    let Sender { exit, ids, .. } = sender;
    match waits {
        Waiting::UpTo(timeout) if !ids.is_empty() => {
            Ok(exit.or(wait(client, &ids, Goal::Completed, timeout, output).await?))
        }
        _ => Ok(exit),
    }
}

impl Lines<'_> {
    fn job(&self, number: usize, line: &str) -> CommandResult<String> {
        let value = json(&format!("line {number}"), line.trim_end_matches(['\n', '\r']))?;
        Ok(match self.kind {
            Some(kind) => body(Some(kind), self.fields, Some(&value)),
            None => value.get().to_owned(),
        })
    }
}

#[derive(Default)]
struct Batch {
    jobs: Vec<String>,
    /// The line of each job.
    numbers: Vec<usize>,
    bytes: usize,
}

impl Batch {
    fn is_full_with(&self, job: &str) -> bool {
        self.jobs.len() >= BATCH || (!self.jobs.is_empty() && self.bytes + job.len() > BATCH_BYTES)
    }

    fn push(&mut self, number: usize, job: String) {
        self.bytes += job.len() + 1;
        self.jobs.push(job);
        self.numbers.push(number);
    }
}

struct Sender<'a> {
    client: &'a Client,
    output: &'a OutputArgs,
    /// Print nothing now: the final jobs are printed later.
    quiet: bool,
    exit: Exit,
    ids: Vec<String>,
    titled: bool,
}

impl Sender<'_> {
    async fn send(&mut self, batch: Batch) -> CommandResult<()> {
        if batch.jobs.is_empty() {
            return Ok(());
        }
        let body = format!("{{\"atomic\":false,\"jobs\":[{}]}}", batch.jobs.join(","));
        let answer = self.client.post(&["v1", "jobs", "batch"], Some(&body)).await?;
        let mut stored: Vec<Box<RawValue>> = Vec::new();
        for (item, number) in Fields::of(&answer).items("items").into_iter().zip(batch.numbers) {
            let item = Fields::of(item);
            let id = item.text("job_id");
            if id.is_empty() {
                eprintln!("jobqueue: line {number}: {}", explanation(&item.object("problem")));
                self.exit = self.exit.or(Exit::Unmet);
                continue;
            }
            stored.push(match item.raw("job").filter(|job| job.get() != "null") {
                Some(job) => job.to_owned(),
                None => raw::object(&[("id", &raw::quoted(&id))]),
            });
            self.ids.push(id);
        }
        if !self.quiet {
            let jobs: Vec<&RawValue> = stored.iter().map(AsRef::as_ref).collect();
            self.output.stream(&JOB, &jobs, &self.client.view(), self.titled)?;
            self.titled = false;
        }
        Ok(())
    }
}
