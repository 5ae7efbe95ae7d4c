//! The fields of one span or event as JSON values. Owns their order and the limit of their size; adds no
//! field.

use serde_json::Value;
use std::fmt;
use tracing::field::{Field, Visit};

/// Longer text is truncated, because container runtimes split lines at 16 KiB and a split line is not valid
/// JSON.
const VALUE_MAX_BYTES: usize = 8 * 1024;

/// Fields in the order in which they were recorded; a name that is recorded again keeps its place.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Removes and returns a field, if it exists.
    pub(super) fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    fn set(&mut self, field: &Field, value: Value) {
        let name = field.name().strip_prefix("r#").unwrap_or(field.name());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN or infinity.
        let number = serde_json::Number::from_f64(value);
        self.set(field, number.map_or_else(|| Value::String(value.to_string()), Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::String(bounded(value.to_owned())));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        self.set(field, Value::String(bounded(text)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, Value::String(bounded(format!("{value:?}"))));
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > VALUE_MAX_BYTES {
        let bytes = text.len();
        text.truncate(text.floor_char_boundary(VALUE_MAX_BYTES));
        text = format!("{text}… (cut, {bytes} bytes)");
    }
    text
}
