//! A route as its user sent it.

use serde::{Deserialize, Serialize};

use crate::on_end::OnEndDraft;
use crate::retry::RetryPolicy;

/// A route as the user sent it, unchecked. It is stored in this form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteDraft {
    /// Place in the order in which routes are tried, the lowest first; required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// Pattern for kinds, with `*` and `?`; required.
    pub kind: String,
    /// Default queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Default priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Default maximum number of attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i64>,
    /// Default retry policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Default time limit of one attempt, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Default time after which the handler is warned, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_timeout_seconds: Option<f64>,
    /// Default expiry, in seconds after the first possible start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_after_seconds: Option<f64>,
    /// Default labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Default webhook for the end of the job. Its secret is stored apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_end: Option<OnEndDraft>,
    /// The file or program that manages the route; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// A note for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl RouteDraft {
    /// The names of its fields.
    pub const FIELDS: [&'static str; 13] = [
        "position",
        "kind",
        "queue",
        "priority",
        "max_attempts",
        "retry",
        "timeout_seconds",
        "soft_timeout_seconds",
        "expires_after_seconds",
        "tags",
        "on_end",
        "owner",
        "description",
    ];
}
