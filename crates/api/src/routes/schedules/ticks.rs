//! GET /v1/schedules/{name}/ticks.

use axum::Json;
use axum::extract::State;
use chrono::SecondsFormat;
use jobqueue_core::limits::MAX_PAGE;
use jobqueue_core::time;

use super::{invalid_cursor, read};
use crate::extract::{Query, SchedulePath};
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::name::ScheduleText;
use crate::wire::tick::{TickView, TicksView};

/// The query parameters.
pub(crate) const PARAMETERS: &[&str] = &["limit", "cursor"];
const DEFAULT_PAGE: u32 = 100;

/// The ticks of a schedule, newest first: the job of each, or why there is none.
///
/// The newest 1000 ticks are kept, for at least 30 days if there are not more.
#[utoipa::path(get, path = "/v1/schedules/{name}/ticks", operation_id = "list_ticks", tag = "schedules",
    params(
        ("name" = ScheduleText, Path, description = "The schedule"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Largest number of ticks in the page, 1 to 1000; default 100"),
        ("cursor" = Option<String>, Query, format = DateTime, description = "`next_cursor` of the previous page"),
    ),
    responses((status = 200, description = "A page", body = TicksView), (status = 404, description = "No such schedule")))]
pub(crate) async fn ticks(
    State(store): State<StoreAccess>,
    SchedulePath(name): SchedulePath,
    mut query: Query,
) -> Result<Json<TicksView>, Problem> {
    let limit = query.number("limit", DEFAULT_PAGE, (1, MAX_PAGE))?;
    let cursor = query.one::<String>("cursor")?;
    let before = cursor.map(|text| time::timestamp(&text).ok_or_else(invalid_cursor)).transpose()?;
    let id = read(&store, name).await?.id;
    let page = move |store: jobqueue_store::Store| async move {
        store.schedules().ticks(id, before, limit.saturating_add(1)).await
    };
    let mut records = store.call(page).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = records.len() > most;
    records.truncate(most);
    let next_cursor = records.last().filter(|_| more);
    let next_cursor = next_cursor.map(|last| last.nominal_at.to_rfc3339_opts(SecondsFormat::Micros, true));
    Ok(Json(TicksView { ticks: records.into_iter().map(TickView::from).collect(), next_cursor }))
}
