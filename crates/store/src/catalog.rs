//! Numbers of names. Queues, priorities and kinds are few and for ever, so each process remembers those it met.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, RwLock};

use jobqueue_core::{KindName, NewJob, QueueName};

use crate::connect::{Store, Unit};
use crate::error::StoreError;

/// What this process knows already.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    lanes: RwLock<HashMap<(QueueName, i16), Lane>>,
    kinds: RwLock<HashMap<KindName, i32>>,
    names: RwLock<Arc<Names>>,
}

/// The other way round: names of numbers. Replaced as a whole when a number is met that it lacks.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) lanes: HashMap<i32, LaneName>,
    pub(crate) kinds: HashMap<i32, KindName>,
}

/// What a lane is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneName {
    pub(crate) queue: QueueName,
    pub(crate) priority: i16,
}

/// The numbers of a (queue, priority).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) id: i32,
    pub(crate) queue_id: i32,
}

fn known<K: Eq + Hash, V: Copy>(map: &RwLock<HashMap<K, V>>, key: &K) -> Option<V> {
    map.read().ok()?.get(key).copied()
}

fn learn<K: Eq + Hash, V>(map: &RwLock<HashMap<K, V>>, key: K, value: V) {
    if let Ok(mut map) = map.write() {
        map.insert(key, value);
    }
}

impl Store {
    /// Makes sure that the names of these jobs are known, before the caller takes a connection: whoever holds one and waits
    /// for a second can wait for ever on others who do the same.
    pub(crate) async fn learn_names(&self, jobs: impl Iterator<Item = &NewJob>) -> Result<(), StoreError> {
        for job in jobs {
            self.lane(&job.queue, job.priority).await?;
            self.kind(&job.kind).await?;
        }
        Ok(())
    }

    /// The lane of a queue and priority, made on first use in a transaction of its own, so that it outlives a rollback.
    pub(crate) async fn lane(&self, queue: &QueueName, priority: i16) -> Result<Lane, StoreError> {
        let key = (queue.clone(), priority);
        if let Some(lane) = known(&self.catalog.lanes, &key) {
            return Ok(lane);
        }
        let mut unit = self.begin().await?;
        let id = sqlx::query_scalar!(r#"SELECT jobqueue.lane_id($1, $2) AS "id!""#, queue.as_str(), priority)
            .fetch_one(&mut *unit)
            .await?;
        let queue_id = sqlx::query_scalar!("SELECT queue_id FROM jobqueue.lane WHERE id = $1", id)
            .fetch_one(&mut *unit)
            .await?;
        unit.commit().await?;
        let lane = Lane { id, queue_id };
        learn(&self.catalog.lanes, key, lane);
        Ok(lane)
    }

    /// The number of a kind, made on first use.
    pub(crate) async fn kind(&self, kind: &KindName) -> Result<i32, StoreError> {
        if let Some(id) = known(&self.catalog.kinds, kind) {
            return Ok(id);
        }
        let mut unit = self.begin().await?;
        let id = sqlx::query_scalar!(r#"SELECT jobqueue.kind_id($1) AS "id!""#, kind.as_str())
            .fetch_one(&mut *unit)
            .await?;
        unit.commit().await?;
        learn(&self.catalog.kinds, kind.clone(), id);
        Ok(id)
    }

    /// The numbers of those kinds that exist; a filter never makes one.
    pub(crate) async fn kinds(&self, unit: &mut Unit, kinds: &[KindName]) -> Result<Vec<i32>, StoreError> {
        let mut numbers: Vec<i32> =
            kinds.iter().filter_map(|kind| known(&self.catalog.kinds, kind)).collect();
        if numbers.len() < kinds.len() {
            let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            let rows = sqlx::query!("SELECT id, name FROM jobqueue.kind WHERE name = ANY ($1)", &names)
                .fetch_all(&mut **unit)
                .await?;
            numbers = rows.iter().map(|row| row.id).collect();
            for (id, name) in rows.into_iter().filter_map(|row| Some((row.id, row.name.parse().ok()?))) {
                learn(&self.catalog.kinds, name, id);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The names of these (lane, kind) numbers.
    pub(crate) async fn names(
        &self,
        unit: &mut Unit,
        numbers: impl Iterator<Item = (i32, i32)> + Clone,
    ) -> Result<Arc<Names>, StoreError> {
        let names = self.catalog.names.read().map(|names| names.clone()).unwrap_or_default();
        if numbers
            .clone()
            .all(|(lane, kind)| names.lanes.contains_key(&lane) && names.kinds.contains_key(&kind))
        {
            return Ok(names);
        }
        let lanes = sqlx::query!(
            "-- store.lanes
            SELECT l.id, q.name, l.priority FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id"
        )
        .fetch_all(&mut **unit)
        .await?;
        let lanes = lanes.into_iter().filter_map(|row| {
            Some((row.id, LaneName { queue: row.name.parse().ok()?, priority: row.priority }))
        });
        let kinds =
            sqlx::query!("-- store.kinds\nSELECT id, name FROM jobqueue.kind").fetch_all(&mut **unit).await?;
        let kinds = kinds.into_iter().filter_map(|row| Some((row.id, row.name.parse().ok()?)));
        let names = Arc::new(Names { lanes: lanes.collect(), kinds: kinds.collect() });
        if let Ok(mut known) = self.catalog.names.write() {
            known.clone_from(&names);
        }
        Ok(names)
    }
}
