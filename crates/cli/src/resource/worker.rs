//! Workers in tables.

use super::{Column, Resource};
use crate::raw::Fields;
use crate::table::{Cell, Tone};
use crate::time::age;

pub(crate) const WORKER: Resource = Resource {
    one: "worker",
    many: "workers",
    short: &["w"],
    path: &["v1", "workers"],
    list: "workers",
    id: "name",
    columns: &[
        Column::new("NAME", |worker, _| worker.text("name").into()),
        Column::new("STATE", |worker, _| state(worker)),
        Column::new("RUNNING", |worker, _| running(worker).into()),
        Column::new("QUEUES", |worker, _| worker.texts("queues").join(",").into()),
        Column::new("HEARTBEAT", |worker, view| age(&worker.text("last_heartbeat_at"), view.now).into()),
        Column::new("UPTIME", |worker, view| age(&worker.text("started_at"), view.now).into()),
        Column::wide("JOBS/MIN", |worker, _| worker.text("jobs_per_minute").into()),
        Column::wide("MEMORY", |worker, _| memory(worker).into()),
        Column::wide("HOST", |worker, _| worker.text("host").into()),
        Column::wide("LANGUAGE", |worker, _| worker.text("language").into()),
        Column::wide("VERSION", |worker, _| worker.text("version").into()),
        Column::wide("KINDS", |worker, _| kinds(worker).into()),
        Column::wide("ID", |worker, _| worker.text("id").into()),
    ],
};

pub(crate) const SENT_COMMAND: Resource = Resource {
    one: "command",
    many: "commands",
    short: &[],
    path: &[],
    list: "commands",
    id: "worker",
    columns: &[
        Column::new("WORKER", |sent, _| sent.text("worker").into()),
        Column::new("COMMAND", |sent, _| sent.text("command").into()),
        Column::new("STATUS", |sent, _| {
            let status = sent.text("status");
            let tone = if status == "acknowledged" { Tone::Good } else { Tone::Warning };
            Cell::new(status).tone(tone)
        }),
        Column::new("ANSWER", |sent, _| sent.text("answer").into()),
        Column::wide("WORKER-ID", |sent, _| sent.text("worker_id").into()),
    ],
};

fn state(worker: &Fields<'_>) -> Cell {
    if worker.is_true("draining") {
        Cell::new("draining").tone(Tone::Warning)
    } else if worker.is_true("paused") {
        Cell::new("paused").tone(Tone::Warning)
    } else if worker.is_true("remote") {
        Cell::new("remote").tone(Tone::Good)
    } else {
        Cell::new("ready").tone(Tone::Good)
    }
}

fn running(worker: &Fields<'_>) -> String {
    match worker.text("slots") {
        slots if slots.is_empty() => worker.text("running"),
        slots => format!("{}/{slots}", worker.text("running")),
    }
}

fn kinds(worker: &Fields<'_>) -> String {
    let kinds = worker.texts("kinds");
    if kinds.is_empty() { "all".to_owned() } else { kinds.join(",") }
}

fn memory(worker: &Fields<'_>) -> String {
    worker.number("rss_bytes").map_or_else(String::new, |bytes| format!("{:.0}Mi", bytes / 1_048_576.0))
}
