//! `-o jsonpath=…`: RFC 9535, or the short form of kubectl. A match is printed as the API sent it.

use serde_json::value::RawValue;
use serde_json_path::{JsonPath, PathElement};

use crate::raw::{Fields, items, text, value};

/// A path in the forms `$.id`, `.id` and `{.id}`.
pub(crate) fn parse(expression: &str) -> Result<JsonPath, String> {
    let inner = expression.trim();
    let inner = inner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(inner).trim();
    let full = if inner.starts_with('$') { inner.to_owned() } else { format!("${inner}") };
    JsonPath::parse(&full).map_err(|error| {
        format!("`{expression}` is not a JSONPath ({error}); write for example jsonpath=.id")
    })
}

/// The matches in a value: strings decoded, any other value as the JSON that the API sent.
pub(crate) fn matches(path: &JsonPath, raw: &RawValue) -> Vec<String> {
    let value = value(raw, 0);
    let found = path.query_located(&value);
    let locations = found.locations().map(|location| location.iter().collect::<Vec<_>>());
    locations.filter_map(|elements| follow(raw, &elements)).collect()
}

fn follow(raw: &RawValue, elements: &[&PathElement<'_>]) -> Option<String> {
    match elements {
        [] if raw.get() == "null" => Some("null".to_owned()),
        [] => Some(text(raw)),
        [PathElement::Name(name), rest @ ..] => follow(Fields::of(raw).raw(name)?, rest),
        [PathElement::Index(index), rest @ ..] => follow(items(raw)?.get(*index)?, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, json: &str) -> Vec<String> {
        matches(&parse(path).unwrap(), &RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn matches_are_the_text_of_the_api() {
        let json = r#"{"id":"x\u0041","p":{"n":18446744073709551616, "l":[0.10,1E400]},"e":null}"#;
        assert_eq!(found("$.id", json), ["xA"]);
        assert_eq!(found(".p.n", json), ["18446744073709551616"]);
        assert_eq!(found("{.p.l[*]}", json), ["0.10", "1E400"]);
        assert_eq!(found(".p.l", json), ["[0.10,1E400]"]);
        assert_eq!(found("$.e", json), ["null"]);
        assert_eq!(found("$.missing", json), [""; 0]);
        assert_eq!(found("$..n", json), ["18446744073709551616"]);
    }

    #[test]
    fn an_invalid_path_is_refused() {
        for path in ["", "id", "$.", "{.id", "$[", ".a b"] {
            assert!(parse(path).is_err() || path.is_empty(), "{path}");
        }
    }
}
