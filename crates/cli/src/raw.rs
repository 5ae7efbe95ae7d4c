//! Reads JSON without changing it. A value stays the text that the API sent, so numbers keep their digits and strings their escapes; only
//! what a table shows is decoded.

use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// How deep a value is taken apart. What is deeper stays one piece of text.
pub(crate) const DEPTH: usize = 100;

/// The members of an object in their order, names decoded. Empty for any other value.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    pub(crate) fn of(raw: &'a RawValue) -> Self {
        let named = |(name, value): (&RawValue, _)| (text(name), value);
        Self(members(raw).unwrap_or_default().into_iter().map(named).collect())
    }

    /// A member; of members with the same name the last one.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// A member as text: a string decoded, a number or a list as JSON, and nothing for `null`.
    pub(crate) fn text(&self, name: &str) -> String {
        self.raw(name).map(text).unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.raw(name)?.get().parse().ok()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.raw(name).and_then(|value| value.get().parse().ok()).unwrap_or(0)
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|value| value.get() == "true")
    }

    /// The members of an object that is a member.
    pub(crate) fn object(&self, name: &str) -> Self {
        self.raw(name).map(Self::of).unwrap_or_default()
    }

    pub(crate) fn items(&self, name: &str) -> Vec<&'a RawValue> {
        self.raw(name).and_then(items).unwrap_or_default()
    }

    /// A list of strings.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.items(name).into_iter().map(text).collect()
    }

    /// The other members.
    pub(crate) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| known != name).cloned().collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// The members of an object in their order: the names as they are written, with quotes and escapes.
pub(crate) fn members(raw: &RawValue) -> Option<Vec<(&RawValue, &RawValue)>> {
    jobqueue_core::members::members(raw.get())
}

/// The items of an array.
pub(crate) fn items(raw: &RawValue) -> Option<Vec<&RawValue>> {
    raw.get().starts_with('[').then(|| serde_json::from_str(raw.get()).ok())?
}

/// A string decoded, nothing for `null`, and any other value as its JSON.
pub(crate) fn text(raw: &RawValue) -> String {
    match raw.get() {
        "null" => String::new(),
        quoted if quoted.starts_with('"') => {
            serde_json::from_str(quoted).unwrap_or_else(|_| quoted.to_owned())
        }
        other => other.to_owned(),
    }
}

/// A value to evaluate a path on. Numbers that no `f64` holds and values below [`DEPTH`] become `null`.
pub(crate) fn value(raw: &RawValue, depth: usize) -> Value {
    if depth >= DEPTH {
        return Value::Null;
    }
    if let Some(members) = members(raw) {
        let named = members.into_iter().map(|(name, inner)| (text(name), value(inner, depth + 1)));
        return Value::Object(named.collect::<Map<_, _>>());
    }
    if let Some(items) = items(raw) {
        return Value::Array(items.into_iter().map(|item| value(item, depth + 1)).collect());
    }
    match raw.get() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        quoted if quoted.starts_with('"') => Value::String(text(raw)),
        number => number.parse::<Number>().map_or(Value::Null, Value::Number),
    }
}

/// Wraps JSON that this program wrote.
pub(crate) fn object(members: &[(&str, &str)]) -> Box<RawValue> {
    let member = |(name, json): &(&str, &str)| format!("{}:{json}", quoted(name));
    let text = format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","));
    RawValue::from_string(text).unwrap_or_default()
}

/// A string as JSON.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn members_keep_their_text() {
        let object = raw(r#"{"a" : 1.50, "\u0062": "x\ty", "a": 18446744073709551616, "n": null}"#);
        let fields = Fields::of(&object);
        assert_eq!(fields.text("a"), "18446744073709551616", "the last one counts");
        assert_eq!(fields.text("b"), "x\ty");
        assert_eq!((fields.text("n"), fields.text("missing")), (String::new(), String::new()));
        assert_eq!(members(&object).unwrap()[1].0.get(), r#""\u0062""#);
        assert!(members(&raw("[]")).is_none() && items(&raw("{}")).is_none());
    }

    #[test]
    fn values_for_paths_ignore_what_no_number_type_holds() {
        let value = value(&raw(r#"{"a": [1, 1E400, "x", true, null]}"#), 0);
        assert_eq!(value, serde_json::json!({"a": [1, null, "x", true, null]}));
        let deep = raw(&format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)));
        assert!(super::value(&deep, 0).is_array());
    }
}
