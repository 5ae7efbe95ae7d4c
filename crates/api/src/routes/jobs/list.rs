//! GET /v1/jobs: a page of what matches.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_core::{JobId, JobRecord, Json as RawJson, Status};
use jobqueue_store::JobFilter;
use tokio::time::Instant;

use crate::extract::Query;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::wire::job::JobView;
use crate::wire::list::PageView;

const DEFAULT_PAGE: u32 = 50;
/// A page ends before the job that would take it beyond this much JSON, about.
pub(super) const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// What a job takes at most besides its large parts, about.
const JOB_BYTES: usize = 1024;
/// After this time no further step begins: with the longest call the request is still answered within 30 s.
const LAST_STEP_AFTER: Duration = Duration::from_secs(5);

/// List jobs, newest first.
///
/// A parameter that is repeated matches any of its values, except `tag`: all tags must be there. A page may hold fewer jobs
/// than `limit`, because it ends at about 4 MiB of JSON (with at least one job): only `next_cursor` tells whether there are
/// more.
#[utoipa::path(get, path = "/v1/jobs", operation_id = "list_jobs", tag = "jobs",
    params(
        ("status" = Option<Vec<crate::wire::job::StatusWord>>, Query, description = "In one of these"),
        ("queue" = Option<Vec<String>>, Query, description = "In one of these"),
        ("kind" = Option<Vec<String>>, Query, description = "Of one of these"),
        ("tag" = Option<Vec<String>>, Query, description = "With all of these"),
        ("created_after" = Option<String>, Query, description = "Submitted at or after (RFC 3339)"),
        ("created_before" = Option<String>, Query, description = "Submitted before (RFC 3339)"),
        ("limit" = Option<u32>, Query, description = "Most jobs of the page, 1 to 1000; default 50"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = PageView)))]
pub(crate) async fn list(State(state): State<ApiState>, query: Query) -> Result<Json<PageView>, Problem> {
    let (filter, after, limit) = read(&state, query)?;
    let (jobs, next) = fill(&state, &filter, after, limit).await?;
    let next_cursor = next.map(|after| state.cursors.seal(after));
    Ok(Json(PageView { jobs: jobs.into_iter().map(JobView::from).collect(), next_cursor }))
}

/// The jobs of a page and where the next one starts. A long page is read in steps, so that large jobs, of which only a few
/// fit, are not all in memory: the first step shows how many of this size to ask for.
async fn fill(
    state: &ApiState,
    filter: &JobFilter,
    mut after: Option<JobId>,
    limit: u32,
) -> Result<(Vec<JobRecord>, Option<JobId>), Problem> {
    let last_step = Instant::now() + LAST_STEP_AFTER;
    let (mut jobs, mut bytes, mut left) = (Vec::<JobRecord>::new(), 0, limit);
    let mut step = limit.min(DEFAULT_PAGE);
    loop {
        let filter = filter.clone();
        let page = state.store(move |store| async move { store.list(&filter, after, step).await }).await?;
        for job in page.jobs {
            let more = weight(&job);
            if let Some(last) = jobs.last().filter(|_| bytes + more > PAGE_BYTES) {
                let next = last.job.id;
                return Ok((jobs, Some(next)));
            }
            bytes += more;
            jobs.push(job);
        }
        left = left.saturating_sub(step);
        if page.next.is_none() || left == 0 || Instant::now() >= last_step {
            return Ok((jobs, page.next));
        }
        after = page.next;
        let fitting = PAGE_BYTES.saturating_sub(bytes) / (bytes / jobs.len().max(1)).max(1);
        step = left.min(u32::try_from(fitting).unwrap_or(left).max(1));
    }
}

/// The size of a job as JSON, about.
pub(super) fn weight(record: &JobRecord) -> usize {
    let json = |json: Option<&RawJson>| json.map_or(0, |json| json.as_str().len());
    let error = record.error.as_ref().map_or(0, |error| error.message.len() + json(error.details.as_ref()));
    let job = &record.job;
    JOB_BYTES
        + job.payload.as_str().len()
        + json(job.metadata.as_ref())
        + json(record.result.as_ref())
        + error
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
