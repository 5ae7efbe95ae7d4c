//! Frees what the ends of jobs free, starts what they start, and records dead letters, as `core::aftermath` decided. No other code of the verbs does.

use jobqueue_core::{FailureCause, JobId, Settlement, Ties, aftermath};

use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::verbs::{dead_letters, unique, webhook};

/// Carries out the aftermath of these ends, in the transaction that ended the jobs.
pub(crate) async fn carry_out(
    unit: &mut Unit,
    ended: impl IntoIterator<Item = (JobId, Ties, &Settlement)>,
) -> Result<(), StoreError> {
    let (mut keys, mut letters, mut announced) = (Vec::new(), Vec::new(), Vec::new());
    for (id, ties, settlement) in ended {
        let effects = aftermath(ties, settlement);
        keys.extend(effects.unique_key.map(|status| (id, status)));
        announced.extend(effects.webhook.then_some(id.as_uuid()));
        letters.extend(
            settlement
                .failure()
                .filter(|_| effects.dead_letter)
                .map(|failure| (id, FailureCause::of(failure))),
        );
    }
    unique::free(unit, &keys).await?;
    webhook::announce(unit, announced).await?;
    // last: its waits for the first dead letter of a new group must not hold up anything else
    dead_letters::record(unit, &letters).await
}
