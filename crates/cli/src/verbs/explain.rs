//! `explain`: why a job does not run, or a schedule enqueues none, and what would resolve it.

use std::fmt::Write as _;

use clap::Args;

use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::ids;
use crate::output::{self, OutputArgs};
use crate::raw::Fields;
use crate::table::printable;

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue explain 0198c1a2-3b4c-7d5e
  jobqueue explain schedule/nightly
  jobqueue explain 0198c1a2-3b4c-7d5e -o jsonpath=.reasons[0].code";

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// Id of the job, or its beginning; or `schedule/NAME`: why that schedule enqueues no job now.
    id: String,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(args: ExplainArgs) -> CommandResult {
    let client = args.api.client()?;
    let answer = if let Some(name) = args.id.strip_prefix("schedule/") {
        client.get(&["v1", "schedules", name, "explain"], &[]).await?
    } else {
        let id = ids::one(&client, &args.id).await?;
        client.get(&["v1", "jobs", &id, "explain"], &[]).await?
    };
    output::structured(&args.output, &answer, || text(&Fields::of(&answer)))?;
    Ok(Exit::Done)
}

/// The summary, then each reason with its resolution, the binding one first.
fn text(explanation: &Fields<'_>) -> String {
    let subject = match explanation.raw("schedule") {
        Some(_) => format!("schedule {}", printable(&explanation.text("schedule"))),
        None => format!("job {}", explanation.text("id")),
    };
    let mut text = format!("{subject}: {}\n", printable(&explanation.text("summary")));
    for (number, reason) in (1..).zip(explanation.items("reasons")) {
        let reason = Fields::of(reason);
        let (message, resolution) =
            (printable(&reason.text("message")), printable(&reason.text("resolution")));
        let _infallible = write!(text, "\n{number}. {}: {message}\n   {resolution}\n", reason.text("code"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn the_binding_reason_comes_first() {
        let answer = r#"{"id": "a", "summary": "the queue is paused", "reasons": [
            {"code": "queue_paused", "message": "the queue is paused", "resolution": "resume it"},
            {"code": "behind", "message": "3 jobs are before it", "resolution": "wait"}]}"#;
        let answer = RawValue::from_string(answer.to_owned()).unwrap();
        let expected = "job a: the queue is paused\n\n1. queue_paused: the queue is paused\n   resume it\n\n2. behind: 3 jobs are before it\n   wait\n";
        assert_eq!(text(&Fields::of(&answer)), expected);
    }
}
