//! settle: the one way in which an attempt ends. Many at once, each guarded by its lease; a stale lease changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use jobqueue_core::{Lease, Settlement, Status};
use uuid::Uuid;

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::lease::{LeaseRequest, Leased};
use crate::row::to_ms;
use crate::unique;

mod completed;
mod others;

/// The end of one attempt.
#[derive(Debug)]
pub struct AttemptEnd {
    /// The right to end it; used up.
    pub lease: Lease,
    /// What `core::settle` decided.
    pub settlement: Settlement,
    /// How long ago the handler was started, by the worker's monotonic clock; `None` counts from the lease.
    pub ran: Option<Duration>,
    /// The job has a unique key, which its end may give free.
    pub holds_key: bool,
}

/// What a settle did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The job is in this status now. `cancelled` can take the place of a retry, if a user asked for it meanwhile.
    Applied(Status),
    /// The lease was lost or used before; nothing changed.
    Stale,
}

impl Store {
    /// Ends attempts; one answer each, in order.
    pub async fn settle(&self, ends: Vec<AttemptEnd>) -> Result<Vec<Settled>, StoreError> {
        if ends.is_empty() {
            return Ok(vec![]);
        }
        let plain =
            |end: &AttemptEnd| !end.holds_key && matches!(end.settlement, Settlement::Complete { .. });
        // ends of the common kind are one statement
        let mut unit = if ends.iter().all(plain) { self.one().await? } else { self.begin().await? };
        let settled = Self::settle_in(&mut unit, ends).await?;
        unit.commit().await?;
        Ok(settled)
    }

    /// Ends attempts and leases more in the same transaction: one commit a cycle of a busy worker.
    pub async fn settle_and_lease(
        &self,
        ends: Vec<AttemptEnd>,
        request: &LeaseRequest,
    ) -> Result<(Vec<Settled>, Vec<Leased>), StoreError> {
        let mut unit = self.begin().await?;
        let settled = Self::settle_in(&mut unit, ends).await?;
        let found = self.lease_in(&mut unit, request, 1).await?;
        unit.commit().await?;
        Ok((settled, self.startable(found).await.pop().unwrap_or_default()))
    }

    pub(crate) async fn settle_in(
        unit: &mut Unit,
        mut ends: Vec<AttemptEnd>,
    ) -> Result<Vec<Settled>, StoreError> {
        Self::lock_mixed(unit, &ends).await?;
        Self::heed_cancel_requests(unit, &mut ends).await?;
        Self::end_attempts(unit, ends, true).await
    }

    /// Ends attempts whose handler was never called: they leave no trace but the job's outcome.
    pub(crate) async fn settle_unbegun(&self, ends: Vec<AttemptEnd>) -> Result<(), StoreError> {
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
            order.iter().partition(|at| matches!(ends[**at].settlement, Settlement::Complete { .. }));
        let sorted = |places: &[usize]| places.iter().map(|at| &ends[*at]).collect::<Vec<_>>();
        let mut taken = completed::settle(unit, &sorted(&completed)).await?;
        for (right, bits) in others::settle(unit, &sorted(&others), begun).await? {
            *taken.entry(right).or_default() |= bits;
        }
        let mut settled = vec![Settled::Stale; ends.len()];
        let mut freed = Vec::new();
        for at in order {
            let end = &ends[at];
            let bits = taken.get(&right(at)).copied().unwrap_or_default();
            if (bits >> end.lease.ordinal()) & 1 == 1 {
                let status = status_after(&end.settlement);
                settled[at] = Settled::Applied(status);
                if end.holds_key && status.is_final() {
                    freed.push((end.lease.job_id(), status));
                }
            }
        }
        unique::free(unit, &freed).await?;
        Ok(settled)
    }

    /// Leases are locked in one order everywhere. A statement that ends attempts does that by itself, so only ends of both
    /// kinds, for which there are two statements, need it before.
    async fn lock_mixed(unit: &mut Unit, ends: &[AttemptEnd]) -> Result<(), StoreError> {
        let completed =
            ends.iter().filter(|end| matches!(end.settlement, Settlement::Complete { .. })).count();
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

    /// What would run again is cancelled if a user asked for that. Its lease is locked: a wish that comes later finds the job
    /// where we put it.
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

/// Where a settlement leads.
fn status_after(settlement: &Settlement) -> Status {
    match settlement {
        Settlement::Complete { .. } => Status::Completed,
        Settlement::Fail { .. } => Status::Failed,
        Settlement::Cancel { .. } => Status::Cancelled,
        Settlement::RetryAfter { .. } | Settlement::Snooze { .. } => Status::Scheduled,
        Settlement::Requeue { .. } => Status::Queued,
    }
}

/// What leases still covered of the ends sent for them: by epoch and token, one bit a job.
type Taken = HashMap<(i64, Uuid), i64>;

/// Ends of several leases as columns: one entry a lease, and one a job; the jobs of a lease are neighbours.
#[derive(Default)]
struct Held {
    epochs: Vec<i64>,
    tokens: Vec<Uuid>,
    /// One bit for each job that ends.
    masks: Vec<i64>,
    /// Where the lease's jobs begin and end in the columns of the jobs, counted from 1.
    lows: Vec<i32>,
    highs: Vec<i32>,
    /// How long the lease's jobs ran, together; `None` if that is not known of one.
    run_ms: Vec<Option<i64>>,
    ordinals: Vec<i32>,
    job_ids: Vec<Uuid>,
    rans: Vec<Option<i64>>,
}

impl Held {
    /// Of ends that are sorted by lease.
    fn of(ends: &[&AttemptEnd]) -> Self {
        let mut held = Self::default();
        for (place, end) in (1..).zip(ends) {
            let lease = &end.lease;
            if (held.epochs.last(), held.tokens.last()) != (Some(&lease.epoch()), Some(&lease.token())) {
                held.epochs.push(lease.epoch());
                held.tokens.push(lease.token());
                held.masks.push(0);
                held.run_ms.push(Some(0));
                held.lows.push(place);
                held.highs.push(place);
            }
            let ran = end.ran.map(to_ms);
            if let (Some(mask), Some(high), Some(sum)) =
                (held.masks.last_mut(), held.highs.last_mut(), held.run_ms.last_mut())
            {
                *mask |= 1 << lease.ordinal();
                *high = place;
                *sum = sum.zip(ran).map(|(sum, ran)| sum.saturating_add(ran));
            }
            held.ordinals.push(lease.ordinal().into());
            held.job_ids.push(lease.job_id().as_uuid());
            held.rans.push(ran);
        }
        held
    }
}
