//! GET /v1/schedules/{name}/explain.

use axum::Json;
use axum::extract::State;

use super::{missing, read, valid};
use crate::extract::SchedulePath;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::submissions::Submissions;
use crate::wire::explain::ScheduleExplanationView;
use crate::wire::name::ScheduleText;

/// Why a schedule enqueues no job now, or why its next job would not run.
///
/// All causes that hold in one snapshot of the database, the binding one first, each with what would resolve it. The codes are those of a
/// job's explanation, and `schedule_failed`, `schedule_disabled`, `schedule_paused`, `schedule_ended`, `overlap` and `overlap_skips`.
#[utoipa::path(get, path = "/v1/schedules/{name}/explain", operation_id = "explain_schedule", tag = "schedules", params(("name" = ScheduleText, Path, description = "The schedule")),
    responses(
        (status = 200, description = "The causes", body = ScheduleExplanationView),
        (status = 404, description = "No such schedule"),
        (status = 409, description = "The schedule is invalid"),
    ))]
pub(crate) async fn explain(
    State(store): State<StoreAccess>,
    State(submissions): State<Submissions>,
    SchedulePath(name): SchedulePath,
) -> Result<Json<ScheduleExplanationView>, Problem> {
    let schedule = valid(&read(&store, name.clone()).await?)?.routed(&*submissions.routes().await?);
    let (asked, template) = (name.clone(), schedule.template().clone());
    let facts = move |store: jobqueue_store::Store| async move {
        store.schedules().explain_facts(&asked, &template).await
    };
    let facts = store.call(facts).await?.ok_or_else(missing)?;
    Ok(Json(ScheduleExplanationView::new(&name, &facts)))
}
