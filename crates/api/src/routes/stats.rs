//! Statistics of all queues as JSON.

use axum::Json;
use axum::extract::State;
use jobqueue_core::QueueName;

use super::queues::{cut, page};
use crate::census::CensusReader;
use crate::extract::Query;
use crate::problem::Problem;
use crate::wire::name::QueueText;
use crate::wire::stats::StatsView;

/// Statistics of all queues, at most one second old.
///
/// `total` covers all queues, not only those of the page.
#[utoipa::path(get, path = "/v1/stats", operation_id = "get_stats", tag = "queues",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of queues in the page, 1 to 1000; default 1000"),
        ("cursor" = Option<QueueText>, Query, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "Statistics", body = StatsView)))]
pub(crate) async fn stats(
    State(census): State<CensusReader>,
    mut query: Query,
) -> Result<Json<StatsView>, Problem> {
    let (after, limit) = page(&mut query)?;
    let latest = census.read().await?;
    let after = after.as_ref().map_or("", QueueName::as_str);
    let rest = latest.census.queues.iter().filter(|queue| queue.queue.as_str() > after);
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let (queues, next_cursor) = cut(rest.take(most).collect(), limit, |queue| queue.queue.as_str());
    Ok(Json(StatsView::page(&latest, &queues, next_cursor)))
}
