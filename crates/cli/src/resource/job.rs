//! Jobs in tables.

use std::collections::HashSet;

use jobqueue_core::Status;
use serde_json::value::RawValue;

use super::{Column, Resource, View};
use crate::raw::Fields;
use crate::table::{Cell, Tone};
use crate::time::{age, parse, short};

pub(crate) const JOB: Resource = Resource {
    one: "job",
    many: "jobs",
    short: &["j"],
    path: &["v1", "jobs"],
    list: "jobs",
    id: "id",
    columns: &[
        Column::new("ID", |job, view| Cell::new(shown_id(&job.text("id"), view))),
        Column::new("STATUS", |job, _| status(job)),
        Column::new("QUEUE", |job, _| job.text("queue").into()),
        Column::new("KIND", |job, _| job.text("kind").into()),
        Column::new("ATTEMPT", |job, _| {
            format!("{}/{}", job.text("attempt"), job.text("max_attempts")).into()
        }),
        Column::new("AGE", |job, view| age(&job.text("created_at"), view.now).into()),
        Column::wide("PRIORITY", |job, _| job.text("priority").into()),
        Column::wide("RUN-AT", |job, view| age(&job.text("run_at"), view.now).into()),
        Column::wide("TOOK", |job, _| took(job).into()),
        Column::wide("WORKER", |job, _| job.text("worker_id").into()),
        Column::wide("TAGS", |job, _| job.texts("tags").join(",").into()),
        Column::wide("ERROR", |job, _| error(job).into()),
    ],
};

fn status(job: &Fields<'_>) -> Cell {
    let status = job.text("status");
    let tone = status_tone(&status);
    if job.is_true("cancel_requested") {
        Cell::new(format!("{status} (cancelling)"))
    } else {
        Cell::new(status)
    }
    .tone(tone)
}

/// The colour of a status.
pub(crate) fn status_tone(status: &str) -> Tone {
    match status.parse() {
        Ok(Status::Completed) => Tone::Good,
        Ok(Status::Running) => Tone::Busy,
        Ok(Status::Failed) => Tone::Bad,
        Ok(Status::Cancelled | Status::Blocked) => Tone::Warning,
        Ok(Status::Scheduled) => Tone::Faint,
        _ => Tone::Plain,
    }
}

/// Whether a status is final.
pub(crate) fn is_final(status: &str) -> bool {
    status.parse::<Status>().is_ok_and(Status::is_final)
}

/// Whether a final status is a success.
pub(crate) fn succeeded(status: &str) -> bool {
    status.parse() == Ok(Status::Completed)
}

fn took(job: &Fields<'_>) -> String {
    let (Some(from), Some(to)) = (parse(&job.text("started_at")), parse(&job.text("finished_at"))) else {
        return String::new();
    };
    let milliseconds = i32::try_from(to.signed_duration_since(from).num_milliseconds());
    milliseconds.map_or_else(|_| String::new(), |milliseconds| short(f64::from(milliseconds) / 1_000.0))
}

fn error(job: &Fields<'_>) -> String {
    let failure = job.object("error");
    let text = match (failure.text("type"), failure.text("message")) {
        (kind, message) if message.is_empty() => kind,
        (kind, message) => format!("{kind}: {message}"),
    };
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn shown_id(id: &str, view: &View) -> String {
    view.id_length.and_then(|length| id.get(..length)).unwrap_or(id).to_owned()
}

/// The lengths at which an id may be cut: after its time in milliseconds, after its fraction of one, and after a part of its random bits.
const CUTS: [usize; 3] = [13, 18, 23];

/// The shortest length at which these ids differ.
pub(crate) fn shown_ids(jobs: &[Box<RawValue>]) -> Option<usize> {
    let ids: Vec<String> = jobs.iter().map(|job| Fields::of(job).text("id")).collect();
    let differ = |length: &usize| {
        let mut seen = HashSet::new();
        ids.iter().all(|id| id.get(..*length).is_some_and(|prefix| seen.insert(prefix)))
    };
    CUTS.into_iter().skip(1).find(differ)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str) -> Box<RawValue> {
        crate::raw::object(&[("id", &crate::raw::quoted(id))])
    }

    #[test]
    fn ids_are_cut_where_they_differ() {
        let (a, b) = ("0198c1a2-3b4c-7d5e-8f60-718293a4b5c6", "0198c1a2-3b4c-7d5f-8f60-718293a4b5c6");
        let c = "0198c1a2-3b4c-7d5e-8f61-718293a4b5c6";
        assert_eq!(shown_ids(&[job(a), job(b)]), Some(18));
        assert_eq!(shown_ids(&[job(a), job(c)]), Some(23));
        assert_eq!(shown_ids(&[job(a), job(a)]), None);
    }
}
