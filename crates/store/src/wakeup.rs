//! Wake-ups: a hint that a queue has work. Sent after the commit, from a side connection, many in one; polling is the truth.

use std::collections::BTreeSet;
use std::time::Duration;

use jobqueue_core::QueueName;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::mpsc;

use crate::connect::{Pooler, Store};
use crate::error::StoreError;

/// The channel; its payload is a comma-separated list of queues, or empty for "any".
const CHANNEL: &str = "jobqueue_wake";
/// Longest payload that Postgres takes is 8000 bytes.
const MAX_PAYLOAD_BYTES: usize = 7900;
/// Wake-ups closer together than this become one.
const COALESCE: Duration = Duration::from_millis(5);
/// Wake-ups that may wait to be sent; beyond it they are dropped, for polling comes anyway.
const WAITING: usize = 1024;

/// Sends wake-ups without making anybody wait.
#[derive(Clone, Debug)]
pub struct Notifier(mpsc::Sender<QueueName>);

impl Notifier {
    /// The notifier and the loop that sends for it, which ends when the last clone is gone. The caller owns the loop's task.
    pub fn new(store: &Store) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), send_all(store.clone(), receiver))
    }

    /// Hints that the queue has work.
    pub fn wake(&self, queue: &QueueName) {
        // full or closed: the hint is lost, polling finds the job
        let _ = self.0.try_send(queue.clone());
    }
}

async fn send_all(store: Store, mut receiver: mpsc::Receiver<QueueName>) {
    while let Some(first) = receiver.recv().await {
        let mut queues = BTreeSet::from([first]);
        while let Ok(queue) = receiver.try_recv() {
            queues.insert(queue);
        }
        if let Err(error) = store.notify(&queues).await {
            tracing::debug!(%error, "wake-up not sent; workers poll");
        }
        tokio::time::sleep(COALESCE).await;
    }
}

impl Store {
    async fn notify(&self, queues: &BTreeSet<QueueName>) -> Result<(), StoreError> {
        let names: Vec<&str> = queues.iter().map(QueueName::as_str).collect();
        let names = names.join(",");
        let payload = if names.len() > MAX_PAYLOAD_BYTES { "" } else { &names };
        let mut unit = self.one().await?;
        sqlx::query!("-- store.notify\nSELECT pg_notify($1, $2)", CHANNEL, payload)
            .execute(&mut *unit)
            .await?;
        unit.commit().await
    }

    /// Listens for wake-ups on a connection of its own. Through a pooler in transaction mode none will come: there a LISTEN
    /// would stick to a connection that others use next, who would then get notifications as answers to their statements.
    pub async fn listen(&self) -> Result<Listener, StoreError> {
        if self.pooler == Pooler::Transaction {
            return Ok(Listener(None));
        }
        let side = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(self.pool.options().get_acquire_timeout())
            .connect_lazy_with(self.pool.connect_options().as_ref().clone());
        let mut listener = PgListener::connect_with(&side).await?;
        listener.listen(CHANNEL).await?;
        Ok(Listener(Some(listener)))
    }
}

/// Hears wake-ups; without a connection never any.
#[derive(Debug)]
pub struct Listener(Option<PgListener>);

impl Listener {
    /// The queues of the next wake-up; empty means any. After a lost connection it reconnects by itself and answers "any",
    /// because something may have been missed. Cancel-safe.
    pub async fn heard(&mut self) -> Result<Vec<QueueName>, StoreError> {
        let Some(listener) = &mut self.0 else { return std::future::pending().await };
        let Some(notification) = listener.try_recv().await? else { return Ok(vec![]) };
        Ok(notification.payload().split(',').filter_map(|name| name.parse().ok()).collect())
    }
}
