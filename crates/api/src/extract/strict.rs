//! Strict JSON into wire types. Owns the difference between malformed (400) and wrong (422), and the JSON pointers.

use std::fmt;
use std::marker::PhantomData;

use jobqueue_core::FieldError;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_path_to_error::Path;

use crate::problem::{Kind, Problem};

/// Longest text of serde that is handed on: it may quote the input.
const MESSAGE_CHARS: usize = 200;

/// Why a text is not the wanted type.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Not JSON, or JSON that readers disagree about: 400.
    Malformed(String),
    /// JSON of another shape: 422.
    Wrong(FieldError),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(detail) => Self::new(Kind::InvalidJson, detail),
            Refusal::Wrong(error) => Self::fields(&[error]),
        }
    }
}

/// Reads one JSON object and nothing after it.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value =
        serde_path_to_error::deserialize::<_, Object<T>>(&mut json).map_err(|error| refusal(&error))?;
    json.end().map_err(|error| Refusal::Malformed(error.to_string()))?;
    Ok(value.0)
}

/// A struct that is written as an object. serde's own structs can be written as arrays too, which nobody means.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

fn refusal(error: &serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    let message = error.inner().to_string();
    // a key twice: parsers disagree about which one counts
    let twice = message.contains("duplicate field") || message.contains("same key twice");
    if error.inner().classify() != Category::Data || twice {
        return Refusal::Malformed(cut(&message));
    }
    let mut pointer = pointer(error.path());
    let named = |prefix: &str| {
        let rest = message.strip_prefix(prefix)?;
        rest.split_once('`').map(|(name, _)| format!("/{}", escape(name)))
    };
    let code = if let Some(name) = named("unknown field `") {
        if !pointer.ends_with(&name) {
            pointer.push_str(&name);
        }
        "unknown"
    } else if let Some(name) = named("missing field `") {
        pointer.push_str(&name);
        "required"
    } else {
        "invalid"
    };
    let message = message.split(" at line ").next().unwrap_or_default();
    Refusal::Wrong(FieldError::new(pointer, code, cut(message)))
}

fn pointer(path: &Path) -> String {
    let step = |text: String| {
        let index = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        format!("/{}", index.map_or_else(|| escape(&text), ToOwned::to_owned))
    };
    // `?` stands for what cannot be named
    path.iter().map(ToString::to_string).filter(|text| text != "?").map(step).collect()
}

fn escape(key: &str) -> String {
    head(key).replace('~', "~0").replace('/', "~1")
}

fn cut(text: &str) -> String {
    let head = head(text);
    if head.len() < text.len() { format!("{head}…") } else { head.to_owned() }
}

fn head(text: &str) -> &str {
    let end = text.char_indices().nth(MESSAGE_CHARS).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_where_a_character_ends() {
        assert_eq!(cut(&"ä".repeat(MESSAGE_CHARS)), "ä".repeat(MESSAGE_CHARS));
        assert_eq!(cut(&"ä".repeat(MESSAGE_CHARS + 1)), format!("{}…", "ä".repeat(MESSAGE_CHARS)));
        assert_eq!(escape(&"~".repeat(MESSAGE_CHARS + 1)), "~0".repeat(MESSAGE_CHARS), "an escape is whole");
    }
}
