//! Names and tags in the API document. The core parses the real ones.

use utoipa::ToSchema;

/// The name of a queue: letters, digits, `_`, `-`, `.` and `:`.
#[derive(ToSchema)]
#[schema(as = QueueName, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) struct QueueText(String);

/// The name of a schedule: letters, digits, `_`, `-`, `.` and `:`.
#[derive(ToSchema)]
#[schema(as = ScheduleName, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) struct ScheduleText(String);

/// The name of a route: letters, digits, `_`, `-`, `.` and `:`.
#[derive(ToSchema)]
#[schema(as = RouteName, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) struct RouteText(String);

/// The name of an API key: letters, digits, `_`, `-`, `.` and `:`; not `root` or `anyone`.
#[derive(ToSchema)]
#[schema(as = KeyName, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) struct KeyNameText(String);

/// The id of an API key.
#[derive(ToSchema)]
#[schema(as = KeyId, pattern = "^[0-9a-f]{16}$")]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) struct KeyIdText(String);

/// A pattern for names: `*` stands for any characters, also none, and `?` for one.
#[derive(ToSchema)]
#[schema(as = Glob, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:*?-]*$")]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) struct GlobText(String);

/// A hidden member of responses, or a JSON pointer to a hidden value.
#[derive(ToSchema)]
#[schema(as = Hidden, max_length = 255, pattern = "^(payload|result|metadata|progress|log|error|(/([^/~]|~[01])*)+)$")]
#[expect(dead_code, reason = "describes a text that the core checks")]
pub(crate) struct HiddenText(String);

/// The kind of a job: letters, digits, `_`, `-`, `.` and `:`.
#[derive(ToSchema)]
#[schema(as = KindName, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
#[expect(dead_code, reason = "describes a type of another crate, which has no schema of its own")]
pub(crate) struct KindText(String);

/// A label of a job.
#[derive(ToSchema)]
#[schema(as = Tag, min_length = 1, max_length = 64)]
#[expect(dead_code, reason = "describes a text that the core checks")]
pub(crate) struct TagText(String);

/// A label to filter by: any text without U+0000.
#[derive(ToSchema)]
#[schema(as = TagFilter, pattern = r"^[^\u0000]*$")]
#[expect(dead_code, reason = "describes a text that the store compares")]
pub(crate) struct TagFilterText(String);

/// A condition on the metadata: a path, `=` and a value, such as `team=billing`, `owner.team=billing` or `/a.b/c=1`.
#[derive(ToSchema)]
#[schema(as = MetadataTerm, min_length = 2, max_length = 1024, pattern = r"^[^=\u0000]+=[^\u0000]*$")]
#[expect(dead_code, reason = "describes a text that the core checks")]
pub(crate) struct MetadataText(String);

/// A delay in seconds, up to a week.
#[derive(ToSchema)]
#[schema(as = DelaySeconds, minimum = 0, maximum = 604_800)]
#[expect(dead_code, reason = "describes a number that the core checks")]
pub(crate) struct DelayNumber(f64);
