//! What `GET /v1/stream` shows. A new kind of object needs a variant here and an arm in each of these functions, and nothing else.

use std::collections::BTreeMap;

use jobqueue_core::limits::MAX_PAGE;
use jobqueue_store::{DeadLetterGroup, QueueCensus, WorkerRecord};
use serde::Serialize;

use crate::census::CensusReader;
use crate::problem::Problem;
use crate::store_access::StoreAccess;
use crate::wire::stream::{GroupEvent, QueueEvent, WorkerEvent};

/// Groups of dead letters that are shown.
const MAX_GROUPS: u32 = 100;

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// All queues with their counts.
    Queues,
    /// The first thousand live workers by name.
    Workers,
    /// The largest groups of dead letters.
    DeadLetterGroups,
}

/// Where topics are read.
#[derive(Clone, Debug)]
pub(crate) struct TopicSources {
    pub(crate) store: StoreAccess,
    pub(crate) census: CensusReader,
}

impl Topic {
    /// All topics, in the order in which they are read.
    pub(crate) const ALL: [Self; 3] = [Self::Queues, Self::Workers, Self::DeadLetterGroups];

    /// Name of the event of an object that is new or has changed.
    pub(crate) const fn changed(self) -> &'static str {
        match self {
            Self::Queues => "queue",
            Self::Workers => "worker",
            Self::DeadLetterGroups => "dead_letter_group",
        }
    }

    /// Name of the event of an object that is gone.
    pub(crate) const fn removed(self) -> &'static str {
        match self {
            Self::Queues => "queue_removed",
            Self::Workers => "worker_removed",
            Self::DeadLetterGroups => "dead_letter_group_removed",
        }
    }

    /// The member that names the object, in both events.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Queues => "queue",
            Self::Workers => "worker_id",
            Self::DeadLetterGroups => "group",
        }
    }

    /// All objects by name, as data of their events. One read.
    pub(crate) async fn read(self, from: &TopicSources) -> Result<BTreeMap<String, String>, Problem> {
        match self {
            Self::Queues => {
                let latest = from.census.read().await?;
                let queue = |queue: &QueueCensus| (queue.queue.clone(), text(&QueueEvent::new(queue)));
                Ok(latest.census.queues.iter().map(queue).collect())
            }
            Self::Workers => {
                let workers =
                    from.store.call(|store| async move { store.workers(None, MAX_PAGE).await }).await?;
                let worker = |worker: &WorkerRecord| (worker.id.to_string(), text(&WorkerEvent::new(worker)));
                Ok(workers.iter().map(worker).collect())
            }
            Self::DeadLetterGroups => {
                let groups = from
                    .store
                    // an event has no examples
                    .call(|store| async move { store.dead_letters().largest_groups(MAX_GROUPS, 0).await })
                    .await?;
                let group =
                    |group: &DeadLetterGroup| (group.fingerprint.to_string(), text(&GroupEvent::new(group)));
                Ok(groups.iter().map(group).collect())
            }
        }
    }
}

fn text(event: &impl Serialize) -> String {
    serde_json::to_string(event).unwrap_or_default()
}
