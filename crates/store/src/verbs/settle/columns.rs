//! Ends of attempts as arrays for SQL.

use std::collections::HashMap;

use jobqueue_core::Json;
use jobqueue_core::statistics::Sample;
use uuid::Uuid;

use super::end::AttemptEnd;
use crate::readers::row::{failure_text, status_number, to_ms};

/// The ends that their leases still covered: by epoch and token, one bit for each job.
pub(super) type Covered = HashMap<(i64, Uuid), i64>;

/// Ends of several leases as columns. Some have one entry for each lease, the others one for each job; jobs of one lease
/// are adjacent.
#[derive(Default)]
pub(super) struct EndColumns<'a> {
    pub(super) epochs: Vec<i64>,
    pub(super) tokens: Vec<Uuid>,
    /// One bit for each job that ends.
    pub(super) masks: Vec<i64>,
    /// First and last index of the lease's jobs in the columns of jobs, from 1.
    pub(super) lows: Vec<i32>,
    pub(super) highs: Vec<i32>,
    /// Total run time of the lease's jobs; `None` if that of one job is unknown.
    pub(super) run_ms: Vec<Option<i64>>,
    pub(super) ordinals: Vec<i32>,
    pub(super) job_ids: Vec<Uuid>,
    pub(super) rans: Vec<Option<i64>>,
    /// What the attempt took, for statistics.
    pub(super) samples: Vec<i32>,
    /// Set by `completed`.
    pub(super) results: Vec<Option<&'a str>>,
    /// This and the following are set by `others`.
    pub(super) statuses: Vec<i16>,
    /// 1 if the attempt does not count, otherwise 0.
    pub(super) given_back: Vec<i16>,
    pub(super) delays: Vec<i64>,
    pub(super) errors: Vec<Option<String>>,
    /// How the attempt is recorded in the job's history; `None` if its handler was not called.
    pub(super) endeds: Vec<Option<&'static str>>,
}

impl<'a> EndColumns<'a> {
    /// The columns of completed attempts, which are sorted by lease.
    pub(super) fn completed(ends: &[&'a AttemptEnd]) -> Self {
        let mut columns = Self::of_leases(ends);
        columns.results = ends.iter().map(|end| end.settlement.result().map(Json::as_str)).collect();
        columns
    }

    /// The columns of other ends, which are sorted by lease. `begun` says whether their handlers were called.
    pub(super) fn others(ends: &[&'a AttemptEnd], begun: bool) -> Self {
        let mut columns = Self::of_leases(ends);
        for AttemptEnd { settlement, .. } in ends {
            columns.statuses.push(status_number(settlement.status()));
            columns.given_back.push(i16::from(!(settlement.spends_attempt() && begun)));
            columns.delays.push(settlement.delay().map_or(0, to_ms));
            columns.errors.push(settlement.failure().and_then(failure_text));
            columns.endeds.push(begun.then(|| settlement.ended().as_str()));
        }
        columns
    }

    fn of_leases(ends: &[&AttemptEnd]) -> Self {
        let mut columns = Self::default();
        for (place, end) in (1..).zip(ends) {
            let lease = &end.lease;
            if (columns.epochs.last(), columns.tokens.last()) != (Some(&lease.epoch()), Some(&lease.token()))
            {
                columns.epochs.push(lease.epoch());
                columns.tokens.push(lease.token());
                columns.masks.push(0);
                columns.run_ms.push(Some(0));
                columns.lows.push(place);
                columns.highs.push(place);
            }
            let ran = end.ran.map(to_ms);
            if let (Some(mask), Some(high), Some(sum)) =
                (columns.masks.last_mut(), columns.highs.last_mut(), columns.run_ms.last_mut())
            {
                *mask |= 1 << lease.ordinal();
                *high = place;
                *sum = sum.zip(ran).map(|(sum, ran)| sum.saturating_add(ran));
            }
            columns.ordinals.push(lease.ordinal().into());
            columns.job_ids.push(lease.job_id().as_uuid());
            columns.rans.push(ran);
            columns.samples.push(sample(end).packed());
        }
        columns
    }
}

/// Each job has one wait, which ends with the first attempt that counts. So an attempt that does not count has none.
fn sample(end: &AttemptEnd) -> Sample {
    Sample::new(end.lease.waited().filter(|_| end.settlement.spends_attempt()), end.ran)
}
