//! The members of an object as text, one line each.

use std::fmt::Write as _;

use crate::client::Client;
use crate::raw::{self, Fields};
use crate::table::printable;
use crate::time::distance;

/// One line for each member. Objects and lists are JSON on one line.
pub(crate) fn members(fields: &Fields<'_>, client: &Client) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (name, value) in fields.iter() {
        let shown = match raw::text(value) {
            text if text.is_empty() => "-".to_owned(),
            text if name.ends_with("_at") => format!("{text} ({})", ago(&text, client)),
            text => printable(&text),
        };
        let _infallible = writeln!(text, "{:<width$}{shown}", format!("{name}:"));
    }
    text
}

/// A timestamp as its distance from now.
pub(crate) fn ago(at: &str, client: &Client) -> String {
    match distance(at, client.view().now) {
        future if future.starts_with("in ") => future,
        past => format!("{past} ago"),
    }
}
