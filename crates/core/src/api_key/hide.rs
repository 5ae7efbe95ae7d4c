//! Hides members of JSON documents that a key must not read. Works on the text of a document, so that all other values stay byte for byte.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_PATTERNS;
use crate::field::FieldError;
use crate::on_end::WEBHOOK_KIND;

/// What is shown in place of a hidden value.
pub const HIDDEN: &str = "[hidden]";
const HIDDEN_JSON: &str = "\"[hidden]\"";
const MAX_POINTER_BYTES: usize = 255;

/// The members that can be hidden as a whole, each with the names that it has in responses and events.
const WORDS: [(&str, &[&str]); 6] = [
    ("payload", &["payload"]),
    ("result", &["result"]),
    ("metadata", &["metadata"]),
    ("progress", &["progress"]),
    ("log", &["log", "line"]),
    ("error", &["message", "details"]),
];

/// Members with JSON of users. Pointers apply to these. No member of the API is looked for inside.
const OF_USERS: [&str; 5] = ["payload", "result", "metadata", "progress", "details"];

/// What is hidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hide {
    /// Entries of [`WORDS`].
    words: Vec<&'static str>,
    /// The tokens of each pointer. `*` stands for every member or element.
    pointers: Vec<Vec<String>>,
}

impl Hide {
    /// Reads words and JSON pointers.
    pub fn parse(texts: &[String]) -> Result<Self, Vec<FieldError>> {
        let (mut hide, mut errors) = (Self::default(), Vec::new());
        if texts.len() > MAX_PATTERNS {
            let message = format!("must have at most {MAX_PATTERNS} entries");
            errors.push(FieldError::new("/hide", "too_long", message));
        }
        for (at, text) in texts.iter().enumerate().take(MAX_PATTERNS) {
            if let Some((word, _)) = WORDS.iter().find(|(word, _)| word == text) {
                hide.words.push(word);
            } else if let Some(tokens) = tokens(text) {
                hide.pointers.push(tokens);
            } else {
                let message = "must be payload, result, metadata, progress, log or error, or a JSON pointer such as /user/email";
                errors.push(FieldError::new(format!("/hide/{at}"), "invalid", message));
            }
        }
        if errors.is_empty() { Ok(hide) } else { Err(errors) }
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.pointers.is_empty()
    }

    /// Whether a part of payloads may be hidden.
    pub fn hides_payload(&self) -> bool {
        !self.pointers.is_empty() || self.words.contains(&"payload")
    }

    /// Whether a part of what a webhook says of the job that ended may be hidden.
    pub fn hides_end(&self) -> bool {
        !self.pointers.is_empty()
            || ["result", "metadata", "error"].iter().any(|word| self.words.contains(word))
    }

    /// Whether a part of metadata may be hidden.
    pub fn hides_metadata(&self) -> bool {
        !self.pointers.is_empty() || self.words.contains(&"metadata")
    }

    /// Whether messages of errors are hidden.
    pub fn hides_error(&self) -> bool {
        self.words.contains(&"error")
    }

    /// Whether this hides everything that `other` hides.
    pub fn covers(&self, other: &Self) -> bool {
        let is_prefix = |ours: &Vec<String>, their: &Vec<String>| {
            ours.len() <= their.len() && ours.iter().zip(their).all(|(our, their)| our == "*" || our == their)
        };
        other.words.iter().all(|word| self.words.contains(word))
            && other.pointers.iter().all(|their| self.pointers.iter().any(|our| is_prefix(our, their)))
    }

    /// The document without the hidden values. `None` if it is no JSON.
    pub fn apply(&self, document: &str) -> Option<String> {
        let raw: &RawValue = serde_json::from_str(document).ok()?;
        Some(self.of_api(raw.get()))
    }

    /// A document of the API. The payload of a job that delivers a webhook has the result, error and metadata of another job.
    fn of_api(&self, text: &str) -> String {
        let is_delivery = self.hides_end() && is_delivery(text);
        rewrite(text, &mut |name, value| match name {
            Some("filter") => self.of_filter(value),
            Some("payload") if is_delivery => hidden(value),
            Some(name) if self.is_hidden(name) => hidden(value),
            Some(name) if OF_USERS.contains(&name) => {
                self.pointers.iter().fold(value.to_owned(), |value, tokens| without(&value, tokens))
            }
            _ => self.of_api(value),
        })
    }

    /// The filter of an action or a redrive. Its conditions have values, which another caller could know and search for.
    fn of_filter(&self, text: &str) -> String {
        rewrite(text, &mut |name, value| {
            let is_hidden = match name {
                Some("payload") => self.hides_payload() || self.hides_end(),
                Some("metadata") => self.hides_metadata(),
                Some("text") => self.hides_error(),
                _ => false,
            };
            if is_hidden { hidden(value) } else { value.to_owned() }
        })
    }

    fn is_hidden(&self, name: &str) -> bool {
        WORDS.iter().any(|(word, names)| self.words.contains(word) && names.contains(&name))
    }
}

/// Whether this is a job that delivers a webhook.
fn is_delivery(text: &str) -> bool {
    // the API writes names of kinds without escapes
    if !text.contains(WEBHOOK_KIND) {
        return false;
    }
    let is_kind = |(name, value): &(String, &RawValue)| {
        name == "kind" && serde_json::from_str::<String>(value.get()).is_ok_and(|kind| kind == WEBHOOK_KIND)
    };
    serde_json::from_str(text).is_ok_and(|Members(members)| members.iter().any(is_kind))
}

/// A hidden value. That there is none stays visible.
fn hidden(value: &str) -> String {
    if value.trim() == "null" { value.to_owned() } else { HIDDEN_JSON.to_owned() }
}

/// JSON of a user without the value at a pointer.
fn without(text: &str, tokens: &[String]) -> String {
    let Some((first, rest)) = tokens.split_first() else { return hidden(text) };
    let mut at = 0_usize;
    rewrite(text, &mut |name, value| {
        let matches = first == "*" || name.map_or_else(|| *first == at.to_string(), |name| name == first);
        at += 1;
        if matches { without(value, rest) } else { value.to_owned() }
    })
}

/// Replaces the values of an object, given with their names, or of an array. Other texts stay.
fn rewrite(text: &str, value_of: &mut dyn FnMut(Option<&str>, &str) -> String) -> String {
    match text.trim_start().as_bytes().first() {
        Some(b'{') => {
            let Ok(Members(members)) = serde_json::from_str(text) else { return HIDDEN_JSON.to_owned() };
            let members = members.iter().map(|(name, value)| {
                let shown = serde_json::to_string(name).unwrap_or_default();
                format!("{shown}:{}", value_of(Some(name), value.get()))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Some(b'[') => {
            let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(text) else {
                return HIDDEN_JSON.to_owned();
            };
            let values: Vec<String> = values.iter().map(|value| value_of(None, value.get())).collect();
            format!("[{}]", values.join(","))
        }
        _ => text.to_owned(),
    }
}

/// The members of an object in their order, also those of the same name.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// The tokens of a JSON pointer (RFC 6901) that is not empty.
fn tokens(pointer: &str) -> Option<Vec<String>> {
    let is_escaped = |token: &str| token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    let rest = pointer.strip_prefix('/').filter(|_| pointer.len() <= MAX_POINTER_BYTES)?;
    let tokens =
        rest.split('/').map(|token| is_escaped(token).then(|| token.replace("~1", "/").replace("~0", "~")));
    tokens.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hide(texts: &[&str]) -> Hide {
        Hide::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn whole_members_are_hidden_wherever_the_api_has_them() {
        let before = r#"{"jobs":[{"id":1,"payload":{"a":1},"result":null,"tags":["payload"]}],"log":"x"}"#;
        let after = r#"{"jobs":[{"id":1,"payload":"[hidden]","result":null,"tags":["payload"]}],"log":"x"}"#;
        assert_eq!(hide(&["payload", "result"]).apply(before).unwrap(), after);
        let events = r#"{"attempt":1,"line":"secret"}"#;
        assert_eq!(hide(&["log"]).apply(events).unwrap(), r#"{"attempt":1,"line":"[hidden]"}"#);
        let failed =
            r#"{"error":{"type":"x","message":"m","details":{"a":1}},"payload":{"message":"stays"}}"#;
        let shown = r#"{"error":{"type":"x","message":"[hidden]","details":"[hidden]"},"payload":{"message":"stays"}}"#;
        assert_eq!(hide(&["error"]).apply(failed).unwrap(), shown);
    }

    #[test]
    fn pointers_hide_values_in_the_json_of_users_and_nothing_else() {
        let hide = hide(&["/user/email", "/list/*/n", "/list/0", "/a~1b~0"]);
        let before = r#"{"user":{"email":"kept"},"payload":{"user":{"email":"x","name": 1.0e400},"list":[{"n":1},{"n":2,"m":3}],"a/b~":7}}"#;
        let after = r#"{"user":{"email":"kept"},"payload":{"user":{"email":"[hidden]","name":1.0e400},"list":["[hidden]",{"n":"[hidden]","m":3}],"a/b~":"[hidden]"}}"#;
        assert_eq!(hide.apply(before).unwrap(), after);
    }

    #[test]
    fn neither_an_escaped_nor_a_repeated_name_shows_a_hidden_value() {
        let hide = hide(&["/email"]);
        let before = r#"{"payload":{"\u0065mail":"x","email":"y","email":["z"]},"\u0070ayload":{"email":1}}"#;
        let after = hide.apply(before).unwrap();
        assert_eq!(after.matches(HIDDEN).count(), 4, "{after}");
        assert_eq!(hide.apply(r#"{"payload":"#), None);
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert!(
            hide.apply(&format!(r#"{{"payload":{{"a":{deep},"email":5}}}}"#))
                .is_none_or(|text| !text.contains(":5"))
        );
    }

    #[test]
    fn the_payload_of_a_delivery_shows_nothing_of_the_job_that_ended() {
        let text = r#"{"jobs":[{"kind":"jobqueue.webhook","payload":{"data":{"result":"x"}}},{"kind":"k","payload":{"data":1}}]}"#;
        let shown = r#"{"jobs":[{"kind":"jobqueue.webhook","payload":"[hidden]"},{"kind":"k","payload":{"data":1}}]}"#;
        for word in ["result", "error", "metadata", "/card"] {
            assert_eq!(hide(&[word]).apply(text).unwrap(), shown, "{word}");
        }
        assert_eq!(hide(&["log"]).apply(text).unwrap(), text);
    }

    #[test]
    fn a_filter_shows_no_value_of_what_is_hidden() {
        let text = r#"{"filter":{"kind":["k"],"payload":["user.email=x"],"metadata":["m=x"],"text":"x"}}"#;
        for (word, expected) in [
            ("payload", r#"{"filter":{"kind":["k"],"payload":"[hidden]","metadata":["m=x"],"text":"x"}}"#),
            (
                "/user/email",
                r#"{"filter":{"kind":["k"],"payload":"[hidden]","metadata":"[hidden]","text":"x"}}"#,
            ),
            (
                "error",
                r#"{"filter":{"kind":["k"],"payload":"[hidden]","metadata":["m=x"],"text":"[hidden]"}}"#,
            ),
            ("log", text),
        ] {
            assert_eq!(hide(&[word]).apply(text).unwrap(), expected, "{word}");
        }
    }

    #[test]
    fn a_key_may_hide_more_but_not_less() {
        let less = hide(&["payload", "/user"]);
        assert!(less.covers(&hide(&["/user/email"])));
        assert!(!less.covers(&hide(&["/user/email", "log"])));
        assert!(!hide(&["/user/email"]).covers(&hide(&["/user"])));
    }
}
