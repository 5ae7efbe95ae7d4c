//! What the database says about settled ends. Owns the logs and metrics of each verdict; does not retry.

use std::sync::Arc;

use jobqueue_store::Settled;

use super::call::{SettleResult, is_refused};
use crate::ended::EndedAttempt;
use crate::shared::Shared;

/// Removes the ends that are settled or can never be settled from the table of attempts, and returns the others.
pub(super) fn record(
    shared: &Shared,
    ends: &[Arc<EndedAttempt>],
    settled: Vec<SettleResult>,
) -> Vec<Arc<EndedAttempt>> {
    let mut open = Vec::new();
    for (end, settled) in ends.iter().zip(settled) {
        let (job, metrics) = (&end.job, &shared.metrics);
        match settled {
            Err(error) if !is_refused(&error) => {
                open.push(end.clone());
                continue;
            }
            Err(error) => tracing::error!(
                job_id = %job.id, attempt = job.attempt, %error,
                "the database rejects every end of the attempt; the next heartbeat gives its lease back, and the job runs again"
            ),
            Ok(Settled::Applied(status)) => {
                metrics.ended(job, status);
                end.log(status);
            }
            Ok(Settled::Stale) if end.was_tried() => tracing::info!(
                job_id = %job.id, attempt = job.attempt,
                "settled by an earlier try whose answer was lost, or the lease was lost meanwhile"
            ),
            Ok(Settled::Stale) => {
                metrics.stale.inc();
                tracing::warn!(
                    job_id = %job.id, attempt = job.attempt, queue = %job.queue, kind = %job.kind,
                    "the lease was lost before the attempt's end was settled; its result is dropped"
                );
            }
        }
        shared.running.remove(&end.lease);
    }
    open
}
