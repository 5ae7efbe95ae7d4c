//! Dead letters, their groups and redrives in tables.

use super::{Column, Resource};
use crate::raw::Fields;
use crate::table::{Cell, Tone};
use crate::time::age;

pub(crate) const DEAD_LETTER: Resource = Resource {
    one: "dead-letter",
    many: "dead letters",
    short: &[],
    path: &["v1", "dead-letters"],
    list: "dead_letters",
    id: "id",
    columns: &[
        Column::new("ID", |letter, _| letter.text("id").into()),
        Column::new("QUEUE", |letter, _| letter.text("queue").into()),
        Column::new("KIND", |letter, _| letter.text("kind").into()),
        Column::new("AGE", |letter, view| age(&letter.text("failed_at"), view.now).into()),
        Column::new("ERROR", |letter, _| letter.text("error_type").into()),
        Column::new("MESSAGE", |letter, _| short(&letter.text("message")).into()),
        Column::wide("ATTEMPTS", |letter, _| letter.text("attempt").into()),
        Column::wide("TAGS", |letter, _| letter.texts("tags").join(",").into()),
        Column::wide("GROUP", |letter, _| letter.text("group").into()),
    ],
};

pub(crate) const LETTER_GROUP: Resource = Resource {
    one: "dead-letter-group",
    many: "groups of dead letters",
    short: &[],
    path: &["v1", "dead-letters", "groups"],
    list: "groups",
    id: "group",
    columns: &[
        Column::new("GROUP", |group, _| group.text("group").into()),
        Column::new("COUNT", |group, _| group.text("count").into()),
        Column::new("KIND", |group, _| group.text("kind").into()),
        Column::new("FIRST", |group, view| age(&group.text("first_failed_at"), view.now).into()),
        Column::new("AGE", |group, view| age(&group.text("last_failed_at"), view.now).into()),
        Column::new("ERROR", |group, _| group.text("error_type").into()),
        Column::new("MESSAGE", |group, _| short(&group.text("message")).into()),
        Column::wide("EXAMPLE", |group, _| {
            group.texts("examples").into_iter().next().unwrap_or_default().into()
        }),
    ],
};

pub(crate) const REDRIVE: Resource = Resource {
    one: "redrive",
    many: "redrives",
    short: &[],
    path: &["v1", "dead-letters", "redrives"],
    list: "redrives",
    id: "id",
    columns: &[
        Column::new("ID", |redrive, _| redrive.text("id").into()),
        Column::new("STATE", |redrive, _| state(redrive)),
        Column::new("REDRIVEN", |redrive, _| progress(redrive).into()),
        Column::new("SUCCEEDED", |redrive, _| redrive.text("succeeded").into()),
        Column::new("FAILED", |redrive, _| redrive.text("failed").into()),
        Column::new("RATE", |redrive, _| redrive.text("rate").into()),
        Column::new("AGE", |redrive, view| age(&redrive.text("created_at"), view.now).into()),
        Column::wide("REFUSED", |redrive, _| redrive.text("refused").into()),
        Column::wide("OTHER", |redrive, _| redrive.text("other").into()),
        Column::wide("FILTER", |redrive, _| redrive.text("filter").into()),
    ],
};

/// Characters of a message in a table.
const SHOWN: usize = 80;

fn short(message: &str) -> String {
    let mut shown: String = message.chars().take(SHOWN).collect();
    if shown.len() < message.len() {
        shown.push('…');
    }
    shown
}

fn progress(redrive: &Fields<'_>) -> String {
    match redrive.text("total") {
        total if total.is_empty() => redrive.text("redriven"),
        total => format!("{}/{total}", redrive.text("redriven")),
    }
}

fn state(redrive: &Fields<'_>) -> Cell {
    let state = redrive.text("state");
    let tone = match state.as_str() {
        "done" => Tone::Good,
        "running" => Tone::Busy,
        "failing" => Tone::Bad,
        _ => Tone::Warning,
    };
    Cell::new(state).tone(tone)
}
