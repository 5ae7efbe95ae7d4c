//! One wrong field of a request, said so that its sender can mend it.

use serde::Serialize;

/// A field that was refused. A request collects all of them before it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request body, for example `/unique/key`.
    pub pointer: String,
    /// Stable machine-readable reason: `required`, `invalid`, `too_long`, `out_of_range`, `conflict`.
    pub code: &'static str,
    /// A sentence for a human; says what would be accepted. Never echoes the value.
    pub message: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }

    /// The same error, its pointer moved below `prefix` (for items of a batch).
    #[must_use]
    pub fn below(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}
