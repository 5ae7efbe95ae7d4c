//! Statistics as JSON: of now, or of a range of time.

use axum::extract::State;
use axum::{Extension, Json};
use jobqueue_core::statistics::{Range, RangeRequest};
use jobqueue_core::{Grant, KindName, QueueName};
use jobqueue_store::QueueCensus;

use super::queues::{cut, page};
use crate::census::CensusReader;
use crate::extract::Query;
use crate::keys::limits;
use crate::middleware::auth::Caller;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::name::{KindText, QueueText};
use crate::wire::statistics::{StatisticsView, StatsAnswer};
use crate::wire::stats::StatsView;

/// The query parameters.
pub(crate) const PARAMETERS: &[&str] = &["from", "to", "step", "queue", "kind", "limit", "cursor"];

/// Statistics: the present counts of all queues, or what happened in a range of time.
///
/// Without `from`, `to`, `step`, `queue` and `kind` the counts of all queues, at most one second old. `total` covers all queues, not only
/// those of the page.
///
/// With one of these, how many jobs were created, completed, failed, retried, cancelled and snoozed in each step of the range, and quantiles of
/// how long they waited and ran. At most 3000 steps. The numbers of minutes are kept for 14 days, those of hours for 400 days.
#[utoipa::path(get, path = "/v1/stats", operation_id = "get_stats", tag = "queues",
    params(
        ("from" = Option<String>, Query, format = DateTime, description = "Begin (RFC 3339); default an hour before `to`"),
        ("to" = Option<String>, Query, format = DateTime, description = "End (RFC 3339); default now"),
        ("step" = Option<u32>, Query, minimum = 60, maximum = 34_560_000, description = "Length of a step in seconds, a multiple of 60; beyond the last 14 days a multiple of 3600. Steps begin at multiples of it since 1970, in UTC. Default: one that gives up to about 120 steps"),
        ("queue" = Option<QueueText>, Query, description = "Only jobs of this queue"),
        ("kind" = Option<KindText>, Query, description = "Only jobs of this kind"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "For present counts: largest number of queues in the page, 1 to 1000; default 1000"),
        ("cursor" = Option<QueueText>, Query, description = "For present counts: `next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "Statistics", body = StatsAnswer)))]
pub(crate) async fn stats(
    State(census): State<CensusReader>,
    State(store): State<StoreAccess>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<StatsAnswer>, Problem> {
    let (queue, kind) = (query.one::<QueueName>("queue")?, query.one::<KindName>("kind")?);
    let request = range_request(&mut query)?;
    if queue.is_none() && kind.is_none() && request.is_empty() {
        return Ok(Json(StatsAnswer::Now(now(&census, caller.grant(), query).await?)));
    }
    refuse_page(&mut query)?;
    limits::one_queue_and_kind(caller.grant(), queue.as_ref(), kind.as_ref())?;
    let range = check(&store, request).await?;
    let wanted = (queue.clone(), kind.clone());
    let read = move |store: jobqueue_store::Store| async move {
        store.statistics(&range, wanted.0.as_ref(), wanted.1.as_ref()).await
    };
    let read = store.call(read).await?;
    Ok(Json(StatsAnswer::Range(Box::new(StatisticsView::new(&range, queue, kind, &read)))))
}

/// Refuses the parameters of the present counts, which have pages.
fn refuse_page(query: &mut Query) -> Result<(), Problem> {
    for name in ["limit", "cursor"] {
        if query.one::<String>(name)?.is_some() {
            let message = "belongs to the present counts, so it must not be used with `from`, `to`, `step`, `queue` or `kind`";
            return Err(Problem::parameter(name, message));
        }
    }
    Ok(())
}

async fn now(census: &CensusReader, grant: &Grant, mut query: Query) -> Result<StatsView, Problem> {
    let (after, limit) = page(&mut query)?;
    limits::all_kinds(grant, "queues with the jobs of all kinds")?;
    let latest = census.read().await?;
    let after = after.as_ref().map_or("", QueueName::as_str);
    let is_granted = |queue: &&QueueCensus| {
        grant.has_all_queues() || queue.queue.parse().is_ok_and(|queue| grant.has_queue(&queue))
    };
    let granted: Vec<&QueueCensus> = latest.census.queues.iter().filter(is_granted).collect();
    let rest = granted.iter().copied().filter(|queue| queue.queue.as_str() > after);
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let (queues, next_cursor) = cut(rest.take(most).collect(), limit, |queue| queue.queue.as_str());
    Ok(StatsView::page(&latest, &granted, &queues, next_cursor))
}

fn range_request(query: &mut Query) -> Result<RangeRequest, Problem> {
    let step = query.one::<String>("step")?;
    let step_seconds = step.map(|text| text.parse::<u32>());
    let step_seconds = step_seconds
        .transpose()
        .map_err(|_| Problem::parameter("step", "must be a whole number of seconds, a multiple of 60"))?;
    Ok(RangeRequest { from: query.timestamp("from")?, to: query.timestamp("to")?, step_seconds })
}

/// Checks a range against the time of the database.
async fn check(store: &StoreAccess, request: RangeRequest) -> Result<Range, Problem> {
    let time = store.call(|store| async move { store.time().await }).await?;
    let now = time.ok_or_else(Problem::internal)?;
    request.check(now).map_err(|error| Problem::parameter(error.parameter, error.message))
}
