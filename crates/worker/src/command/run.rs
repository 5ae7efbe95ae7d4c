//! One run of a program. Owns its end: no process of the run outlives the attempt.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::processes::Processes;

/// A running program. Dropping it kills the program and the processes that it started.
#[derive(Debug)]
pub(super) struct Run {
    processes: Processes,
    number: u64,
    /// The pid of the program, which leads its own process group.
    leader: Option<Pid>,
    /// Set when the group has ended, because its id may be reused.
    ended: AtomicBool,
}

impl Run {
    /// Starts the program in its own process group.
    pub(super) fn start(command: &mut Command, processes: &Processes) -> io::Result<(Self, Child)> {
        let (child, number) = processes.spawn(command.process_group(0).kill_on_drop(true))?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok((Self { processes: processes.clone(), number, leader, ended: AtomicBool::new(false) }, child))
    }

    /// Sends a signal to every member of the group. The group may already be empty.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader
            && !self.ended.load(Ordering::Relaxed)
        {
            let _none_left = kill_process_group(leader, signal);
        }
    }

    /// Call it after the program has exited. Kills what the program left behind and waits until that is gone.
    pub(super) async fn end(&self) {
        self.signal(Signal::KILL);
        self.ended.store(true, Ordering::Relaxed);
        self.processes.end_all_of(self.number).await;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.processes.end(self.number);
    }
}
