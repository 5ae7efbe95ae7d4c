//! What operators can change in a running worker: whether it leases, from which queues, how many jobs it runs, and its end. Owns these
//! settings, which last until the process ends; does not carry out the changes on running jobs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobqueue_core::{ControlCommand, Json, QueueName};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::queues::QueuePlan;

/// See the module. The dispatcher reads it in each cycle; the heartbeat's thread changes it.
#[derive(Debug)]
pub(crate) struct Control {
    paused: AtomicBool,
    slots: AtomicUsize,
    queues: Mutex<Arc<QueuePlan>>,
    /// The worker's row no longer says what a command has changed.
    outdated: AtomicBool,
    /// Cancelled by the command `drain`.
    drain: CancellationToken,
    /// Cancelled by the command `shutdown`.
    shutdown: CancellationToken,
    /// Wakes the heartbeat: its answer has something for this worker.
    beat: Notify,
}

impl Control {
    /// The settings of the configuration.
    pub(crate) fn new(slots: usize, queues: QueuePlan) -> Self {
        Self {
            paused: AtomicBool::new(false),
            slots: AtomicUsize::new(slots),
            queues: Mutex::new(Arc::new(queues)),
            outdated: AtomicBool::new(false),
            drain: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            beat: Notify::new(),
        }
    }

    /// Carries out a command. Returns the answer, or why it is not possible.
    pub(crate) fn carry_out(&self, command: &ControlCommand) -> Result<Json, String> {
        let answer = match command {
            ControlCommand::Ping => json!({ "ok": "pong" }),
            ControlCommand::Pause => self.set_paused(true),
            ControlCommand::Resume => self.set_paused(false),
            ControlCommand::Drain => {
                self.drain.cancel();
                json!({ "draining": true })
            }
            ControlCommand::Shutdown => {
                self.shutdown.cancel();
                json!({ "draining": true })
            }
            ControlCommand::Resize { slots } => {
                self.slots.store(usize::try_from(*slots).unwrap_or(usize::MAX), Ordering::Relaxed);
                self.set_outdated();
                json!({ "slots": slots })
            }
            ControlCommand::Queues { subscribe, unsubscribe } => {
                json!({ "queues": self.change_queues(subscribe, unsubscribe)? })
            }
        };
        Json::of(&answer).map_err(|error| error.to_string())
    }

    fn set_paused(&self, paused: bool) -> serde_json::Value {
        self.paused.store(paused, Ordering::Relaxed);
        self.set_outdated();
        json!({ "paused": paused })
    }

    fn change_queues(
        &self,
        subscribe: &[QueueName],
        unsubscribe: &[QueueName],
    ) -> Result<Vec<QueueName>, String> {
        let mut queues = self.lock();
        let changed = queues
            .changed(subscribe, unsubscribe)
            .ok_or("no queue would be left: pause the worker instead")?;
        let names = changed.names().into_iter().cloned().collect();
        *queues = Arc::new(changed);
        self.set_outdated();
        Ok(names)
    }

    /// Whether no jobs are leased.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// How many jobs run at the same time.
    pub(crate) fn slots(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }

    /// The queues to lease from.
    pub(crate) fn queues(&self) -> Arc<QueuePlan> {
        self.lock().clone()
    }

    /// Whether the worker's row must be written again; asked once after each change.
    pub(crate) fn take_outdated(&self) -> bool {
        self.outdated.swap(false, Ordering::Relaxed)
    }

    /// The worker's row must be written again.
    pub(crate) fn set_outdated(&self) {
        self.outdated.store(true, Ordering::Relaxed);
    }

    /// Whether the worker ends when its running jobs have finished.
    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// Whether the worker ends as after SIGTERM.
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Requests a heartbeat now.
    pub(crate) fn request_beat(&self) {
        self.beat.notify_one();
    }

    /// Resolves when a heartbeat is requested.
    pub(crate) async fn beat_requested(&self) {
        self.beat.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Arc<QueuePlan>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_queue_cannot_be_unsubscribed() {
        let control = Control::new(2, QueuePlan::parse(["a"]).unwrap());
        let queues = |subscribe: &[&str], unsubscribe: &[&str]| {
            let names = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect();
            let command =
                ControlCommand::Queues { subscribe: names(subscribe), unsubscribe: names(unsubscribe) };
            control.carry_out(&command).map(|answer| answer.as_str().to_owned())
        };
        assert_eq!(queues(&["b", "a"], &[]).unwrap(), r#"{"queues":["a","b"]}"#);
        assert!(control.take_outdated() && !control.take_outdated());
        assert_eq!(queues(&[], &["a", "x"]).unwrap(), r#"{"queues":["b"]}"#);
        assert!(queues(&[], &["b"]).unwrap_err().contains("pause"));
        assert_eq!(control.queues().names().len(), 1);
    }
}
