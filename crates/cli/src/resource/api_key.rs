//! API keys in tables. Their texts are in no table.

use super::{Column, Resource};
use crate::raw::Fields;
use crate::time::age;

pub(crate) const API_KEY: Resource = Resource {
    one: "api-key",
    many: "api-keys",
    short: &["k"],
    path: &["v1", "api-keys"],
    list: "api_keys",
    id: "id",
    columns: &[
        Column::new("NAME", |key, _| key.text("name").into()),
        Column::new("ID", |key, _| key.text("id").into()),
        Column::new("SCOPES", |key, _| key.texts("scopes").join(",").into()),
        Column::new("QUEUES", |key, _| patterns(key, "queues").into()),
        Column::new("KINDS", |key, _| patterns(key, "kinds").into()),
        Column::new("EXPIRES", |key, _| key.text("expires_at").into()),
        Column::new("AGE", |key, view| age(&key.text("created_at"), view.now).into()),
        Column::wide("LAST-USED", |key, _| key.text("last_used_at").into()),
        Column::wide("RATE", |key, _| rate(key).into()),
        Column::wide("HIDDEN", |key, _| key.texts("hide").join(",").into()),
        Column::wide("OWNER", |key, _| key.text("owner").into()),
        Column::wide("CREATED-BY", |key, _| key.text("created_by").into()),
        Column::wide("REVOKED", |key, _| key.text("revoked_at").into()),
    ],
};

fn patterns(key: &Fields<'_>, member: &str) -> String {
    let patterns = key.texts(member).join(",");
    if patterns.is_empty() { "*".to_owned() } else { patterns }
}

fn rate(key: &Fields<'_>) -> String {
    let (requests, seconds) = (key.object("rate").text("requests"), key.object("rate").text("per_seconds"));
    if requests.is_empty() { String::new() } else { format!("{requests}/{seconds} s") }
}
