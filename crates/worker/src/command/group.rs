//! The process group of one run. Owns its end: whatever happens to us, the group does not outlive the attempt.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// Kills the group when it is dropped, unless it was disarmed.
#[derive(Debug)]
pub(super) struct Group {
    leader: Option<Pid>,
    armed: AtomicBool,
}

impl Group {
    pub(super) fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { leader: pid, armed: AtomicBool::new(true) }
    }

    /// Sends a signal to every member. None may be left, which is no error.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            let _none_left = kill_process_group(leader, signal);
        }
    }

    /// The group has ended; its number may soon be another's.
    pub(super) fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.armed.load(Ordering::Relaxed) {
            self.signal(Signal::KILL);
        }
    }
}
