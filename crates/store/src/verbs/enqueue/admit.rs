//! Which new jobs their queues refuse, because they have `max_queued` and no room. Decides before anything is stored.

use std::collections::HashMap;

use jobqueue_core::{JobId, NewJob, OnConflict, QueueName, Start};
use uuid::Uuid;

use super::rows::JobWithId;
use super::submission::Submission;
use crate::plumbing::connect::Store;
use crate::plumbing::queue_gates::Admission;

/// The refused jobs, with the seconds after which the client shall try again.
pub(super) type Refused = HashMap<JobId, u32>;

impl Store {
    /// Whether a job of these requests may be refused. False, at the cost of one look at a flag, as long as no queue has `max_queued`.
    pub(super) fn is_limited(&self, submissions: &[&Submission]) -> bool {
        self.queue_gates.are_some()
            && submissions.iter().flat_map(|s| &s.jobs).any(|job| self.queue_gates.limits(&job.queue))
    }

    /// Lets the jobs of a request into their queues. Of an atomic request the refused ones are all jobs of a queue without room for them, and
    /// then none is let in.
    ///
    /// A job counts if it would become `queued` at once. Not one whose key another job holds: it is not stored, or it takes the place of the other.
    pub(super) fn admit(
        &self,
        admission: &mut Admission<'_>,
        (jobs, atomic): (&[JobWithId<'_>], bool),
        holders: &HashMap<Uuid, JobId>,
    ) -> Refused {
        let mut refused = Refused::new();
        if !self.queue_gates.are_some() {
            return refused;
        }
        let counts = |new: &&JobWithId<'_>| {
            new.other_holder(holders).is_none()
                && self.starts_now(new.job)
                && admission.limits(&new.job.queue)
        };
        let counted: Vec<&JobWithId<'_>> = jobs.iter().filter(counts).collect();
        if atomic {
            let mut wanted: HashMap<&QueueName, u64> = HashMap::new();
            for new in &counted {
                *wanted.entry(&new.job.queue).or_default() += 1;
            }
            if let Err((queue, seconds)) = admission.admit(&wanted) {
                let of_queue = counted.iter().filter(|new| new.job.queue == queue);
                refused.extend(of_queue.map(|new| (new.id, seconds)));
            }
        } else {
            for new in counted {
                if let Err((_, seconds)) = admission.admit(&HashMap::from([(&new.job.queue, 1)])) {
                    refused.insert(new.id, seconds);
                }
            }
        }
        // a later job of the same request found the key of a refused one taken
        for new in jobs {
            let of_holder = new.other_holder(holders).and_then(|(holder, _)| refused.get(&holder).copied());
            if let Some(seconds) = of_holder {
                refused.insert(new.id, seconds);
            }
        }
        refused
    }

    fn starts_now(&self, job: &NewJob) -> bool {
        match job.start {
            Start::Now => true,
            Start::At(at) => self.ids.time().is_some_and(|now| at <= now),
            Start::After(delay) => delay.is_zero(),
        }
    }
}

/// Whether another job holds the key of this one, which then is rejected.
pub(super) fn is_rejected(new: &JobWithId<'_>, holders: &HashMap<Uuid, JobId>) -> bool {
    new.other_holder(holders).is_some_and(|(_, conflict)| conflict == OnConflict::Reject)
}
