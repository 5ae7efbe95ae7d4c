//! Reads the queues with `max_queued` into the memory of the process.
//!
//! A process that accepts submissions calls [`Store::refresh_queue_rooms`] every second. Between two readings it counts the jobs that it
//! stores itself, but not what other processes and SQL do.

use jobqueue_core::backpressure::QueueRoom;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;

impl Store {
    /// Reads how many jobs the queues with `max_queued` have. From then on [`Store::enqueue`] refuses jobs for which there is no room. A process
    /// that never calls this refuses none.
    pub async fn refresh_queue_rooms(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.queue_gates.reading.lock().await;
        let ended = self.queue_gates.ended();
        let mut unit = self.one().await?;
        let rows = sqlx::query!(
            r#"-- store.queue_rooms
            SELECT name AS "name!", max_queued AS "max_queued!", queued AS "queued!", drain_per_second AS "drain!", paused AS "paused!"
            FROM jobqueue.bounded_queue"#
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let rooms = rows.into_iter().filter_map(|row| {
            let room = QueueRoom {
                max_queued: to_count(row.max_queued),
                queued: to_count(row.queued),
                drain_per_second: row.drain,
                paused: row.paused,
            };
            Some((row.name.parse().ok()?, room))
        });
        self.queue_gates.keep(rooms.collect(), &ended);
        Ok(())
    }
}
