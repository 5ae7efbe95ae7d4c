//! Names that users choose: queues and kinds. They stand in URLs, metric labels and logs, so they are plain ASCII.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest queue name, in bytes.
pub const MAX_QUEUE_BYTES: usize = 64;
/// Longest kind name, in bytes; Celery task paths fit.
pub const MAX_KIND_BYTES: usize = 128;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// More bytes than the limit.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// A character outside the alphabet.
    #[error("must start with a letter or digit and hold only letters, digits, '_', '-', '.' and ':'")]
    Alphabet,
}

impl NameError {
    /// The stable code that a field error carries.
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "required",
            Self::TooLong(_) => "too_long",
            Self::Alphabet => "invalid",
        }
    }
}

/// A named line of jobs that workers subscribe to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(String);

/// The type of a job's work: decides which handler runs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KindName(String);

fn checked(text: String, max: usize) -> Result<String, NameError> {
    let mut bytes = text.bytes();
    let first = bytes.next().ok_or(NameError::Empty)?;
    if text.len() > max {
        return Err(NameError::TooLong(max));
    }
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
    if first.is_ascii_alphanumeric() && bytes.all(inner) { Ok(text) } else { Err(NameError::Alphabet) }
}

macro_rules! name {
    ($type:ident, $max:expr) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                checked(text, $max).map(Self)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(QueueName, MAX_QUEUE_BYTES);
name!(KindName, MAX_KIND_BYTES);

impl Default for QueueName {
    /// The queue of a job that names none: `default`.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_bounded() {
        for good in ["default", "a", "0", "app.tasks.send_email", "tenant:42", &"q".repeat(64)] {
            assert!(good.parse::<QueueName>().is_ok(), "{good}");
        }
        for bad in
            ["", " ", "a b", "a/b", "a'b", "a\"b", "ü", "a\0", "-a", ".", "a\u{202e}b", &"q".repeat(65)]
        {
            assert!(bad.parse::<QueueName>().is_err(), "{bad:?}");
        }
        assert!("k".repeat(128).parse::<KindName>().is_ok());
        assert!("k".repeat(129).parse::<KindName>().is_err());
    }
}
