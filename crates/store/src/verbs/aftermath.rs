//! Frees what the ends of jobs free, as `core::aftermath` decided. No other code of the verbs does.

use jobqueue_core::{JobId, Settlement, Ties, aftermath};

use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::verbs::unique;

/// Carries out the aftermath of these ends, in the transaction that ended the jobs.
pub(crate) async fn carry_out(
    unit: &mut Unit,
    ended: impl IntoIterator<Item = (JobId, Ties, &Settlement)>,
) -> Result<(), StoreError> {
    let mut keys = Vec::new();
    for (id, ties, settlement) in ended {
        let effects = aftermath(ties, settlement);
        keys.extend(effects.unique_key.map(|status| (id, status)));
    }
    unique::free(unit, &keys).await
}
