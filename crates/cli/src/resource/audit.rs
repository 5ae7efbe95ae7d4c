//! Entries of the audit log in tables.

use super::{Column, Resource};
use crate::raw::Fields;

/// Characters of a filter or a setting in a table.
const SHOWN: usize = 60;

pub(crate) const AUDIT: Resource = Resource {
    one: "entry",
    many: "entries",
    short: &[],
    path: &["v1", "audit"],
    list: "entries",
    id: "id",
    columns: &[
        Column::new("TIME", |entry, _| entry.text("at").into()),
        Column::new("ACTOR", |entry, _| actor(entry).into()),
        Column::new("ACTION", |entry, _| entry.text("action").into()),
        Column::new("TARGET", |entry, _| target(entry).into()),
        Column::new("AFFECTED", |entry, _| entry.text("affected").into()),
        Column::wide("REQUEST", |entry, _| entry.text("request_id").into()),
        Column::wide("DATABASE-USER", |entry, _| entry.text("database_user").into()),
        Column::wide("BEFORE", |entry, _| short(&entry.text("before")).into()),
        Column::wide("AFTER", |entry, _| short(&entry.text("after")).into()),
    ],
};

/// With the key of the API, or with `(sql)`.
fn actor(entry: &Fields<'_>) -> String {
    let name = entry.text("actor");
    match (entry.text("key_id"), entry.text("via").as_str()) {
        (_, "sql") => format!("{name} (sql)"),
        (key, _) if key.is_empty() => name,
        (key, _) => format!("{name} ({key})"),
    }
}

/// What was changed, or the filter that matched it.
fn target(entry: &Fields<'_>) -> String {
    match entry.text("target") {
        target if target.is_empty() => short(&entry.text("filter")),
        target => target,
    }
}

fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
