//! Deletes old entries of the audit log.

use std::time::Duration;

use crate::handles::Upkeep;
use crate::plumbing::error::StoreError;
use crate::readers::row::{to_count, to_ms};

/// Entries that one transaction deletes.
const AT_ONCE: i32 = 10_000;
/// Transactions of one call.
const CALLS: u32 = 20;

impl Upkeep<'_> {
    /// Deletes the entries of the audit log that are older than `keep`. Entries of the last 30 days stay regardless of `keep`. Returns how many
    /// it deleted. The next call continues if there are more than it deletes at once.
    pub async fn prune_audit(&self, keep: Duration) -> Result<u64, StoreError> {
        let mut total = 0;
        for _ in 0..CALLS {
            let mut unit = self.0.one().await?;
            let gone = sqlx::query_scalar!(
                r#"-- store.prune.audit
                SELECT jobqueue.prune_audit($1::bigint * interval '1 ms', $2) AS "gone!""#,
                to_ms(keep),
                AT_ONCE,
            )
            .fetch_one(&mut *unit)
            .await?;
            unit.commit().await?;
            total += to_count(gone);
            if gone < i64::from(AT_ONCE) {
                break;
            }
        }
        Ok(total)
    }
}
