//! Queues in tables: their settings, and their statistics.

use super::{Column, Resource};
use crate::raw::Fields;
use crate::table::{Cell, Tone};
use crate::time::{age, short};

pub(crate) const QUEUE: Resource = Resource {
    one: "queue",
    many: "queues",
    short: &["q"],
    path: &["v1", "queues"],
    list: "queues",
    id: "name",
    columns: &[
        Column::new("NAME", |queue, _| queue.text("name").into()),
        Column::new("PAUSED", |queue, _| {
            let paused = queue.is_true("paused");
            Cell::new(if paused { "yes" } else { "no" }).tone(if paused {
                Tone::Warning
            } else {
                Tone::Plain
            })
        }),
        Column::new("SCHEDULED", |queue, _| queue.text("scheduled").into()),
        Column::new("QUEUED", |queue, _| queue.text("queued").into()),
        Column::new("RUNNING", |queue, _| queue.text("running").into()),
        Column::wide("PAUSED-AT", |queue, _| queue.text("paused_at").into()),
        Column::wide("KEEP-COMPLETED", |queue, _| kept(queue, "completed_retention_seconds").into()),
        Column::wide("KEEP-FAILED", |queue, _| kept(queue, "failed_retention_seconds").into()),
        Column::wide("MAX-QUEUED", |queue, _| queue.text("max_queued").into()),
    ],
};

pub(crate) const QUEUE_STATS: Resource = Resource {
    one: "queue",
    many: "queues",
    short: &[],
    path: &["v1", "stats"],
    list: "queues",
    id: "queue",
    columns: &[
        Column::new("QUEUE", |queue, _| queue.text("queue").into()),
        Column::new("SCHEDULED", |queue, _| queue.text("scheduled").into()),
        Column::new("QUEUED", |queue, _| queue.text("queued").into()),
        Column::new("RUNNING", |queue, _| queue.text("running").into()),
        Column::new("OLDEST", |queue, _| short(queue.number("oldest_age_seconds").unwrap_or(0.0)).into()),
        Column::new("CREATED", |queue, _| queue.text("created").into()),
        Column::new("COMPLETED", |queue, _| queue.text("completed").into()),
        Column::new("FAILED", |queue, _| {
            let failed = queue.text("failed");
            let tone = if failed == "0" { Tone::Plain } else { Tone::Bad };
            Cell::new(failed).tone(tone)
        }),
        Column::new("CANCELLED", |queue, _| queue.text("cancelled").into()),
        Column::new("RETRIED", |queue, _| queue.text("retried").into()),
        Column::wide("LEASED", |queue, _| queue.text("leased").into()),
        Column::wide("LOST", |queue, _| queue.text("lost").into()),
        Column::wide("PRUNED", |queue, _| queue.text("pruned").into()),
        Column::wide("COUNTED", |queue, view| age(&queue.text("taken_at"), view.now).into()),
    ],
};

fn kept(queue: &Fields<'_>, member: &str) -> String {
    queue.number(member).map_or_else(|| "default".to_owned(), short)
}
