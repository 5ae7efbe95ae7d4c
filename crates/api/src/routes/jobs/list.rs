//! GET /v1/jobs: a page of what matches.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_core::{JobId, Status};
use jobqueue_store::JobFilter;

use crate::extract::Query;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wire::job::JobView;
use crate::wire::list::PageView;

const DEFAULT_PAGE: u32 = 50;

/// List jobs, newest first.
///
/// A parameter that is repeated matches any of its values, except `tag`: all tags must be there.
#[utoipa::path(get, path = "/v1/jobs", operation_id = "list_jobs", tag = "jobs",
    params(
        ("status" = Option<Vec<crate::wire::job::StatusWord>>, Query, description = "In one of these"),
        ("queue" = Option<Vec<String>>, Query, description = "In one of these"),
        ("kind" = Option<Vec<String>>, Query, description = "Of one of these"),
        ("tag" = Option<Vec<String>>, Query, description = "With all of these"),
        ("created_after" = Option<String>, Query, description = "Submitted at or after (RFC 3339)"),
        ("created_before" = Option<String>, Query, description = "Submitted before (RFC 3339)"),
        ("limit" = Option<u32>, Query, description = "1 to 1000; default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = PageView)))]
pub(crate) async fn list(State(state): State<ApiState>, query: Query) -> Result<Json<PageView>, Problem> {
    let (filter, after, limit) = read(&state, query)?;
    let page = state.store(move |store| async move { store.list(&filter, after, limit).await }).await?;
    let next_cursor = page.next.map(|after| state.cursors.seal(after));
    Ok(Json(PageView { jobs: page.jobs.into_iter().map(JobView::from).collect(), next_cursor }))
}

fn read(state: &ApiState, mut query: Query) -> Result<(JobFilter, Option<JobId>, u32), Problem> {
    let filter = JobFilter {
        statuses: query.all::<Status>("status")?,
        queues: query.all("queue")?,
        kinds: query.all("kind")?,
        tags: tags(query.all("tag")?)?,
        created_after: moment(&mut query, "created_after")?,
        created_before: moment(&mut query, "created_before")?,
    };
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let after = query.one::<String>("cursor")?.map(|text| state.cursors.open(&text)).transpose()?;
    query.finish()?;
    Ok((filter, after, limit))
}

fn tags(tags: Vec<String>) -> Result<Vec<String>, Problem> {
    if tags.iter().any(|tag| tag.contains('\0')) {
        return Err(Problem::parameter("tag", "must not hold U+0000"));
    }
    Ok(tags)
}

fn moment(query: &mut Query, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    let Some(text) = query.one::<String>(name)? else { return Ok(None) };
    // an unescaped `+` of an offset arrives as a space
    let refuse = || Problem::parameter(name, "must be an RFC 3339 moment such as 2027-01-31T09:00:00Z");
    crate::wire::moment(&text.replace(' ', "+")).map(Some).ok_or_else(refuse)
}
