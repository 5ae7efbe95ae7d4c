//! Steps of a range in tables: what happened in each, how long jobs waited, and how long they ran.

use super::{Column, Resource};
use crate::raw::Fields;
use crate::table::{Cell, Tone};
use crate::time::brief;

pub(crate) const STATISTIC: Resource = Resource {
    one: "step",
    many: "steps",
    short: &[],
    path: &["v1", "stats"],
    list: "points",
    id: "at",
    columns: &[
        Column::new("TIME", |step, _| step.text("at").into()),
        Column::new("CREATED", |step, _| step.text("created").into()),
        Column::new("COMPLETED", |step, _| step.text("completed").into()),
        Column::new("FAILED", |step, _| {
            let failed = step.text("failed");
            let tone = if failed == "0" { Tone::Plain } else { Tone::Bad };
            Cell::new(failed).tone(tone)
        }),
        Column::new("RETRIED", |step, _| step.text("retried").into()),
        Column::new("CANCELLED", |step, _| step.text("cancelled").into()),
        Column::wide("SNOOZED", |step, _| step.text("snoozed").into()),
        Column::new("WAIT-P50", |step, _| quantile(step, "wait", "p50_seconds").into()),
        Column::wide("WAIT-P95", |step, _| quantile(step, "wait", "p95_seconds").into()),
        Column::new("WAIT-P99", |step, _| quantile(step, "wait", "p99_seconds").into()),
        Column::new("RUN-P50", |step, _| quantile(step, "run", "p50_seconds").into()),
        Column::wide("RUN-P95", |step, _| quantile(step, "run", "p95_seconds").into()),
        Column::new("RUN-P99", |step, _| quantile(step, "run", "p99_seconds").into()),
    ],
};

fn quantile(step: &Fields<'_>, of: &str, name: &str) -> String {
    step.object(of).number(name).map(brief).unwrap_or_default()
}
