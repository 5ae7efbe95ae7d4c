//! Schedules and their ticks in tables.

use super::{Column, Resource};
use crate::raw::Fields;
use crate::table::{Cell, Tone};
use crate::time::age;

pub(crate) const SCHEDULE: Resource = Resource {
    one: "schedule",
    many: "schedules",
    short: &["s", "sched"],
    path: &["v1", "schedules"],
    list: "schedules",
    id: "name",
    columns: &[
        Column::new("NAME", |schedule, _| schedule.text("name").into()),
        Column::new("STATUS", |schedule, _| status(schedule)),
        Column::new("WHEN", |schedule, _| when(schedule).into()),
        Column::new("KIND", |schedule, _| schedule.object("spec").object("job").text("kind").into()),
        Column::new("NEXT", |schedule, view| age(&schedule.text("next_tick_at"), view.now).into()),
        Column::new("RUNS", |schedule, _| schedule.text("runs").into()),
        Column::wide("IN-WORDS", |schedule, _| schedule.text("in_words").into()),
        Column::wide("OWNER", |schedule, _| schedule.text("owner").into()),
        Column::wide("LAST-JOB", |schedule, _| schedule.text("last_job_id").into()),
        Column::wide("ERROR", |schedule, _| schedule.text("error").into()),
    ],
};

pub(crate) const TICK: Resource = Resource {
    one: "tick",
    many: "ticks",
    short: &[],
    path: &[],
    list: "ticks",
    id: "tick_at",
    columns: &[
        Column::new("TICK", |tick, _| tick.text("tick_at").into()),
        Column::new("FATE", |tick, _| tick.text("fate").into()),
        Column::new("JOB", |tick, _| tick.text("job_id").into()),
        Column::wide("DECIDED", |tick, _| tick.text("decided_at").into()),
    ],
};

pub(crate) const NEXT_TICK: Resource = Resource {
    one: "tick",
    many: "ticks",
    short: &[],
    path: &[],
    list: "ticks",
    id: "tick_at",
    columns: &[
        Column::new("TICK", |tick, _| tick.text("tick_at").into()),
        Column::new("LOCAL", |tick, _| tick.text("local").into()),
        Column::new("FIRES", |tick, _| tick.text("fires_at").into()),
    ],
};

fn status(schedule: &Fields<'_>) -> Cell {
    let status = schedule.text("status");
    let tone = match status.as_str() {
        "active" => Tone::Good,
        "failed" => Tone::Bad,
        _ => Tone::Faint,
    };
    Cell::new(status).tone(tone)
}

/// The times as they were set.
fn when(schedule: &Fields<'_>) -> String {
    let spec = schedule.object("spec");
    let zone = spec.text("time_zone");
    match (spec.text("cron"), spec.text("interval_seconds")) {
        (cron, _) if !cron.is_empty() && !zone.is_empty() => format!("{cron} ({zone})"),
        (cron, _) if !cron.is_empty() => cron,
        (_, seconds) if !seconds.is_empty() => format!("every {seconds} s"),
        _ => spec.text("at"),
    }
}
