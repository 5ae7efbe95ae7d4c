//! Kinds in tables.

use super::{Column, Resource};
use crate::table::{Cell, Tone};
use crate::time::short;

pub(crate) const KIND: Resource = Resource {
    one: "kind",
    many: "kinds",
    short: &["k"],
    path: &["v1", "kinds"],
    list: "kinds",
    id: "name",
    columns: &[
        Column::new("NAME", |kind, _| kind.text("name").into()),
        Column::new("PAUSED", |kind, _| {
            if kind.is_true("paused") { Cell::new("yes").tone(Tone::Warning) } else { Cell::new("no") }
        }),
        Column::new("TIMEOUT", |kind, _| {
            kind.number("timeout_seconds").map_or_else(|| "default".to_owned(), short).into()
        }),
        Column::new("RETRY", |kind, _| {
            let strategy = kind.object("retry").text("strategy");
            if strategy.is_empty() { "default".into() } else { strategy.into() }
        }),
        Column::wide("PAUSED-AT", |kind, _| kind.text("paused_at").into()),
    ],
};
