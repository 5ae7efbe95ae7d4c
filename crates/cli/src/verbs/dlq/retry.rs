//! `dlq retry`: single dead letters, as they are or with another payload.

use std::path::PathBuf;

use clap::Args;

use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::OutputArgs;
use crate::resource::JOB;
use crate::verbs::get;
use crate::verbs::submit::{json, read_text};

#[derive(Args, Debug)]
pub(crate) struct RetryLettersArgs {
    /// Ids of jobs.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,

    /// The payload of a new job, which takes the place of the old one: any JSON. For one dead letter.
    #[arg(short = 'p', long, value_name = "JSON")]
    payload: Option<String>,

    /// A file with the payload, `-` for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    payload_file: Option<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(super) async fn run(args: &RetryLettersArgs) -> CommandResult {
    let client = args.api.client()?;
    let text = match (&args.payload, &args.payload_file) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(file)) => Some(read_text(file)?),
        (None, None) => None,
    };
    if text.is_some() && args.ids.len() > 1 {
        return Err(CommandError::usage("a payload is for one dead letter; give one id"));
    }
    let payload = text.map(|text| json("the payload", &text)).transpose()?;
    let body = payload.map(|payload| format!("{{\"payload\":{}}}", payload.get()));
    let (mut exit, mut jobs) = (Exit::Done, Vec::with_capacity(args.ids.len()));
    for id in &args.ids {
        match client.post(&["v1", "dead-letters", id, "retry"], body.as_deref()).await {
            Ok(job) => jobs.push(job),
            Err(error) => exit = exit.or(error.about(&format!("job {id}"))),
        }
    }
    if !jobs.is_empty() {
        get::show(&JOB, &args.output, &client, &jobs, true)?;
    }
    Ok(exit)
}
