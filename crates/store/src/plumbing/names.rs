//! Looks up the numbers of queue, lane and kind names, and creates new names.

use std::collections::HashSet;
use std::sync::Arc;

use jobqueue_core::{KindName, NewJob, QueueName};

use crate::plumbing::catalog::{Lane, LaneName, Names};
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;

impl Store {
    /// Whether this process has cached the numbers of all names of these jobs.
    pub fn knows_names(&self, jobs: &[NewJob]) -> bool {
        jobs.iter().all(|job| {
            self.catalog.lane(&job.queue, job.priority).is_some() && self.catalog.kind(&job.kind).is_some()
        })
    }

    /// Reads the numbers of these jobs' names and creates new names. Fails after a second if another transaction holds a
    /// lock on a new name. Call it before taking a connection: callers that hold one connection and wait for a second can
    /// block each other.
    pub async fn learn_names(&self, jobs: &[NewJob]) -> Result<(), StoreError> {
        for job in jobs {
            self.lane(&job.queue, job.priority).await?;
            self.kind(&job.kind).await?;
        }
        Ok(())
    }

    /// The lane of a queue and priority. It is created on first use, in its own transaction, so a rollback of the caller
    /// does not remove it.
    pub(crate) async fn lane(&self, queue: &QueueName, priority: i16) -> Result<Lane, StoreError> {
        if let Some(lane) = self.catalog.lane(queue, priority) {
            return Ok(lane);
        }
        let mut unit = self.begin_naming().await?;
        let id = sqlx::query_scalar!(r#"SELECT jobqueue.lane_id($1, $2) AS "id!""#, queue.as_str(), priority)
            .fetch_one(&mut *unit)
            .await?;
        let queue_id = sqlx::query_scalar!("SELECT queue_id FROM jobqueue.lane WHERE id = $1", id)
            .fetch_one(&mut *unit)
            .await?;
        unit.commit().await?;
        let lane = Lane { id, queue_id };
        self.catalog.add_lane(queue, priority, lane);
        Ok(lane)
    }

    /// A transaction that creates a name. It waits at most a second for another one that creates the same name.
    async fn begin_naming(&self) -> Result<Unit, StoreError> {
        let mut unit = self.begin().await?;
        sqlx::query("SET LOCAL lock_timeout = '1s'").execute(&mut *unit).await?;
        Ok(unit)
    }

    /// The number of a kind. It is created on first use.
    pub(crate) async fn kind(&self, kind: &KindName) -> Result<i32, StoreError> {
        if let Some(id) = self.catalog.kind(kind) {
            return Ok(id);
        }
        let mut unit = self.begin_naming().await?;
        let id = sqlx::query_scalar!(r#"SELECT jobqueue.kind_id($1) AS "id!""#, kind.as_str())
            .fetch_one(&mut *unit)
            .await?;
        unit.commit().await?;
        self.catalog.add_kind(kind.clone(), id);
        Ok(id)
    }

    /// The numbers of those kinds that exist. A filter never creates a kind.
    pub(crate) async fn kind_numbers(
        &self,
        unit: &mut Unit,
        kinds: &[KindName],
    ) -> Result<Vec<i32>, StoreError> {
        let mut numbers: Vec<i32> = kinds.iter().filter_map(|kind| self.catalog.kind(kind)).collect();
        if numbers.len() < kinds.len() {
            let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            let rows = sqlx::query!("SELECT id, name FROM jobqueue.kind WHERE name = ANY ($1)", &names)
                .fetch_all(&mut **unit)
                .await?;
            numbers = rows.iter().map(|row| row.id).collect();
            for (id, name) in rows.into_iter().filter_map(|row| Some((row.id, row.name.parse().ok()?))) {
                self.catalog.add_kind(name, id);
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The names of these (lane, kind) numbers. Only those that are not cached are read.
    pub(crate) async fn names(
        &self,
        unit: &mut Unit,
        numbers: impl Iterator<Item = (i32, i32)> + Clone,
    ) -> Result<Arc<Names>, StoreError> {
        let names = self.catalog.names();
        let lanes: HashSet<i32> =
            numbers.clone().map(|(lane, _)| lane).filter(|lane| !names.lanes.contains_key(lane)).collect();
        let kinds: HashSet<i32> =
            numbers.map(|(_, kind)| kind).filter(|kind| !names.kinds.contains_key(kind)).collect();
        if lanes.is_empty() && kinds.is_empty() {
            return Ok(names);
        }
        let lanes = sqlx::query!(
            "-- store.lanes
            SELECT l.id, q.name, l.priority FROM jobqueue.lane l JOIN jobqueue.queue q ON q.id = l.queue_id WHERE l.id = ANY ($1)",
            &Vec::from_iter(lanes),
        )
        .fetch_all(&mut **unit)
        .await?;
        let lanes = lanes.into_iter().filter_map(|row| {
            Some((row.id, LaneName { queue: row.name.parse().ok()?, priority: row.priority }))
        });
        let kinds = sqlx::query!(
            "-- store.kinds\nSELECT id, name FROM jobqueue.kind WHERE id = ANY ($1)",
            &Vec::from_iter(kinds)
        )
        .fetch_all(&mut **unit)
        .await?;
        let kinds = kinds.into_iter().filter_map(|row| Some((row.id, row.name.parse().ok()?)));
        Ok(self.catalog.add_names(lanes, kinds))
    }
}
