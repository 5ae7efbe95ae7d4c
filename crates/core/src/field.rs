//! An error of one field of a request, with what its sender needs to fix it.

use serde::Serialize;

/// A field that was refused. The answer to a request lists all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request body, for example `/unique/key`.
    pub pointer: String,
    /// Stable, machine-readable reason: `required`, `invalid`, `too_long`, `out_of_range`, `conflict`.
    pub code: &'static str,
    /// What would be accepted, for a human reader. It never repeats the value.
    pub message: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }

    /// The same error with `prefix` before its pointer, for an item of a batch.
    #[must_use]
    pub fn below(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}
