//! Retries a transaction that was rolled back because of a deadlock or a serialization failure.

use std::future::Future;

use crate::plumbing::error::StoreError;

/// Maximum number of tries.
const TRIES: u32 = 4;

/// Runs `transaction`, and again after a conflict with another one. It must consist of exactly one transaction, so that a
/// failed try changed nothing.
pub(crate) async fn retry_on_conflict<T, F, Fut>(mut transaction: F) -> Result<T, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 1;
    loop {
        match transaction().await {
            Err(error) if error.is_conflict() && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}
