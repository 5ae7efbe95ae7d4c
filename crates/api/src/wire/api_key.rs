//! API keys as they are set and read. The text of a key is in one answer only: that of its creation or rotation.

use std::fmt;

use chrono::{DateTime, Utc};
use jobqueue_core::api_key::RateDraft;
use jobqueue_core::time::{TIMESTAMP_RULE, timestamp};
use jobqueue_core::{ApiKeyDraft, FieldError, KeyName, KeyText};
use jobqueue_store::{ApiKeyEdit, ApiKeyRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::present;
use crate::extract::Wire;

/// Longest overlap of a rotation: 30 days.
const MAX_OVERLAP_SECONDS: f64 = 2_592_000.0;
/// The overlap of a rotation that does not say: a day.
const OVERLAP_SECONDS: f64 = 86_400.0;

/// A new key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiKeyBody {
    /// Name of the key. No two keys that are not revoked have the same.
    #[schema(value_type = super::name::KeyNameText)]
    name: KeyName,
    /// The routes that the key may call. A scope includes no other.
    #[schema(required = true, value_type = Vec<KeyScopeWord>, min_items = 1)]
    #[serde(default)]
    scopes: Vec<String>,
    /// Patterns for queues, with `*` and `?`; default: all queues.
    #[schema(value_type = Option<Vec<super::name::GlobText>>, min_items = 1, max_items = 100)]
    queues: Option<Vec<String>>,
    /// Patterns for kinds; default: all kinds.
    #[schema(value_type = Option<Vec<super::name::GlobText>>, min_items = 1, max_items = 100)]
    kinds: Option<Vec<String>>,
    /// What responses show as `[hidden]`: `payload`, `result`, `metadata`, `progress`, `log`, `error`, and JSON pointers such as `/user/email`
    /// into payloads, results, metadata, progress and details of errors. `*` in a pointer stands for every member or element.
    #[serde(default)]
    #[schema(value_type = Vec<super::name::HiddenText>, max_items = 100, required = false)]
    hide: Vec<String>,
    /// Most requests, counted by each API process for itself; default: no limit.
    rate: Option<RateBody>,
    /// From when on the key is not accepted (RFC 3339); default: never.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The file or program that manages the key.
    #[schema(min_length = 1, max_length = 255)]
    owner: Option<String>,
    /// A note for people.
    #[schema(min_length = 1, max_length = 1024)]
    description: Option<String>,
}

impl Wire for ApiKeyBody {}

/// A rate of requests.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyRate)]
pub(crate) struct RateBody {
    /// Number of requests in a period. So many may come at once.
    #[schema(required = true, value_type = i64, minimum = 1, maximum = 1_000_000)]
    requests: Option<i64>,
    /// Length of the period in seconds.
    #[schema(required = true, value_type = i64, minimum = 1, maximum = 86_400)]
    per_seconds: Option<i64>,
}

/// The name of a scope.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Scope)]
#[expect(dead_code, reason = "describes words of the core")]
pub(crate) enum KeyScopeWord {
    /// Read jobs, queues and statistics.
    Read,
    /// Submit jobs, and act on single jobs.
    Write,
    /// Act on queues and on many jobs at once, and manage keys.
    Admin,
    /// Lease jobs and settle them.
    Worker,
}

impl ApiKeyBody {
    /// Name, what it may do, and expiry, unchecked except for the timestamp.
    pub(crate) fn into_draft(self) -> Result<(KeyName, ApiKeyDraft, Option<DateTime<Utc>>), FieldError> {
        let Self { name, scopes, queues, kinds, hide, rate, expires_at, owner, description } = self;
        let expires_at = expires_at.as_deref().map(instant).transpose()?;
        let rate = rate.map(draft);
        Ok((name, ApiKeyDraft { scopes, queues, kinds, hide, rate, owner, description }, expires_at))
    }
}

/// What changes on a key. A field that is left out stays as it is; `null` sets it back to its default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::option_option, reason = "absent, null and a value have three meanings")]
pub(crate) struct ApiKeyPatch {
    /// New name.
    #[schema(value_type = Option<super::name::KeyNameText>)]
    name: Option<KeyName>,
    /// New scopes.
    #[schema(value_type = Option<Vec<KeyScopeWord>>, min_items = 1)]
    scopes: Option<Vec<String>>,
    /// New patterns for queues.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Vec<super::name::GlobText>>, min_items = 1, max_items = 100)]
    queues: Option<Option<Vec<String>>>,
    /// New patterns for kinds.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Vec<super::name::GlobText>>, min_items = 1, max_items = 100)]
    kinds: Option<Option<Vec<String>>>,
    /// What responses show as `[hidden]`.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<Vec<super::name::HiddenText>>, max_items = 100)]
    hide: Option<Option<Vec<String>>>,
    /// New rate.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<RateBody>)]
    rate: Option<Option<RateBody>>,
    /// New expiry (RFC 3339).
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<String>>,
    /// New owner.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    owner: Option<Option<String>>,
    /// New note.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1024)]
    description: Option<Option<String>>,
}

impl Wire for ApiKeyPatch {}

impl ApiKeyPatch {
    /// What changes on the key as it was read.
    pub(crate) fn apply(self, before: &ApiKeyRecord) -> Result<ApiKeyEdit, FieldError> {
        let (version, before) = (before.version, before.spec.clone());
        let spec = ApiKeyDraft {
            scopes: self.scopes.unwrap_or(before.scopes),
            queues: self.queues.unwrap_or(before.queues),
            kinds: self.kinds.unwrap_or(before.kinds),
            hide: self.hide.map_or(before.hide, Option::unwrap_or_default),
            rate: self.rate.map_or(before.rate, |rate| rate.map(draft)),
            owner: self.owner.unwrap_or(before.owner),
            description: self.description.unwrap_or(before.description),
        };
        let expires_at = self.expires_at.map(|at| at.as_deref().map(instant).transpose()).transpose()?;
        Ok(ApiKeyEdit { version, name: self.name, spec: Some(spec), expires_at })
    }
}

/// A rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RotateBody {
    /// How many seconds longer the text before is accepted, 0 to 30 days; default a day. With 0 it ends at once.
    #[schema(minimum = 0, maximum = 2_592_000)]
    overlap_seconds: Option<f64>,
}

impl Wire for RotateBody {
    fn absent() -> Option<Self> {
        Some(Self::default())
    }
}

impl RotateBody {
    pub(crate) fn overlap(&self) -> Result<std::time::Duration, FieldError> {
        let seconds = self.overlap_seconds.unwrap_or(OVERLAP_SECONDS);
        let valid = Some(seconds).filter(|seconds| (0.0..=MAX_OVERLAP_SECONDS).contains(seconds));
        let refuse = || FieldError::new("/overlap_seconds", "out_of_range", "must be between 0 and 2592000");
        valid.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok()).ok_or_else(refuse)
    }
}

/// A key, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct ApiKeyView {
    /// Its id, the second part of its text.
    id: String,
    /// Its name.
    name: String,
    /// Counts what users change, from 1.
    version: i64,
    /// The routes that it may call.
    #[schema(value_type = Vec<KeyScopeWord>)]
    scopes: Vec<String>,
    /// Patterns for queues; `null`: all queues.
    #[schema(value_type = Option<Vec<super::name::GlobText>>)]
    queues: Option<Vec<String>>,
    /// Patterns for kinds; `null`: all kinds.
    #[schema(value_type = Option<Vec<super::name::GlobText>>)]
    kinds: Option<Vec<String>>,
    /// What responses show as `[hidden]`.
    #[schema(value_type = Vec<super::name::HiddenText>)]
    hide: Vec<String>,
    /// Most requests; `null`: no limit.
    rate: Option<RateBody>,
    /// From when on it is not accepted; `null`: never.
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked; `null`: it is not.
    revoked_at: Option<DateTime<Utc>>,
    /// Until when the text before the last rotation is accepted; `null`: it was not rotated.
    previous_until: Option<DateTime<Utc>>,
    /// When it was last used, exact to about a minute; `null`: never.
    last_used_at: Option<DateTime<Utc>>,
    /// What manages it.
    owner: Option<String>,
    /// A note for people.
    description: Option<String>,
    /// Who created it: `root`, `anyone`, `key:` with the id of a key, or `user:` with a name.
    created_by: String,
    /// When it was created.
    created_at: DateTime<Utc>,
    /// When it was last changed.
    changed_at: DateTime<Utc>,
}

impl From<ApiKeyRecord> for ApiKeyView {
    fn from(record: ApiKeyRecord) -> Self {
        let spec = record.spec;
        let rate = |RateDraft { requests, per_seconds }| RateBody { requests, per_seconds };
        Self {
            id: record.id.to_string(),
            name: record.name.into(),
            version: record.version,
            scopes: spec.scopes,
            queues: spec.queues,
            kinds: spec.kinds,
            hide: spec.hide,
            rate: spec.rate.map(rate),
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            previous_until: record.previous_until,
            last_used_at: record.last_used_at,
            owner: spec.owner,
            description: spec.description,
            created_by: record.created_by,
            created_at: record.created_at,
            changed_at: record.changed_at,
        }
    }
}

/// A key with its text, which is shown only here.
#[derive(Serialize, ToSchema)]
#[schema(as = NewApiKey)]
pub(crate) struct ApiKeyWithText {
    #[serde(flatten)]
    pub(crate) view: ApiKeyView,
    /// What its holder sends as `Authorization: Bearer …`. Only a hash is stored, so it cannot be shown again.
    #[schema(value_type = String)]
    #[serde(serialize_with = "exposed")]
    pub(crate) key: KeyText,
}

impl fmt::Debug for ApiKeyWithText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyWithText").field("view", &self.view).finish_non_exhaustive()
    }
}

/// A page of keys, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeysView {
    /// The keys, by name.
    pub(crate) api_keys: Vec<ApiKeyView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

fn exposed<S: serde::Serializer>(key: &KeyText, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose())
}

fn draft(RateBody { requests, per_seconds }: RateBody) -> RateDraft {
    RateDraft { requests, per_seconds }
}

fn instant(text: &str) -> Result<DateTime<Utc>, FieldError> {
    timestamp(text).ok_or_else(|| FieldError::new("/expires_at", "invalid", TIMESTAMP_RULE))
}
