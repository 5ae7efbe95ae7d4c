//! JSON that the queue does not change: it is checked once when it arrives and then kept as the text that was sent.
//!
//! It is never re-serialised, so key order, spacing and numbers such as 2^64 are preserved. See `docs/adr/0003-payload.md`.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Maximum nesting depth of arrays and objects.
pub const MAX_DEPTH: usize = 64;

/// A checked JSON text: no duplicate keys, no NUL, no lone surrogate, no number beyond f64, at most [`MAX_DEPTH`] deep.
#[derive(Clone, Debug)]
pub struct Json(Box<RawValue>);

/// Why a text was refused as JSON. The message never quotes the input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

impl Json {
    /// Checks a text from a client.
    pub fn parse(text: String) -> Result<Self, JsonError> {
        check(&text)?;
        RawValue::from_string(text).map(Self).map_err(|e| JsonError(e.to_string()))
    }

    /// Checks a value that serde deserialized as raw text.
    pub fn from_raw(raw: Box<RawValue>) -> Result<Self, JsonError> {
        check(raw.get()).map(|()| Self(raw))
    }

    /// Wraps a text from a `json` column. It was checked before it was stored, at least by Postgres.
    pub fn from_stored(text: String) -> Result<Self, JsonError> {
        RawValue::from_string(text).map(Self).map_err(|e| JsonError(e.to_string()))
    }

    /// The JSON of a Rust value.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        Self::parse(serde_json::to_string(value).map_err(|e| JsonError(e.to_string()))?)
    }

    /// The text, exactly as sent.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.as_str().len()
    }

    /// Always false, because a JSON text has at least one byte. Clippy requires it beside `len`.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether the outermost value is an object.
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }

    /// Deserializes it.
    pub fn to<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }
}

impl Default for Json {
    /// The empty object.
    fn default() -> Self {
        Self(RawValue::from_string("{}".to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_raw(Box::<RawValue>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn check(text: &str) -> Result<(), JsonError> {
    let mut de = serde_json::Deserializer::from_str(text);
    Strict(0).deserialize(&mut de).and_then(|()| de.end()).map_err(|e| JsonError(e.to_string()))
}

/// Visits a value without storing it. The number is its nesting depth.
struct Strict(usize);

impl Strict {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.0 < MAX_DEPTH {
            Ok(self.0 + 1)
        } else {
            Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(E::custom("the character U+0000 cannot be stored")) } else { Ok(()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        while seq.next_element_seed(Strict(depth))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            Strict(depth).visit_str::<A::Error>(&key)?;
            if !seen.insert(key) {
                return Err(A::Error::custom("an object has the same key twice"));
            }
            map.next_value_seed(Strict(depth))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Json, JsonError> {
        Json::parse(text.to_owned())
    }

    #[test]
    fn valid_json_is_kept_byte_for_byte() {
        for text in [
            "null",
            r#"{ "b":1 , "a" : [18446744073709551616, 0.10, 1E5, -0] }"#,
            r#""\ud83d\ude00 😀 \u00e9""#,
            &format!("{}{}", "[".repeat(64), "]".repeat(64)),
        ] {
            assert_eq!(parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn json_that_postgres_or_clients_cannot_read_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "{}{}",
            "NaN",
            "// c\n1",
            "[1,]",
            "1e400",
            r#"{"a":1,"a":2}"#,
            r#""\u0000""#,
            r#"{"\u0000":1}"#,
            r#""\ud800""#,
            r#""\udc00x""#,
            "\"\u{1}\"",
            "\u{feff}{}",
            &format!("{}{}", "[".repeat(65), "]".repeat(65)),
            &"[".repeat(100_000),
        ] {
            assert!(parse(text).is_err(), "{text:.40}");
        }
    }
}
