//! settle: ends attempts, many in one transaction. Each is guarded by its lease; a stale lease changes nothing. No other
//! code ends an attempt.

use std::collections::HashMap;

use uuid::Uuid;

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::verbs::aftermath;
use crate::verbs::snooze;
use end::{AttemptEnd, Settled};

mod columns;
mod completed;
pub(crate) mod end;
mod others;

impl Store {
    /// Ends attempts. Returns one result each, in order.
    pub async fn settle(&self, ends: Vec<AttemptEnd>) -> Result<Vec<Settled>, StoreError> {
        if ends.is_empty() {
            return Ok(vec![]);
        }
        // completed plain jobs take one statement, which needs no transaction
        let is_one = |end: &AttemptEnd| end.settlement.is_success() && end.lease.ties().is_plain();
        let mut unit = if ends.iter().all(is_one) { self.one().await? } else { self.begin().await? };
        let settled = Self::settle_in(&mut unit, ends).await?;
        unit.commit().await?;
        Ok(settled)
    }

    pub(crate) async fn settle_in(
        unit: &mut Unit,
        mut ends: Vec<AttemptEnd>,
    ) -> Result<Vec<Settled>, StoreError> {
        Self::lock_mixed(unit, &ends).await?;
        Self::heed_cancel_requests(unit, &mut ends).await?;
        snooze::heed_bounds(unit, &mut ends).await?;
        let snoozed = snooze::snoozed(&ends);
        let settled = Self::end_attempts(unit, ends, true).await?;
        snooze::count(unit, &snoozed, &settled).await?;
        Ok(settled)
    }

    /// Ends attempts whose handler was never called. They are not recorded in the job's history.
    pub(crate) async fn settle_not_started(&self, ends: Vec<AttemptEnd>) -> Result<(), StoreError> {
        let mut unit = self.begin().await?;
        Self::lock_mixed(&mut unit, &ends).await?;
        Self::end_attempts(&mut unit, ends, false).await?;
        unit.commit().await
    }

    async fn end_attempts(
        unit: &mut Unit,
        ends: Vec<AttemptEnd>,
        begun: bool,
    ) -> Result<Vec<Settled>, StoreError> {
        if ends.is_empty() {
            return Ok(vec![]);
        }
        let mut order: Vec<usize> = (0..ends.len()).collect();
        let right = |at: usize| (ends[at].lease.epoch(), ends[at].lease.token());
        order.sort_by_key(|at| (right(*at), ends[*at].lease.ordinal()));
        order.dedup_by_key(|at| (right(*at), ends[*at].lease.ordinal()));
        let (completed, others): (Vec<usize>, Vec<usize>) =
            order.iter().partition(|at| ends[**at].settlement.is_success());
        let sorted = |places: &[usize]| places.iter().map(|at| &ends[*at]).collect::<Vec<_>>();
        let mut covered = completed::settle(unit, &sorted(&completed)).await?;
        for (right, bits) in others::settle(unit, &sorted(&others), begun).await? {
            *covered.entry(right).or_default() |= bits;
        }
        let mut settled = vec![Settled::Stale; ends.len()];
        for at in order {
            let end = &ends[at];
            let bits = covered.get(&right(at)).copied().unwrap_or_default();
            if (bits >> end.lease.ordinal()) & 1 == 1 {
                settled[at] = Settled::Applied(end.settlement.status());
            }
        }
        let applied = ends.iter().zip(&settled).filter(|(_, settled)| **settled != Settled::Stale);
        let ended = applied.map(|(end, _)| (end.lease.job_id(), end.lease.ties(), &end.settlement));
        aftermath::carry_out(unit, ended).await?;
        Ok(settled)
    }

    /// Locks the leases in the order in which all statements lock them. A statement that ends attempts locks its own
    /// leases in that order. So this is needed only if two statements end attempts, or if cancel requests or snoozes are
    /// read first.
    async fn lock_mixed(unit: &mut Unit, ends: &[AttemptEnd]) -> Result<(), StoreError> {
        let completed = ends.iter().filter(|end| end.settlement.is_success()).count();
        let again = ends.iter().any(|end| end.settlement.runs_again());
        if !again && (completed == 0 || completed == ends.len()) {
            return Ok(());
        }
        let epochs: Vec<i64> = ends.iter().map(|end| end.lease.epoch()).collect();
        sqlx::query!(
            "-- store.settle.lock
            SELECT epoch FROM jobqueue.lease WHERE epoch = ANY ($1) ORDER BY epoch FOR UPDATE",
            &epochs,
        )
        .fetch_all(&mut **unit)
        .await?;
        Ok(())
    }

    /// Cancels jobs that would run again if a user asked to cancel them. Their leases are locked, so a later request sees
    /// the job in its new place.
    async fn heed_cancel_requests(unit: &mut Unit, ends: &mut [AttemptEnd]) -> Result<(), StoreError> {
        let again = || ends.iter().filter(|end| end.settlement.runs_again());
        if again().next().is_none() {
            return Ok(());
        }
        let jobs: Vec<Uuid> = again().map(|end| end.lease.job_id().as_uuid()).collect();
        let rows = sqlx::query!(
            "-- store.settle.cancel_requests
            SELECT job_id, epoch FROM jobqueue.cancel_request WHERE job_id = ANY ($1)",
            &jobs,
        )
        .fetch_all(&mut **unit)
        .await?;
        let asked: HashMap<Uuid, i64> = rows.into_iter().map(|row| (row.job_id, row.epoch)).collect();
        for end in ends {
            if asked.get(&end.lease.job_id().as_uuid()) == Some(&end.lease.epoch()) {
                end.settlement = end.settlement.clone().after_cancel_request();
            }
        }
        Ok(())
    }
}
