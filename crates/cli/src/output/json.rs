//! Writes JSON with an indentation. It moves white space only: numbers, strings and the order of members stay as they are.

use serde_json::value::RawValue;

use crate::raw::{DEPTH, items, members};

/// A value over several lines.
pub(crate) fn pretty(raw: &RawValue) -> String {
    let mut text = String::with_capacity(raw.get().len() * 2);
    write(&mut text, raw, 0);
    text
}

fn write(text: &mut String, raw: &RawValue, depth: usize) {
    let parts: Option<Vec<(Option<&RawValue>, &RawValue)>> = match members(raw) {
        _ if depth >= DEPTH => None,
        Some(members) => Some(members.into_iter().map(|(name, value)| (Some(name), value)).collect()),
        None => items(raw).map(|items| items.into_iter().map(|item| (None, item)).collect()),
    };
    let Some(parts) = parts.filter(|parts| !parts.is_empty()) else {
        text.push_str(if parts_are_empty(raw) { empty(raw) } else { raw.get() });
        return;
    };
    let (open, close) = if raw.get().starts_with('{') { ('{', '}') } else { ('[', ']') };
    text.push(open);
    for (place, (name, value)) in parts.into_iter().enumerate() {
        text.push_str(if place == 0 { "\n" } else { ",\n" });
        indent(text, depth + 1);
        if let Some(name) = name {
            text.push_str(name.get());
            text.push_str(": ");
        }
        write(text, value, depth + 1);
    }
    text.push('\n');
    indent(text, depth);
    text.push(close);
}

fn parts_are_empty(raw: &RawValue) -> bool {
    let inner = raw.get().get(1..raw.get().len().saturating_sub(1)).unwrap_or_default();
    raw.get().starts_with(['{', '[']) && inner.trim().is_empty()
}

fn empty(raw: &RawValue) -> &'static str {
    if raw.get().starts_with('{') { "{}" } else { "[]" }
}

fn indent(text: &mut String, depth: usize) {
    (0..depth).for_each(|_| text.push_str("  "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_changes() {
        let sent = r#"{"z":0.10,"a":[18446744073709551616,{ },[ ],"\u00e9"],"a":1E400}"#;
        let pretty = pretty(&RawValue::from_string(sent.to_owned()).unwrap());
        let expected = "{\n  \"z\": 0.10,\n  \"a\": [\n    18446744073709551616,\n    {},\n    [],\n    \"\\u00e9\"\n  ],\n  \"a\": 1E400\n}";
        assert_eq!(pretty, expected);
        let without: String = pretty.split_whitespace().collect();
        assert_eq!(without, sent.replace(' ', ""));
    }

    #[test]
    fn a_deep_value_does_not_overflow_the_stack() {
        let sent = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let pretty = pretty(&RawValue::from_string(sent).unwrap());
        assert_eq!(pretty.matches('[').count(), 20_000);
    }
}
