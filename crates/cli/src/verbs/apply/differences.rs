//! What differs between what is stored and what a file says.

use serde_json::{Map, Value};

/// The members that differ, with the values before and after.
pub(crate) fn differences(before: &Value, after: &Value) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    collect("", before, after, &mut found);
    found
}

fn collect(path: &str, before: &Value, after: &Value, found: &mut Vec<(String, Value, Value)>) {
    if let (Value::Object(old), Value::Object(new)) = (before, after) {
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let value = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or(Value::Null);
            collect(&path, &value(old), &value(new), found);
        }
    } else if !same(before, after) {
        found.push((path.to_owned(), before.clone(), after.clone()));
    }
}

/// Whether two values mean the same: `1` and `1.0`, and the same time with another offset, do.
fn same(before: &Value, after: &Value) -> bool {
    let times = || Some((crate::time::parse(before.as_str()?)?, crate::time::parse(after.as_str()?)?));
    let numbers = || Some((before.as_f64()?, after.as_f64()?));
    before == after
        || times().is_some_and(|(before, after)| before == after)
        || numbers().is_some_and(|(before, after)| before.total_cmp(&after).is_eq())
        || matches!((before, after), (Value::Null, Value::Array(list)) | (Value::Array(list), Value::Null) if list.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_means_something_else_is_a_difference() {
        let before = json!({"cron": "0 2 * * *", "interval_seconds": 1.0, "at": "2026-01-31T09:00:00Z", "job": {"kind": "a", "tags": []}});
        let same = json!({"cron": "0 2 * * *", "interval_seconds": 1, "at": "2026-01-31T10:00:00+01:00", "owner": null, "job": {"kind": "a"}});
        assert_eq!(differences(&before, &same), []);
        let other = json!({"cron": "0 3 * * *", "interval_seconds": 1.0, "at": "2026-01-31T09:00:00Z", "job": {"kind": "b"}});
        let found: Vec<String> = differences(&before, &other).into_iter().map(|(path, _, _)| path).collect();
        assert_eq!(found, ["cron", "job.kind"]);
    }
}
