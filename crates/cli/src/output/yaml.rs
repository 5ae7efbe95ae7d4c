//! Writes YAML. Numbers keep their digits, which no serializer of Rust types can promise; so this is a small writer of its own. A test
//! reads its output with a YAML parser.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::raw::{DEPTH, items, members, quoted, text};

/// A value as a YAML document, with a line feed at the end.
pub(crate) fn yaml(raw: &RawValue) -> String {
    let mut out = String::new();
    block(&mut out, raw, 0, false);
    out
}

/// Writes a value that follows on its own lines (`after_key`), or at the current position.
fn block(out: &mut String, raw: &RawValue, depth: usize, after_key: bool) {
    if depth < DEPTH
        && let Some(members) = members(raw).filter(|members| !members.is_empty())
    {
        for (place, (name, value)) in members.into_iter().enumerate() {
            start(out, depth, after_key || place > 0);
            out.push_str(&scalar(&text(name)));
            out.push(':');
            block(out, value, depth + 1, true);
        }
    } else if depth < DEPTH
        && let Some(items) = items(raw).filter(|items| !items.is_empty())
    {
        for (place, item) in items.into_iter().enumerate() {
            start(out, depth, after_key || place > 0);
            out.push_str("- ");
            block(out, item, depth + 1, false);
        }
    } else {
        if after_key {
            out.push(' ');
        }
        out.push_str(&leaf(raw));
        out.push('\n');
    }
}

/// Begins a line. The first entry of a list's item stays on the line of the `- `.
fn start(out: &mut String, depth: usize, new_line: bool) {
    if !new_line {
        return;
    }
    if !out.ends_with('\n') && !out.is_empty() {
        out.push('\n');
    }
    (0..depth).for_each(|_| out.push_str("  "));
}

fn leaf(raw: &RawValue) -> String {
    match raw.get() {
        string if string.starts_with('"') => scalar(&text(raw)),
        // an empty object or list, or one that is too deep: JSON is valid YAML
        other => other.to_owned(),
    }
}

/// A string, in quotes if it could be read as anything else.
fn scalar(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-./+@".contains(char);
    let starts = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let is_word = words.contains(&text.to_ascii_lowercase().as_str());
    if starts && !is_word && text.chars().all(plain) { text.to_owned() } else { escaped(text) }
}

/// A JSON string is a YAML string, except for the line separators of Unicode, which YAML would fold.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for char in quoted(text).chars() {
        match char {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(char));
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> String {
        yaml(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn the_shape_is_that_of_yaml_and_numbers_keep_their_digits() {
        let json =
            r#"{"id":"a","count":18446744073709551616,"z":0.10,"l":[1,{"a":1,"b":[2]},[]],"o":{},"s":"yes"}"#;
        let expected = "id: a\ncount: 18446744073709551616\nz: 0.10\nl:\n  - 1\n  - a: 1\n    b:\n      - 2\n  - []\no: {}\ns: \"yes\"\n";
        assert_eq!(of(json), expected);
        assert_eq!(of("[[1,2],{\"a\":null}]"), "- - 1\n  - 2\n- a: null\n");
    }

    #[test]
    fn a_parser_reads_the_same_value() {
        let texts = [
            "",
            " ",
            "a: b",
            "- x",
            "#c",
            "null",
            "~",
            "1",
            "1e5",
            "0x1f",
            "2026-01-31",
            "12:30",
            "a\nb\n",
            "\u{1f600}\u{85}\u{2028}",
            "'q'",
            "\"",
            "\\",
            "{a}",
            "[1]",
            "a #b",
            "é",
            "%x",
            "!t",
            "&a",
            "*a",
            "| x",
            "> x",
            "?",
            ":",
            "-",
            "=",
            "<<",
            "No",
            "\t",
        ];
        for text in texts {
            let value = serde_json::json!({ "key": [text, { text: text }], "e": [], "o": {} });
            let written = of(&value.to_string());
            let read: serde_json::Value = serde_saphyr::from_str(&written)
                .unwrap_or_else(|error| panic!("{text:?}: {error}\n{written}"));
            assert_eq!(read, value, "{written}");
        }
    }
}
