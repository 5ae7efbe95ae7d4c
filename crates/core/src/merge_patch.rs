//! JSON merge patch (RFC 7396) on JSON texts. What the patch does not name is kept byte for byte.

use std::collections::BTreeMap;

use crate::json::{Json, JsonError};
use crate::members::members;

impl Json {
    /// This document with a merge patch applied: a member `null` of the patch removes the member, an object is merged, and any other value
    /// replaces the member.
    pub fn merged(&self, patch: &Self) -> Result<Self, JsonError> {
        let mut text = String::with_capacity(self.len() + patch.len());
        merge(Some(self.as_str()), patch.as_str(), &mut text);
        Self::parse(text)
    }
}

/// Writes the merged value. Members keep the order of the document; new ones follow in the order of the patch.
fn merge(target: Option<&str>, patch: &str, text: &mut String) {
    let Some(patch_members) = members::<String>(patch) else {
        text.push_str(patch);
        return;
    };
    let old_members = target.and_then(members::<String>).unwrap_or_default();
    let mut changes: BTreeMap<&str, &str> =
        patch_members.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
    text.push('{');
    let mut is_first = true;
    for (name, value) in &old_members {
        match changes.remove(name.as_str()) {
            Some("null") => {}
            Some(change) => {
                member(name, &mut is_first, text);
                merge(Some(value.get()), change, text);
            }
            None => {
                member(name, &mut is_first, text);
                text.push_str(value.get());
            }
        }
    }
    for (name, value) in &patch_members {
        if value.get() != "null" && changes.contains_key(name.as_str()) {
            member(name, &mut is_first, text);
            merge(None, value.get(), text);
        }
    }
    text.push('}');
}

fn member(name: &str, is_first: &mut bool, text: &mut String) {
    if !std::mem::take(is_first) {
        text.push(',');
    }
    text.push_str(&serde_json::Value::from(name).to_string());
    text.push(':');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(target: &str, patch: &str) -> String {
        let json = |text: &str| Json::parse(text.to_owned()).unwrap();
        json(target).merged(&json(patch)).unwrap().as_str().to_owned()
    }

    #[test]
    fn the_examples_of_the_standard() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(target, patch), result, "{target} {patch}");
        }
    }

    #[test]
    fn what_is_not_named_stays_as_it_was_sent() {
        assert_eq!(
            merged(r#"{ "b" : 18446744073709551616 , "a": { "x" : 1E5, "y": 0.10 } }"#, r#"{"a":{"y":2}}"#),
            r#"{"b":18446744073709551616,"a":{"x":1E5,"y":2}}"#
        );
    }
}
