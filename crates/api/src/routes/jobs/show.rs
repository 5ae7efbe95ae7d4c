//! GET /v1/jobs/{id}: one job. On request the response waits until the job is final.

use axum::extract::State;
use axum::response::Response;

use super::edit::view;
use super::record::read;
use crate::extract::{JobPath, Query};
use crate::long_poll::LongPolls;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::job::JobView;

const MAX_WAIT_SECONDS: u32 = 60;

/// Read a job, its result and its error.
///
/// With `wait` the response is sent when the job is final, or at the latest after that time.
#[utoipa::path(get, path = "/v1/jobs/{id}", operation_id = "get_job", tag = "jobs",
    params(
        ("id" = uuid::Uuid, Path, description = "The job"),
        ("wait" = Option<f64>, Query, minimum = 0, maximum = 60, description = "Seconds to wait until the job is final, 0 to 60, fractions included; default 0"),
    ),
    responses(
        (status = 200, description = "The job", body = JobView, headers(("ETag" = String, description = "The version of a waiting job, for `If-Match`"))),
        (status = 404, description = "No such job"),
    ))]
pub(crate) async fn show(
    State(store): State<StoreAccess>,
    State(long_polls): State<LongPolls>,
    JobPath(id): JobPath,
    mut query: Query,
) -> Result<Response, Problem> {
    let wait = query.seconds("wait", MAX_WAIT_SECONDS)?;
    let mut record = read(&store, id).await?;
    if !wait.is_zero() && !record.status.is_final() {
        let _place = long_polls.place()?;
        long_polls.until_final(id, wait).await;
        record = read(&store, id).await?;
    }
    Ok(view(record))
}
