//! Routes in tables.

use super::{Column, Resource};
use crate::raw::Fields;

pub(crate) const ROUTE: Resource = Resource {
    one: "route",
    many: "routes",
    short: &["r"],
    path: &["v1", "routes"],
    list: "routes",
    id: "name",
    columns: &[
        Column::new("POSITION", |route, _| route.text("position").into()),
        Column::new("NAME", |route, _| route.text("name").into()),
        Column::new("KIND", |route, _| route.object("spec").text("kind").into()),
        Column::new("QUEUE", |route, _| route.object("spec").text("queue").into()),
        Column::new("PRIORITY", |route, _| route.object("spec").text("priority").into()),
        Column::new("TIMEOUT", |route, _| seconds(route, "timeout_seconds").into()),
        Column::wide("ATTEMPTS", |route, _| route.object("spec").text("max_attempts").into()),
        Column::wide("EXPIRY", |route, _| seconds(route, "expires_after_seconds").into()),
        Column::wide("OWNER", |route, _| route.text("owner").into()),
        Column::wide("ERROR", |route, _| route.text("error").into()),
    ],
};

fn seconds(route: &Fields<'_>, member: &str) -> String {
    let text = route.object("spec").text(member);
    if text.is_empty() { text } else { format!("{text} s") }
}
