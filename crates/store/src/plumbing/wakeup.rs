//! Wake-ups tell workers that a queue has jobs. They are sent after the commit, over another connection, many in one notification.
//! They may be lost: workers also poll. The same channel hints that a worker should send its next heartbeat now, because the answer has
//! something for it.

use std::collections::BTreeSet;
use std::time::Duration;

use jobqueue_core::{QueueName, WorkerId};
use sqlx::Executor as _;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::plumbing::pooler::Pooler;
use crate::plumbing::time_limits;

/// The channel. Its payload is a comma-separated list of queues, and of ids of workers after a `!`, which starts no name of a queue; empty
/// means any queue. `*routes` says that routes changed; a process that does not know it polls, like one for which the list is empty.
pub(crate) const CHANNEL: &str = "jobqueue_wake";
/// What the database sends when routes are changed.
const ROUTES: &str = "*routes";
/// Maximum length of the list. Postgres accepts payloads of less than 8000 bytes.
const MAX_PAYLOAD_BYTES: usize = 7900;
/// Workers in one notification: as many as fit.
const WORKERS_AT_ONCE: usize = 200;
/// Wake-ups within this time are sent as one.
const COALESCE: Duration = Duration::from_millis(5);
/// Maximum number of wake-ups that wait to be sent. More are dropped; polling finds those jobs.
const WAITING: usize = 1024;

/// Sends wake-ups in the background.
#[derive(Clone, Debug)]
pub struct Notifier(mpsc::Sender<QueueName>);

impl Notifier {
    /// The notifier, and the loop that sends its wake-ups. The caller runs the loop in a task. The loop ends when the last clone of the
    /// notifier is dropped.
    pub fn new(store: &Store) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), send_all(store.clone(), receiver))
    }

    /// Notifies workers that the queue has jobs.
    pub fn wake(&self, queue: &QueueName) {
        // if the channel is full or closed, the wake-up is lost and polling finds the job
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
        self.send(payload).await
    }

    /// Hints that these workers should send their next heartbeat now. If it fails, they learn the same at their usual time.
    pub(crate) async fn hint_heartbeats(&self, workers: &[WorkerId]) {
        for some in workers.chunks(WORKERS_AT_ONCE) {
            let ids: Vec<String> = some.iter().map(|worker| format!("!{worker}")).collect();
            if let Err(error) = self.send(&ids.join(",")).await {
                tracing::debug!(%error, "hint not sent; the heartbeats come at their usual time");
                return;
            }
        }
    }

    /// Notifies the workers of all queues.
    pub(crate) async fn wake_all(&self) {
        if let Err(error) = self.send("").await {
            tracing::debug!(%error, "wake-up not sent; workers poll");
        }
    }

    async fn send(&self, payload: &str) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        sqlx::query!("-- store.notify\nSELECT pg_notify($1, $2)", CHANNEL, payload)
            .execute(&mut *unit)
            .await?;
        unit.commit().await
    }

    /// Listens for wake-ups on a separate connection. Behind a pooler in transaction mode it receives none: a LISTEN would apply to a
    /// server connection that other clients use next, and they would receive the notifications.
    pub async fn listen(&self) -> Result<Listener, StoreError> {
        if self.pooler == Pooler::Transaction {
            return Ok(Listener(None));
        }
        let mut listener = PgListener::connect_with(&self.side_pool())
            .await
            .map_err(|error| StoreError::unreachable(&error))?;
        listener.listen(CHANNEL).await?;
        Ok(Listener(Some(listener)))
    }
}

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// These queues may have jobs.
    Queues(Vec<QueueName>),
    /// Any queue may have jobs. Also returned after a lost connection, because notifications may have been missed.
    AnyQueue,
    /// Routes were changed.
    RoutesChanged,
    /// The next heartbeats of these workers have something in their answers.
    Workers(Vec<WorkerId>),
}

impl Heard {
    fn parse(payload: &str) -> Self {
        if payload == ROUTES {
            return Self::RoutesChanged;
        }
        let workers: Vec<WorkerId> = payload
            .split(',')
            .filter_map(|word| Some(WorkerId::from_uuid(word.strip_prefix('!')?.parse().ok()?)))
            .collect();
        let queues: Vec<QueueName> = payload.split(',').filter_map(|name| name.parse().ok()).collect();
        match (queues.is_empty(), workers.is_empty()) {
            (true, true) => Self::AnyQueue,
            (true, false) => Self::Workers(workers),
            (false, _) => Self::Queues(queues),
        }
    }
}

/// Receives wake-ups. Without a connection it receives none.
#[derive(Debug)]
pub struct Listener(Option<PgListener>);

impl Listener {
    /// The next notification. After a lost connection it reconnects and returns `AnyQueue`. Fails if the server does not answer any more: drop this listener then. Cancel-safe.
    pub async fn heard(&mut self) -> Result<Heard, StoreError> {
        let Some(listener) = &mut self.0 else { return std::future::pending().await };
        loop {
            if let Ok(received) = timeout(time_limits::LISTENER_QUIET, listener.try_recv()).await {
                let Some(notification) = received? else { return Ok(Heard::AnyQueue) };
                return Ok(Heard::parse(notification.payload()));
            }
            // wake-ups that arrive meanwhile are kept for the next turn
            match timeout(time_limits::LISTENER_CHECK, listener.execute("/* store.listener */ SELECT 1"))
                .await
            {
                Ok(answer) => answer.map(|_| ())?,
                Err(_late) => return Err(StoreError::unreachable(&sqlx::Error::PoolTimedOut)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_and_workers_are_distinguished() {
        let worker = WorkerId::from_uuid(uuid::Uuid::from_u128(7));
        let queue = "a-b".parse::<QueueName>().unwrap();
        assert_eq!(Heard::parse(""), Heard::AnyQueue);
        assert_eq!(Heard::parse("*routes"), Heard::RoutesChanged);
        assert_eq!(Heard::parse("a-b"), Heard::Queues(vec![queue]));
        assert_eq!(Heard::parse(&format!("!{worker},!{worker}")), Heard::Workers(vec![worker; 2]));
        assert_eq!(Heard::parse("!not-an-id"), Heard::AnyQueue, "of a later version");
    }
}
