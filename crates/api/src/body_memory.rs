//! The memory of request bodies. Owns the limit of all bodies together and what each body has taken of it; never
//! reads a body.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::ApiMetrics;
use crate::problem::{Problem, ProblemKind};

/// The memory for all request bodies that are read or being stored. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct BodyBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    bytes: Arc<Semaphore>,
    metrics: ApiMetrics,
}

/// The memory that one request body has taken of the budget. Dropping it gives the memory back.
#[derive(Debug, Default)]
pub(crate) struct BodyMemory(Option<OwnedSemaphorePermit>);

impl BodyBudget {
    pub(crate) fn new(bytes: usize, metrics: &ApiMetrics) -> Self {
        let bytes = Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Budget { bytes, metrics: metrics.clone() }))
    }

    /// Takes `bytes` more for a body. If the budget is used up, the request is refused.
    pub(crate) fn take(&self, bytes: usize, memory: &mut BodyMemory) -> Result<(), Problem> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let more = self.0.bytes.clone().try_acquire_many_owned(bytes).map_err(|_| {
            self.0.metrics.rejected("body_memory");
            Problem::new(
                ProblemKind::TooBusy,
                "the memory for request bodies is used up; repeat the request later",
            )
        })?;
        match &mut memory.0 {
            Some(held) => held.merge(more),
            None => memory.0 = Some(more),
        }
        Ok(())
    }
}
