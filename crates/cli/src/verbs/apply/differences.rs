//! What differs between what is stored and what a file says.

use jobqueue_core::RetryPolicy;
use jobqueue_core::job::UniqueDraft;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The members that differ, with the values before and after.
pub(crate) fn differences(before: &Value, after: &Value) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    collect("", &whole(before), &whole(after), &mut found);
    found
}

/// With the defaults of a retry policy and of a unique key, as the API stores them.
fn whole(spec: &Value) -> Value {
    let mut spec = spec.clone();
    complete::<RetryPolicy>(&mut spec, "/retry");
    complete::<RetryPolicy>(&mut spec, "/job/retry");
    complete::<UniqueDraft>(&mut spec, "/job/unique");
    spec
}

/// What is invalid stays as it is: the API refuses it.
fn complete<T: DeserializeOwned + Serialize>(spec: &mut Value, pointer: &str) {
    let Some(value) = spec.pointer_mut(pointer) else { return };
    if let Some(all) = T::deserialize(&*value).ok().and_then(|parsed| serde_json::to_value(parsed).ok()) {
        *value = all;
    }
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

    #[test]
    fn defaults_inside_of_a_field_are_no_difference() {
        let stored = json!({"retry": {"strategy": "linear", "step_seconds": 5.0, "max_seconds": 3600.0},
            "job": {"unique": {"key": "k", "scope": "kind", "on_conflict": "return"}}});
        let file =
            json!({"retry": {"strategy": "linear", "step_seconds": 5}, "job": {"unique": {"key": "k"}}});
        assert_eq!(differences(&stored, &file), []);
        let other = json!({"retry": {"strategy": "linear", "step_seconds": 5, "max_seconds": 60}, "job": {"unique": {"key": "k"}}});
        assert_eq!(differences(&stored, &other)[0].0, "retry.max_seconds");
    }
}
