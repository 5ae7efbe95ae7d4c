//! How request handlers call the store. Owns the task of each call and its time limit; decides nothing.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_runtime::Shutdown;
use jobqueue_store::{Store, StoreError};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::problem::Problem;
use crate::storing::Storing;

/// The longest that a request waits for the store. It is below 30 s, within which every request is answered.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(25);

/// A store for request handlers. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct StoreAccess(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Store,
    shutdown: Shutdown,
    storing: Storing,
}

impl StoreAccess {
    pub(crate) fn new(store: Store, shutdown: &Shutdown, storing: &Storing) -> Self {
        Self(Arc::new(Parts { store, shutdown: shutdown.clone(), storing: storing.clone() }))
    }

    /// Makes a store call and waits for its answer. The call runs in a task of its own, because a client that
    /// disconnects drops the future of its request, and a transaction must not be dropped before it ends.
    pub(crate) async fn call<T, F, Fut>(&self, call: F) -> Result<T, Problem>
    where
        F: FnOnce(Store) -> Fut,
        Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let running = self.spawn(call(self.0.store.clone()).in_current_span());
        match tokio::time::timeout(CALL_LIMIT, running).await {
            Ok(Ok(answer)) => answer.inspect_err(|error| self.0.storing.failed(error)).map_err(Problem::from),
            Ok(Err(_panicked)) => Err(Problem::internal()),
            Err(_) => Err(Problem::unanswered()),
        }
    }

    /// Runs a future in a task that the shutdown waits for. It continues if the client disconnects.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.shutdown.spawn_contained(future)
    }

    /// The store itself. A call that is made on it directly must run in a task that nothing cancels.
    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }
}
