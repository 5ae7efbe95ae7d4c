//! Turns leased rows into jobs. A job that cannot be started becomes an attempt that ends at once.

use std::collections::HashMap;
use std::time::Duration;

use jobqueue_core::{Lease, Outcome, Settlement, Ties, settle};
use uuid::Uuid;

use super::grant::GrantsAndBodies;
use super::job::{lease_at, readable};
use super::request::Leased;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::kind_settings::SettingsOfKinds;
use crate::readers::row::BodyRow;
use crate::verbs::settle::end::AttemptEnd;

/// A job whose body could not be read is scheduled again after this delay. That costs no attempt.
const UNREAD: Duration = Duration::from_secs(10);

/// The jobs to run, one share for each worker, and the ends of jobs that cannot be started.
#[derive(Default)]
pub(crate) struct LeaseResult {
    pub(super) shares: Vec<Vec<Leased>>,
    pub(super) not_startable: Vec<AttemptEnd>,
}

impl Store {
    /// Turns rows into jobs. A job cannot be started if it has expired, or if it is corrupt because a user changed the
    /// tables by hand. One bad row must not stop a queue.
    pub(super) async fn read(
        &self,
        unit: &mut Unit,
        granted: GrantsAndBodies,
        share: usize,
    ) -> Result<LeaseResult, StoreError> {
        let GrantsAndBodies { grants, mut bodies, settings } = granted;
        let names = self.names(unit, bodies.values().map(|body| (body.lane, body.kind))).await?;
        // bodies of days that the statement did not read
        let missing = grants.iter().flat_map(|grant| &grant.job_ids).filter(|id| !bodies.contains_key(*id));
        let missing: Vec<Uuid> = missing.copied().collect();
        let mut others = self.other_bodies(unit, &missing).await?;
        let mut result = LeaseResult::default();
        let mut nth = 0;
        for grant in grants {
            for (place, (job_id, attempt)) in grant.jobs().enumerate() {
                if nth % share.max(1) == 0 {
                    result.shares.push(Vec::new());
                }
                nth += 1;
                let lease = lease_at(grant.epoch, grant.token, job_id, place, attempt)?;
                let body = bodies.remove(&job_id).and_then(|body| body.named(&names));
                let body = body.or_else(|| others.as_mut()?.remove(&job_id));
                if body.is_some() || others.is_some() {
                    result.add(lease, body, attempt, &settings);
                } else {
                    let settlement = Settlement::Snooze { delay: UNREAD };
                    result.not_startable.push(AttemptEnd { lease, settlement, ran: None });
                }
            }
        }
        Ok(result)
    }

    /// Reads bodies by a second statement. `None` if that fails after the lease was committed: the other jobs must still be
    /// returned.
    async fn other_bodies(
        &self,
        unit: &mut Unit,
        missing: &[Uuid],
    ) -> Result<Option<HashMap<Uuid, BodyRow>>, StoreError> {
        if missing.is_empty() {
            return Ok(Some(HashMap::new()));
        }
        match self.body_rows(unit, missing).await {
            Ok(bodies) => Ok(Some(bodies)),
            Err(error) if unit.is_in_transaction() => Err(error),
            Err(error) => {
                tracing::warn!(
                    cause = error.word(),
                    jobs = missing.len(),
                    "leased jobs cannot be read; they are scheduled again"
                );
                Ok(None)
            }
        }
    }
}

impl LeaseResult {
    /// Adds a job to the last share, or its end if it cannot be started.
    fn add(&mut self, lease: Lease, body: Option<BodyRow>, attempt: i16, settings: &SettingsOfKinds) {
        let lease = lease.with_ties(body.as_ref().map_or(Ties::UNKNOWN, BodyRow::ties));
        let overdue = body.as_ref().is_some_and(|body| body.stored.overdue);
        let waited = body.as_ref().filter(|_| attempt == 1).and_then(|body| body.waited(body.stored.now));
        let lease = lease.with_waited(waited);
        let settlement = match readable(lease.job_id(), body, attempt, settings) {
            Ok(job) if !overdue => {
                if let Some(share) = self.shares.last_mut() {
                    share.push(Leased { job, lease, waited });
                }
                return;
            }
            Ok(job) => settle(&job, Outcome::Expired, 0.0),
            Err(unreadable) => unreadable,
        };
        self.not_startable.push(AttemptEnd { lease, settlement, ran: None });
    }
}
