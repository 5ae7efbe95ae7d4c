//! Every other end of an attempt: back to the queue, later, or final without success.

use jobqueue_core::{Ended, Settlement};

use super::{AttemptEnd, Held, Taken, status_after};
use crate::connect::Unit;
use crate::error::StoreError;
use crate::row::{failure_text, status_number, to_ms};

/// The columns that only these ends have, one entry a job.
#[derive(Default)]
struct Columns {
    statuses: Vec<i16>,
    /// 1 if the attempt does not count.
    given_back: Vec<i16>,
    delays: Vec<i64>,
    errors: Vec<Option<String>>,
    endeds: Vec<Option<&'static str>>,
}

impl Columns {
    fn of(ends: &[&AttemptEnd], begun: bool) -> Self {
        let mut columns = Self::default();
        for end in ends {
            let settlement = &end.settlement;
            columns.statuses.push(status_number(status_after(settlement)));
            let free =
                matches!(settlement, Settlement::Snooze { .. } | Settlement::Requeue { failure: None });
            columns.given_back.push(i16::from(free || !begun));
            let (delay, failure) = match settlement {
                Settlement::RetryAfter { delay, failure } => (Some(*delay), Some(failure)),
                Settlement::Snooze { delay } => (Some(*delay), None),
                Settlement::Fail { failure } | Settlement::Cancel { failure } => (None, Some(failure)),
                Settlement::Requeue { failure } => (None, failure.as_ref()),
                Settlement::Complete { .. } => (None, None),
            };
            columns.delays.push(delay.map_or(0, to_ms));
            columns.errors.push(failure.and_then(failure_text));
            columns.endeds.push(ended(settlement).filter(|_| begun).map(Ended::as_str));
        }
        columns
    }
}

/// What is written down of the attempt; a completed one is told by the outcome alone.
fn ended(settlement: &Settlement) -> Option<Ended> {
    match settlement {
        Settlement::Complete { .. } => None,
        Settlement::Fail { .. } => Some(Ended::Failed),
        Settlement::Cancel { .. } => Some(Ended::Cancelled),
        Settlement::RetryAfter { .. } => Some(Ended::Retried),
        Settlement::Snooze { .. } => Some(Ended::Snoozed),
        Settlement::Requeue { failure: None } => Some(Ended::Released),
        Settlement::Requeue { failure: Some(_) } => Some(Ended::Lost),
    }
}

/// Ends these, which are sorted by lease; `begun` if their handlers were called. Answers what their leases still
/// covered.
pub(super) async fn settle(unit: &mut Unit, ends: &[&AttemptEnd], begun: bool) -> Result<Taken, StoreError> {
    if ends.is_empty() {
        return Ok(Taken::new());
    }
    let held = Held::of(ends);
    let columns = Columns::of(ends, begun);
    let rows = sqlx::query_file!(
        "src/settle/others.sql",
        &held.epochs,
        &held.tokens,
        &held.masks,
        &held.lows,
        &held.highs,
        &held.ordinals,
        &held.job_ids,
        &held.rans as _,
        &columns.statuses,
        &columns.given_back,
        &columns.delays,
        &columns.errors as _,
        begun,
        &columns.endeds as _,
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.epoch, row.token), row.taken)).collect())
}
