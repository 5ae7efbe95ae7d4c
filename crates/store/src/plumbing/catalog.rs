//! The cached numbers of queue and kind names. The tables store numbers instead of names.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, RwLock};

use jobqueue_core::{KindName, QueueName};

/// The cache of this process.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    lanes: RwLock<HashMap<(QueueName, i16), Lane>>,
    kinds: RwLock<HashMap<KindName, i32>>,
    names: RwLock<Arc<Names>>,
}

/// Names by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) lanes: HashMap<i32, LaneName>,
    pub(crate) kinds: HashMap<i32, KindName>,
}

/// The queue and priority of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneName {
    pub(crate) queue: QueueName,
    pub(crate) priority: i16,
}

/// The numbers of a lane and its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) id: i32,
    pub(crate) queue_id: i32,
}

impl Catalog {
    /// The lane of a queue and priority, if it is cached.
    pub(crate) fn lane(&self, queue: &QueueName, priority: i16) -> Option<Lane> {
        cached(&self.lanes, &(queue.clone(), priority))
    }

    pub(crate) fn add_lane(&self, queue: &QueueName, priority: i16, lane: Lane) {
        add(&self.lanes, (queue.clone(), priority), lane);
    }

    /// The number of a kind, if it is cached.
    pub(crate) fn kind(&self, kind: &KindName) -> Option<i32> {
        cached(&self.kinds, kind)
    }

    pub(crate) fn add_kind(&self, kind: KindName, id: i32) {
        add(&self.kinds, kind, id);
    }

    /// All cached names.
    pub(crate) fn names(&self) -> Arc<Names> {
        self.names.read().map(|names| names.clone()).unwrap_or_default()
    }

    /// Adds names and returns all.
    pub(crate) fn add_names(
        &self,
        lanes: impl Iterator<Item = (i32, LaneName)>,
        kinds: impl Iterator<Item = (i32, KindName)>,
    ) -> Arc<Names> {
        let Ok(mut cached) = self.names.write() else { return Arc::default() };
        // this copies the names if another task still holds the old ones
        let names = Arc::make_mut(&mut cached);
        names.lanes.extend(lanes);
        names.kinds.extend(kinds);
        cached.clone()
    }
}

fn cached<K: Eq + Hash, V: Copy>(map: &RwLock<HashMap<K, V>>, key: &K) -> Option<V> {
    map.read().ok()?.get(key).copied()
}

fn add<K: Eq + Hash, V>(map: &RwLock<HashMap<K, V>>, key: K, value: V) {
    if let Ok(mut map) = map.write() {
        map.insert(key, value);
    }
}
