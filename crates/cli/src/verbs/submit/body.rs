//! The JSON of a submission. What the user gave stays as it is.

use serde_json::value::RawValue;

use crate::exit::{CommandError, CommandResult};
use crate::raw::quoted;

/// The body of a submission. The payload is the text that was given: no number and no escape changes.
pub(crate) fn body(kind: Option<&str>, fields: &[(&str, String)], payload: Option<&RawValue>) -> String {
    let kind = kind.map(|kind| ("kind", quoted(kind)));
    let fields = fields.iter().map(|(name, json)| (*name, json.clone()));
    let payload = payload.map(|payload| ("payload", payload.get().to_owned()));
    let members = kind.into_iter().chain(fields).chain(payload);
    let members: Vec<String> = members.map(|(name, json)| format!("{}:{json}", quoted(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// A text that must be JSON.
pub(crate) fn json(what: &str, text: &str) -> CommandResult<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).map_err(|error| {
        CommandError::usage(format!(
            "{what} is not JSON ({error}); a text needs quotes, for example '\"text\"'"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_payload_as_it_is() {
        let payload = RawValue::from_string(" {\"z\": 1.0, \"a\":\"\\u00e9\"}\n".to_owned()).unwrap();
        assert_eq!(
            body(Some("k"), &[("queue", quoted("a\"b"))], Some(&payload)),
            r#"{"kind":"k","queue":"a\"b","payload":{"z": 1.0, "a":"\u00e9"}}"#
        );
    }
}
