//! Whether jobs can be stored. Owns the readiness checks of the API and which failures make them more thorough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jobqueue_runtime::admin::{Check, Readiness};
use jobqueue_store::{Store, StoreError};

/// Whether a call has failed since the last check that jobs can be stored, for a reason that affects every call. Readiness
/// checks then try to store a job; otherwise they only read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Storing(Arc<AtomicBool>);

impl Storing {
    /// Notes the error of a call.
    pub(crate) fn failed(&self, error: &StoreError) {
        if error.concerns_everyone() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Checks that jobs can be stored.
    async fn check(&self, store: &Store) -> Result<(), StoreError> {
        store.check_ready().await?;
        if self.0.load(Ordering::Relaxed) {
            store.try_storing().await?;
            self.0.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The checks of `/ready`. They use the connections of plain submissions, which nothing else can hold up.
    pub(crate) fn readiness(&self, plain: Store) -> Readiness {
        let storing = self.clone();
        Readiness::new(move || {
            let (store, storing) = (plain.clone(), storing.clone());
            async move {
                match storing.check(&store).await {
                    Ok(()) => vec![Check::pass("database"), Check::pass("schema")],
                    Err(StoreError::Schema(sentence)) => {
                        vec![Check::pass("database"), Check::fail("schema", sentence)]
                    }
                    Err(error) => {
                        vec![Check::fail("database", error.reason())]
                    }
                }
            }
        })
    }
}
