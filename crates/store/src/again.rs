//! Two transactions met and one gave way: it is tried again. Only for what is one transaction, of which nothing was done.

use std::future::Future;

use crate::error::StoreError;

/// A transaction that gave way this often is given up.
const TRIES: u32 = 4;

/// Does it, and after a collision (deadlock, serialization failure) once more.
pub(crate) async fn on_collision<T, F, Fut>(mut transaction: F) -> Result<T, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 1;
    loop {
        match transaction().await {
            Err(error) if error.is_collision() && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}
