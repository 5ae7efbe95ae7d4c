//! GET /v1/jobs/count: how many jobs match.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_COUNT;
use tokio::time::Instant;

use super::filter;
use crate::extract::Query;
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::edit::CountView;
use crate::wire::job::StatusWord;
use crate::wire::name::{KindText, MetadataText, QueueText, TagFilterText};

/// The query parameters.
pub(crate) const PARAMETERS: &[&str] = &[
    "status",
    "queue",
    "kind",
    "tag",
    "created_after",
    "created_before",
    "finished_after",
    "finished_before",
    "error_type",
    "unique_key",
    "metadata",
    "payload",
    "retrying",
    "limit",
];
/// After this time no further store call starts.
const LAST_STEP_AFTER: Duration = Duration::from_secs(5);

/// Count jobs.
///
/// The parameters are those of the list. The count is exact up to `limit`; beyond that, `exact` is `false` and `count` is `limit`. So the
/// work is bounded however many jobs there are. For the totals of queues, which the reaper counts, see `/v1/queues` and `/v1/stats`.
#[utoipa::path(get, path = "/v1/jobs/count", operation_id = "count_jobs", tag = "jobs",
    params(
        ("status" = Option<Vec<StatusWord>>, Query, description = "Only jobs with one of these values"),
        ("queue" = Option<Vec<QueueText>>, Query, description = "Only jobs with one of these values"),
        ("kind" = Option<Vec<KindText>>, Query, description = "Only jobs of one of these kinds"),
        ("tag" = Option<Vec<TagFilterText>>, Query, description = "Only jobs with all of these tags"),
        ("created_after" = Option<String>, Query, format = DateTime, description = "Submitted at or after (RFC 3339)"),
        ("created_before" = Option<String>, Query, format = DateTime, description = "Submitted before (RFC 3339)"),
        ("finished_after" = Option<String>, Query, format = DateTime, description = "Became final at or after (RFC 3339)"),
        ("finished_before" = Option<String>, Query, format = DateTime, description = "Became final before (RFC 3339)"),
        ("error_type" = Option<Vec<TagFilterText>>, Query, description = "Failed or cancelled with an error of one of these types"),
        ("unique_key" = Option<Vec<TagFilterText>>, Query, description = "Only jobs with one of these unique keys, in any scope"),
        ("metadata" = Option<Vec<MetadataText>>, Query, description = "Only jobs whose metadata meets all of these conditions"),
        ("payload" = Option<Vec<MetadataText>>, Query, description = "Only jobs whose payload meets all of these conditions"),
        ("retrying" = Option<bool>, Query, description = "`true`: only jobs that have failed before and wait for their next attempt"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "Count up to so many, 1 to 10000; default 10000"),
    ),
    responses((status = 200, description = "The number", body = CountView)))]
pub(crate) async fn count(
    State(store): State<StoreAccess>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<CountView>, Problem> {
    let filter = filter::read(&mut query)?;
    let limit = query.number("limit", MAX_COUNT, (1, MAX_COUNT))?;
    let Some(filter) = limits::jobs(&store, caller.grant(), filter).await? else {
        return Ok(Json(CountView { count: 0, exact: true }));
    };
    let last_step = Instant::now() + LAST_STEP_AFTER;
    let (mut count, mut after) = (0, None);
    loop {
        let (filter, left) = (filter.clone(), limit - count);
        let found = store.call(move |store| async move { store.find(&filter, after, left).await }).await?;
        count += u32::try_from(found.ids.len()).unwrap_or(left);
        after = found.next;
        if after.is_none() || count >= limit || Instant::now() >= last_step {
            return Ok(Json(CountView { count, exact: after.is_none() }));
        }
    }
}
