//! Findings of `doctor` in tables.

use super::{Column, Resource};
use crate::table::{Cell, Tone};

pub(crate) const FINDING: Resource = Resource {
    one: "finding",
    many: "findings",
    short: &[],
    path: &[],
    list: "findings",
    id: "check",
    columns: &[
        Column::new("SEVERITY", |finding, _| {
            let severity = finding.text("severity");
            let tone = match severity.as_str() {
                "error" => Tone::Bad,
                "warning" => Tone::Warning,
                _ => Tone::Good,
            };
            Cell::new(severity).tone(tone)
        }),
        Column::new("CHECK", |finding, _| finding.text("check").into()),
        Column::new("SEEN", |finding, _| finding.text("seen").into()),
        Column::new("DO", |finding, _| finding.text("advice").into()),
    ],
};
