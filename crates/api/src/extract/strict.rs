//! Parses JSON strictly into wire types. Owns the difference between malformed (400) and invalid (422), and the JSON pointers
//! in errors.

use jobqueue_core::FieldError;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::Path;

use super::shape::Shape;
use crate::problem::{Problem, ProblemKind};

/// The longest message of serde that is returned. It may quote the input.
const MESSAGE_CHARS: usize = 200;

/// Why a text is not a value of the expected type.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Not JSON, or JSON that parsers interpret differently: 400.
    Malformed(String),
    /// JSON that is not a value of the type: 422.
    Wrong(FieldError),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(detail) => Self::new(ProblemKind::InvalidJson, detail),
            Refusal::Wrong(error) => Self::fields(&[error]),
        }
    }
}

/// Reads one JSON value in the shape of `T`, and nothing after it.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(Shape::new(&mut json)).map_err(|error| refusal(&error))?;
    json.end().map_err(|error| Refusal::Malformed(error.to_string()))?;
    Ok(value)
}

fn refusal(error: &serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    let message = error.inner().to_string();
    // a duplicate key: parsers disagree about which value counts
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
    // serde writes `?` for a part of the path that has no name
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
