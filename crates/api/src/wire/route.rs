//! Routes as they are set and read.

use std::fmt;

use chrono::{DateTime, Utc};
use jobqueue_core::{FieldError, JobRoute, Json, Limits, OnEndDraft, RetryPolicy, RouteDraft, RouteName};
use jobqueue_store::RouteRecord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::job::EnqueueBody;
use super::patch::{MergePatch, Patched};
use crate::extract::Wire;
use crate::problem::Problem;

/// A route: which kinds it is for, and the defaults of their jobs. A field that is left out sets no default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteBody {
    /// Place in the order in which routes are tried, the lowest first; at the same position by name. Only the first match counts.
    #[schema(required = true, value_type = i64, minimum = -1_000_000, maximum = 1_000_000, example = 10)]
    position: Option<i64>,
    /// Pattern for kinds: `*` stands for any characters, also none, and `?` for one.
    #[schema(required = true, value_type = String, example = "mail.*", min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:*?-]*$")]
    kind: Option<String>,
    /// Default queue.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$", example = "mail")]
    queue: Option<String>,
    /// Default priority, -100 to 100.
    #[schema(minimum = -100, maximum = 100)]
    priority: Option<i64>,
    /// Default number of attempts, 1 to 1000.
    #[schema(minimum = 1, maximum = 1000)]
    max_attempts: Option<i64>,
    /// Default retry policy.
    #[schema(value_type = Option<super::retry::RetryPolicyBody>)]
    retry: Option<RetryPolicy>,
    /// Default time limit of one attempt in seconds, up to a week.
    #[schema(minimum = 0.001, maximum = 604_800)]
    timeout_seconds: Option<f64>,
    /// Default time in seconds after which the handler is warned. Below `timeout_seconds`.
    #[schema(minimum = 0.001, maximum = 604_800)]
    soft_timeout_seconds: Option<f64>,
    /// Default expiry: seconds after the first possible start, after which the job is cancelled instead of started.
    #[schema(minimum = 0.001, maximum = 3_153_600_000_u64)]
    expires_after_seconds: Option<f64>,
    /// Default labels, for jobs that are submitted without `tags`.
    #[serde(default)]
    #[schema(value_type = Vec<super::name::TagText>, max_items = 20)]
    tags: Vec<String>,
    /// Default webhook for the end of the job.
    on_end: Option<RouteOnEndBody>,
    /// The file or program that manages the route; the list can be filtered by it.
    #[schema(min_length = 1, max_length = 255)]
    owner: Option<String>,
    /// A note for people.
    #[schema(min_length = 1, max_length = 1024)]
    description: Option<String>,
}

impl Wire for RouteBody {}

/// A merge patch of a route.
pub(crate) type RoutePatch = MergePatch<RouteBody>;

impl Patched for RouteBody {
    const FIELDS: &'static [&'static str] = &RouteDraft::FIELDS;
}

/// A webhook for the end of jobs.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RouteOnEndBody {
    /// `http` or `https` URL that gets the webhook.
    #[schema(required = true, value_type = String, min_length = 1, max_length = 2048, example = "https://hooks.example.com/jobs")]
    url: Option<String>,
    /// One to four `whsec_…` secrets, separated by a space, the newest first. Each signs. It is never shown.
    #[schema(min_length = 1, max_length = 512)]
    secret: Option<String>,
    /// Instead of `secret`, what a GET shows: the secret stays as it is.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    secret_id: Option<i64>,
    /// Queue of the job that delivers the webhook. Default: that of the job that ends.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
    queue: Option<String>,
}

impl RouteOnEndBody {
    fn into_draft(self) -> OnEndDraft {
        let Self { url, secret, secret_id, queue } = self;
        OnEndDraft { url: url.unwrap_or_default(), secret, queue, secret_id }
    }
}

impl fmt::Debug for RouteOnEndBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteOnEndBody").field("url", &self.url).finish_non_exhaustive()
    }
}

impl RouteBody {
    /// The draft, if it passes the checks of the core.
    pub(crate) fn checked(self, name: &RouteName, limits: &Limits) -> Result<RouteDraft, Problem> {
        let draft = RouteDraft {
            position: self.position,
            kind: self.kind.unwrap_or_default(),
            queue: self.queue,
            priority: self.priority,
            max_attempts: self.max_attempts,
            retry: self.retry,
            timeout_seconds: self.timeout_seconds,
            soft_timeout_seconds: self.soft_timeout_seconds,
            expires_after_seconds: self.expires_after_seconds,
            tags: self.tags,
            on_end: self.on_end.map(RouteOnEndBody::into_draft),
            owner: self.owner,
            description: self.description,
        };
        let problem = |errors: Vec<FieldError>| Problem::fields(&errors);
        JobRoute::parse(name, &draft, limits).map(|_| draft).map_err(problem)
    }
}

/// A route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
pub(crate) struct RouteView {
    /// Name of the route.
    name: String,
    /// Counts what users change, from 1. The `ETag` has it too.
    version: i64,
    /// Place in the order in which routes are tried, from the spec.
    position: i32,
    /// What manages it, from the spec.
    owner: Option<String>,
    /// Everything that was set, as a PUT takes it. Absent fields set no default.
    #[schema(value_type = RouteBody)]
    spec: Json,
    /// Why it is not applied; `null` if it is. Only a change by hand in the database can make it invalid.
    error: Option<String>,
    /// When it was created.
    created_at: DateTime<Utc>,
    /// When it was last changed.
    changed_at: DateTime<Utc>,
}

impl From<RouteRecord> for RouteView {
    fn from(record: RouteRecord) -> Self {
        Self {
            error: record.parsed().err(),
            name: record.name.into(),
            version: record.version,
            position: record.position,
            owner: record.owner,
            spec: record.spec,
            created_at: record.created_at,
            changed_at: record.changed_at,
        }
    }
}

/// A page of routes, in the order in which they are tried.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoutesView {
    /// The routes, in the order in which they are tried.
    pub(crate) routes: Vec<RouteView>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// Result of the deletion of a route.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnroutedView {
    /// Whether this request deleted the route. `false`: there was none of this name.
    pub(crate) deleted: bool,
}

/// The name of a field of a submission.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 32)]
#[expect(dead_code, reason = "describes a text of the route's answer")]
struct FilledField(String);

/// What routes make of a submission.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteTestView {
    /// The route that matched; `null`: none.
    pub(crate) route: Option<String>,
    /// The fields that the route filled.
    #[schema(value_type = Vec<FilledField>)]
    pub(crate) filled: Vec<&'static str>,
    /// The submission as it would be stored.
    #[schema(value_type = EnqueueBody)]
    pub(crate) job: Json,
}
