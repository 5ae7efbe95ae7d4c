//! Numbers of names. Queues, priorities and kinds are few and for ever, so each process remembers those it met.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::RwLock;

use jobqueue_core::{KindName, NewJob, QueueName};

use crate::connect::{Store, Unit};
use crate::error::StoreError;

/// What this process knows already.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    lanes: RwLock<HashMap<(QueueName, i16), Lane>>,
    kinds: RwLock<HashMap<KindName, i32>>,
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
    pub(crate) async fn kinds(unit: &mut Unit, kinds: &[KindName]) -> Result<Vec<i32>, StoreError> {
        let names: Vec<String> = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
        Ok(sqlx::query_scalar!("SELECT id FROM jobqueue.kind WHERE name = ANY ($1)", &names)
            .fetch_all(&mut **unit)
            .await?)
    }
}
