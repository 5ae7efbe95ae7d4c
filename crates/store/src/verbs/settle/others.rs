//! Ends attempts in every other way: with a retry, a snooze, a return to the queue, or as failed or cancelled.

use super::columns::{Covered, EndColumns};
use super::end::AttemptEnd;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;

/// Ends attempts, which are sorted by lease. `begun` says whether their handlers were called. Returns those that their
/// leases still covered.
pub(super) async fn settle(
    unit: &mut Unit,
    ends: &[&AttemptEnd],
    begun: bool,
) -> Result<Covered, StoreError> {
    if ends.is_empty() {
        return Ok(Covered::new());
    }
    let columns = EndColumns::others(ends, begun);
    let rows = sqlx::query_file!(
        "src/verbs/settle/others.sql",
        &columns.epochs,
        &columns.tokens,
        &columns.masks,
        &columns.lows,
        &columns.highs,
        &columns.ordinals,
        &columns.job_ids,
        &columns.rans as _,
        &columns.statuses,
        &columns.given_back,
        &columns.delays,
        &columns.errors as _,
        begun,
        &columns.endeds as _,
        &columns.samples,
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.epoch, row.token), row.taken)).collect())
}
