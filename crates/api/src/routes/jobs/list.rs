//! GET /v1/jobs: a page of the jobs that match.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_core::{JobId, JobRecord};
use jobqueue_store::JobFilter;
use tokio::time::Instant;

use super::filter;
use super::record::{PAGE_BYTES, weight};
use crate::cursor::Cursors;
use crate::extract::Query;
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::job::JobView;
use crate::wire::list::PageView;
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
    "cursor",
];
const DEFAULT_PAGE: u32 = 50;
/// After this time no further store call starts, so that the request is answered within 30 s even if a call is slow.
const LAST_STEP_AFTER: Duration = Duration::from_secs(5);

/// List jobs, newest first.
///
/// A repeated parameter matches any of its values, except `tag`: a job must have all tags. A page ends at about 4 MiB of
/// JSON, so it may have fewer jobs than `limit`. There are more jobs if `next_cursor` is not `null`.
///
/// `finished_after`, `finished_before`, `error_type`, `unique_key`, `metadata`, `payload` and `retrying` have no index. The search looks at the jobs that match
/// the other parameters, newest first, for about five seconds. So a page may be empty although `next_cursor` is not `null`: a status, a queue or a
/// time range makes it fast.
///
/// `metadata` is a path, `=` and a value: `metadata=team=billing`, `metadata=owner.team=billing`, or with a JSON pointer
/// `metadata=/a.b/c=1`. `metadata.team=billing` is the same as the first. Numbers and `true` are compared as they are written.
/// `payload` is the same for the payload, as in `payload=user.id=42`.
#[utoipa::path(get, path = "/v1/jobs", operation_id = "list_jobs", tag = "jobs",
    params(
        ("status" = Option<Vec<crate::wire::job::StatusWord>>, Query, description = "Only jobs with one of these values"),
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
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of jobs in the page, 1 to 1000; default 50"),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{43}$", description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = PageView)))]
pub(crate) async fn list(
    State(store): State<StoreAccess>,
    State(cursors): State<Cursors>,
    Extension(caller): Extension<Caller>,
    query: Query,
) -> Result<Json<PageView>, Problem> {
    let (filter, after, limit) = read(&cursors, query)?;
    let Some(filter) = limits::jobs(&store, caller.grant(), filter).await? else {
        return Ok(Json(PageView { jobs: vec![], next_cursor: None }));
    };
    let (jobs, next) = fill(&store, &filter, after, limit).await?;
    let next_cursor = next.map(|after| cursors.seal(after));
    Ok(Json(PageView { jobs: jobs.into_iter().map(JobView::from).collect(), next_cursor }))
}

/// The jobs of a page, and the job after which the next page starts. A long page is read in steps, so that large jobs, of
/// which only a few fit, are not all in memory. Each step requests as many jobs as fit by the mean size so far.
async fn fill(
    store: &StoreAccess,
    filter: &JobFilter,
    mut after: Option<JobId>,
    limit: u32,
) -> Result<(Vec<JobRecord>, Option<JobId>), Problem> {
    let last_step = Instant::now() + LAST_STEP_AFTER;
    let (mut jobs, mut bytes, mut left) = (Vec::<JobRecord>::new(), 0, limit);
    let mut step = limit.min(DEFAULT_PAGE);
    loop {
        let filter = filter.clone();
        let page = store.call(move |store| async move { store.list(&filter, after, step).await }).await?;
        let found = u32::try_from(page.jobs.len()).unwrap_or(step);
        for job in page.jobs {
            let more = weight(&job);
            if let Some(last) = jobs.last().filter(|_| bytes + more > PAGE_BYTES) {
                let next = last.job.id;
                return Ok((jobs, Some(next)));
            }
            bytes += more;
            jobs.push(job);
        }
        left = left.saturating_sub(found);
        if page.next.is_none() || left == 0 || Instant::now() >= last_step {
            return Ok((jobs, page.next));
        }
        after = page.next;
        let fitting = PAGE_BYTES.saturating_sub(bytes) / (bytes / jobs.len().max(1)).max(1);
        step = left.min(u32::try_from(fitting).unwrap_or(left).max(1));
    }
}

fn read(cursors: &Cursors, mut query: Query) -> Result<(JobFilter, Option<JobId>, u32), Problem> {
    let filter = filter::read(&mut query)?;
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let after = query.one::<String>("cursor")?.map(|text| cursors.open(&text)).transpose()?;
    Ok((filter, after, limit))
}
