//! Names of queues, kinds, schedules, routes, API keys and remote workers, chosen by users. They appear in URLs, metric labels and logs, so they are plain ASCII.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::api_key::MAX_NAME_BYTES;

/// Maximum length of a queue name, in bytes.
pub const MAX_QUEUE_BYTES: usize = 64;
/// Maximum length of a kind name, in bytes. Long enough for Celery task paths.
pub const MAX_KIND_BYTES: usize = 128;
/// Maximum length of the name of a schedule, in bytes.
pub const MAX_SCHEDULE_BYTES: usize = 128;
/// Maximum length of the name of a route, in bytes.
pub const MAX_ROUTE_BYTES: usize = 128;
/// The name that no schedule can have, because it is a part of a path of the REST API.
const OF_SCHEDULES: &str = "preview";
/// The name that no route can have, because it is a part of a path of the REST API.
const OF_ROUTES: &str = "test";
/// The names that no API key can have, because they name callers without one.
const OF_CALLERS: [&str; 2] = ["root", "anyone"];
/// Maximum length of the name of a remote worker, in bytes. Any name of a Kubernetes pod fits.
pub const MAX_WORKER_BYTES: usize = 253;

/// Why a text is not a valid name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text has more bytes than the limit.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// The text contains a character that names must not contain.
    #[error("must start with a letter or digit and hold only letters, digits, '_', '-', '.' and ':'")]
    Alphabet,
    /// The name has another meaning.
    #[error("must not be \"{0}\", which is reserved")]
    Reserved(&'static str),
}

impl NameError {
    /// The stable code of the field error.
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "required",
            Self::TooLong(_) => "too_long",
            Self::Alphabet | Self::Reserved(_) => "invalid",
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

/// The name of a schedule, unique in the deployment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScheduleName(String);

/// The name of a route, unique in the deployment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RouteName(String);

/// The name of an API key, unique among those that are not revoked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

/// The name that a remote worker gives itself. Processes that give the same name are one worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerName(String);

fn checked(text: String, max: usize) -> Result<String, NameError> {
    let mut bytes = text.bytes();
    let first = bytes.next().ok_or(NameError::Empty)?;
    if text.len() > max {
        return Err(NameError::TooLong(max));
    }
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
    if first.is_ascii_alphanumeric() && bytes.all(inner) { Ok(text) } else { Err(NameError::Alphabet) }
}

fn checked_schedule(text: String, max: usize) -> Result<String, NameError> {
    not_reserved(checked(text, max)?, OF_SCHEDULES)
}

fn checked_route(text: String, max: usize) -> Result<String, NameError> {
    not_reserved(checked(text, max)?, OF_ROUTES)
}

fn checked_key(text: String, max: usize) -> Result<String, NameError> {
    OF_CALLERS.into_iter().try_fold(checked(text, max)?, not_reserved)
}

fn not_reserved(text: String, reserved: &'static str) -> Result<String, NameError> {
    if text == reserved { Err(NameError::Reserved(reserved)) } else { Ok(text) }
}

macro_rules! name {
    ($type:ident, $max:expr, $checked:ident) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                $checked(text, $max).map(Self)
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

name!(QueueName, MAX_QUEUE_BYTES, checked);
name!(KindName, MAX_KIND_BYTES, checked);
name!(WorkerName, MAX_WORKER_BYTES, checked);
name!(ScheduleName, MAX_SCHEDULE_BYTES, checked_schedule);
name!(RouteName, MAX_ROUTE_BYTES, checked_route);
name!(KeyName, MAX_NAME_BYTES, checked_key);

impl WorkerName {
    /// The name of the workers at this address that give none.
    pub fn unnamed(address: IpAddr) -> Self {
        Self(format!("unnamed:{}", address.to_canonical()))
    }
}

impl Default for QueueName {
    /// The queue of a job that does not name one: `default`.
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

    #[test]
    fn a_worker_without_a_name_is_named_after_its_address() {
        for (address, name) in [
            ("10.0.0.7", "unnamed:10.0.0.7"),
            ("::ffff:10.0.0.7", "unnamed:10.0.0.7"),
            ("2001:db8::1", "unnamed:2001:db8::1"),
        ] {
            let unnamed = WorkerName::unnamed(address.parse().unwrap());
            assert_eq!(unnamed.as_str(), name);
            assert_eq!(name.parse::<WorkerName>().unwrap(), unnamed);
        }
    }
}
