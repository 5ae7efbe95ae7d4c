//! Who makes the changes of a store. Owns how the database is informed of it; `verbs::audit` and triggers record the changes.

use std::fmt::Write as _;

use serde::Serialize;

/// A caller of the API, and the request in which it changes something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// Its name.
    pub name: String,
    /// The id of its API key, if the key has one.
    pub key_id: Option<String>,
    /// The id of its request.
    pub request_id: String,
    /// The filter of its request, a JSON text, if it names what to change by one.
    pub filter: Option<String>,
}

/// The same, as the transactions need it.
#[derive(Debug)]
pub(crate) struct ActingAs {
    setting: String,
    filter: Option<String>,
}

/// What `jobqueue.audit` reads of the setting `jobqueue.actor`.
#[derive(Serialize)]
struct Setting<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    request_id: &'a str,
}

impl ActingAs {
    pub(crate) fn new(actor: &Actor) -> Self {
        let setting =
            Setting { name: &actor.name, key_id: actor.key_id.as_deref(), request_id: &actor.request_id };
        // texts always serialize
        let text = serde_json::to_vec(&setting).unwrap_or_default();
        let mut statement = "SET LOCAL jobqueue.actor = '".to_owned();
        for byte in text {
            // writing to a string cannot fail
            let _ = write!(statement, "{byte:02x}");
        }
        statement.push('\'');
        Self { setting: statement, filter: actor.filter.clone() }
    }

    /// The statement that sets the actor of a transaction, to be sent right after BEGIN. Digits need no quoting.
    pub(crate) fn setting(&self) -> &str {
        &self.setting
    }

    /// The filter of the request.
    pub(crate) fn filter(&self) -> Option<&str> {
        self.filter.as_deref()
    }
}
