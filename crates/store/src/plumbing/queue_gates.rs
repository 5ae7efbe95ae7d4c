//! The queues with `max_queued` that a process keeps in memory, so that a submission costs no statement for them. `readers::queue_rooms` fills
//! it. A process that never reads them refuses no job.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jobqueue_core::QueueName;
use jobqueue_core::backpressure::{QueueGate, QueueRoom};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct QueueGates {
    /// Whether there is any, so that an installation without them does not even look for the name.
    are_some: AtomicBool,
    gates: RwLock<HashMap<QueueName, Arc<Mutex<QueueGate>>>>,
    /// Held during a reading, so that readings follow each other.
    pub(crate) reading: tokio::sync::Mutex<()>,
}

/// What a transaction was let in with. When this is dropped, the places are free again unless the transaction may have been committed.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    gates: &'a QueueGates,
    taken: Vec<(Arc<Mutex<QueueGate>>, u64)>,
    is_committing: bool,
}

impl QueueGates {
    /// Whether any queue has `max_queued`.
    pub(crate) fn are_some(&self) -> bool {
        self.are_some.load(Ordering::Relaxed)
    }

    /// Whether this queue has `max_queued`.
    pub(crate) fn limits(&self, queue: &QueueName) -> bool {
        self.are_some() && self.gate(queue).is_some()
    }

    /// An admission of nothing yet.
    pub(crate) const fn admission(&self) -> Admission<'_> {
        Admission { gates: self, taken: Vec::new(), is_committing: false }
    }

    /// How many jobs of ended transactions each queue has, for the reading that begins now.
    pub(crate) fn ended(&self) -> HashMap<QueueName, u64> {
        let gates = self.gates.read().unwrap_or_else(PoisonError::into_inner);
        gates.iter().map(|(queue, gate)| (queue.clone(), locked(gate).ended())).collect()
    }

    /// Keeps what a reading found. `ended` is what [`QueueGates::ended`] returned before it.
    pub(crate) fn keep(&self, found: Vec<(QueueName, QueueRoom)>, ended: &HashMap<QueueName, u64>) {
        let mut gates = self.gates.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *gates);
        for (queue, room) in found {
            let gate = before.remove(&queue).unwrap_or_default();
            locked(&gate).read(room, ended.get(&queue).copied().unwrap_or(0));
            gates.insert(queue, gate);
        }
        self.are_some.store(!gates.is_empty(), Ordering::Relaxed);
    }

    fn gate(&self, queue: &QueueName) -> Option<Arc<Mutex<QueueGate>>> {
        self.gates.read().unwrap_or_else(PoisonError::into_inner).get(queue).cloned()
    }
}

impl Admission<'_> {
    /// Whether this queue has `max_queued`.
    pub(crate) fn limits(&self, queue: &QueueName) -> bool {
        self.gates.limits(queue)
    }

    /// The transaction is committed now, or it becomes unknown whether it was.
    pub(crate) const fn committing(&mut self) {
        self.is_committing = true;
    }

    /// Lets these jobs into their queues, all or none. The error is the queue that has no room for its jobs, and the number of seconds after which
    /// the client shall try again.
    pub(crate) fn admit(&mut self, wanted: &HashMap<&QueueName, u64>) -> Result<(), (QueueName, u32)> {
        let mut taken: Vec<(Arc<Mutex<QueueGate>>, u64)> = Vec::with_capacity(wanted.len());
        for (queue, jobs) in wanted {
            let Some(gate) = self.gates.gate(queue) else { continue };
            let admitted = locked(&gate).admit(*jobs);
            match admitted {
                Ok(()) => taken.push((gate, *jobs)),
                Err(seconds) => {
                    for (gate, jobs) in &taken {
                        locked(gate).withdraw(*jobs);
                    }
                    return Err(((*queue).clone(), seconds));
                }
            }
        }
        self.taken.extend(taken);
        Ok(())
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        for (gate, jobs) in &self.taken {
            if self.is_committing {
                locked(gate).end(*jobs);
            } else {
                locked(gate).withdraw(*jobs);
            }
        }
    }
}

fn locked(gate: &Mutex<QueueGate>) -> MutexGuard<'_, QueueGate> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}
