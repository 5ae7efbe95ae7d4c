//! The processes that the worker's programs start. Owns their end: when a run ends, every process that it
//! left behind is killed, even if it left the process group or the session, and every orphan is reaped.
//!
//! The worker adopts the orphans of its descendants (`PR_SET_CHILD_SUBREAPER`), so a process whose parent has
//! ended becomes a child of the worker. Only children that nothing else waits for are killed or reaped here,
//! because their pids cannot be reused before they are reaped.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use procfs::process::{Process, Stat, all_processes};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The environment variable that identifies the run of a process. Child processes inherit it.
const MARK: &str = "JOBQUEUE_RUN_ID";
/// How long to wait for killed processes to end.
const KILLED_WITHIN: Duration = Duration::from_secs(1);
/// Time between two checks for processes that were killed.
const SWEEP_INTERVAL: Duration = Duration::from_millis(5);

/// The running programs of a worker and the processes that they leave behind. Clones share the state.
#[derive(Clone, Debug)]
pub(crate) struct Processes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Unique for this worker; the prefix of its marks.
    id: uuid::Uuid,
    state: Mutex<State>,
    /// Set once the worker adopts orphans: the children that the process already had, by pid and start time. They
    /// belong to no run (for example a program started by the shell that the worker replaced), so they are never
    /// killed or reaped.
    earlier: OnceLock<HashSet<(i32, u64)>>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the latest run.
    last: u64,
    /// The runs that have not ended.
    live: BTreeSet<u64>,
    /// The pids that tokio waits for.
    leaders: BTreeSet<i32>,
    /// Orphans without a mark by pid and start time, with the number of the latest run when they were first
    /// seen.
    unmarked: HashMap<(i32, u64), u64>,
}

/// The run to which a process belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Run(u64),
    /// The process has cleared its environment. It belongs to this run or an earlier one.
    RunUpTo(u64),
}

impl Owner {
    /// Whether every run to which it may belong has ended.
    fn has_ended(self, live: &BTreeSet<u64>) -> bool {
        match self {
            Self::Run(run) => !live.contains(&run),
            Self::RunUpTo(latest) => live.range(..=latest).next().is_none(),
        }
    }
}

impl Processes {
    /// The state of a new worker, without processes.
    pub(crate) fn new() -> Self {
        let id = uuid::Uuid::new_v4();
        Self(Arc::new(Inner { id, state: Mutex::default(), earlier: OnceLock::new() }))
    }

    /// Starts a program as a new run and returns the run's number.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<(Child, u64)> {
        // locked until the child is recorded: a sweep in between would treat it as an orphan
        let mut state = self.lock();
        let run = state.last + 1;
        let child = command.env(MARK, self.mark(run)).spawn()?;
        state.last = run;
        state.live.insert(run);
        state.leaders.extend(child.id().and_then(|pid| i32::try_from(pid).ok()));
        Ok((child, run))
    }

    /// Ends a run: kills its remaining processes. Processes that become orphans by this are killed by later
    /// sweeps.
    pub(super) fn end(&self, run: u64) {
        let mut state = self.lock();
        state.live.remove(&run);
        self.sweep(&mut state);
    }

    /// Ends a run and waits until all its processes are gone.
    pub(super) async fn end_all_of(&self, run: u64) {
        self.lock().live.remove(&run);
        self.until_gone().await;
    }

    /// Adopts and reaps orphans from now on. Use it only in a process in which nothing else waits for
    /// children of any pid.
    pub(crate) fn adopt(&self) -> io::Result<Adoption> {
        let mut ended = signal(SignalKind::child())?;
        set_child_subreaper(Some(getpid()))?;
        let earlier = children().into_iter().map(|child| (child.pid, child.starttime)).collect();
        let _set_before = self.0.earlier.set(earlier);
        let (processes, mut sweeper) = (self.clone(), JoinSet::new());
        sweeper.spawn(async move {
            while ended.recv().await.is_some() {
                processes.sweep(&mut processes.lock());
            }
        });
        Ok(Adoption { processes: self.clone(), _sweeper: sweeper })
    }

    async fn until_gone(&self) {
        let gone = async {
            while self.sweep(&mut self.lock()) > 0 {
                sleep(SWEEP_INTERVAL).await;
            }
        };
        if timeout(KILLED_WITHIN, gone).await.is_err() {
            tracing::warn!("processes that a program left behind were killed but have not ended");
        }
    }

    /// Reaps orphans that have ended, and kills orphans whose run has ended. Returns how many were killed.
    fn sweep(&self, state: &mut State) -> usize {
        let Some(earlier) = self.0.earlier.get() else { return 0 };
        let mut children = children();
        children.retain(|child| !earlier.contains(&(child.pid, child.starttime)));
        state.leaders.retain(|leader| children.iter().any(|child| child.pid == *leader));
        state.unmarked.retain(|(pid, _), _| children.iter().any(|child| child.pid == *pid));
        let mut killed = 0;
        for child in &children {
            let Some(pid) = Pid::from_raw(child.pid).filter(|_| !state.leaders.contains(&child.pid)) else {
                continue;
            };
            if child.state == 'Z' {
                let _reaped = waitpid(Some(pid), WaitOptions::NOHANG);
            } else if self.owner(state, child).has_ended(&state.live) {
                let _already_ended = kill_process(pid, Signal::KILL);
                killed += 1;
            }
        }
        killed
    }

    fn owner(&self, state: &mut State, child: &Stat) -> Owner {
        let environment = Process::new(child.pid).and_then(|process| process.environ()).unwrap_or_default();
        let mark = environment.get(OsStr::new(MARK)).and_then(|mark| mark.to_str());
        let run =
            mark.and_then(|mark| mark.strip_prefix(&self.0.id.to_string())?.strip_prefix('.')?.parse().ok());
        let last = state.last;
        run.map_or_else(
            || Owner::RunUpTo(*state.unmarked.entry((child.pid, child.starttime)).or_insert(last)),
            Owner::Run,
        )
    }

    fn mark(&self, run: u64) -> String {
        format!("{}.{run}", self.0.id)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The children of all threads of this process.
fn children() -> Vec<Stat> {
    let stat = |pid: i32| Process::new(pid).and_then(|process| process.stat()).ok();
    if let Some(pids) = listed_children() {
        return pids.into_iter().filter_map(stat).collect();
    }
    let own = getpid().as_raw_nonzero().get();
    let all = all_processes().into_iter().flatten().flatten();
    all.filter_map(|process| process.stat().ok()).filter(|stat| stat.ppid == own).collect()
}

/// The pids of the children, if the kernel lists them (`CONFIG_PROC_CHILDREN`).
fn listed_children() -> Option<Vec<i32>> {
    let mut pids = Vec::new();
    for task in Process::myself().ok()?.tasks().ok()?.flatten() {
        match task.children() {
            Ok(children) => pids.extend(children.into_iter().filter_map(|pid| i32::try_from(pid).ok())),
            // the thread has ended
            Err(_) if task.stat().is_err() => {}
            Err(_) => return None,
        }
    }
    Some(pids)
}

/// Keeps this process adopting orphans.
pub(crate) struct Adoption {
    processes: Processes,
    _sweeper: JoinSet<()>,
}

impl Adoption {
    /// Kills all processes that programs left behind, when the worker ends.
    pub(crate) async fn finish(self) {
        self.processes.lock().live.clear();
        self.processes.until_gone().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_killed_when_no_run_that_may_have_started_it_is_left() {
        let live = BTreeSet::from([3, 5]);
        for (owner, ended) in [
            (Owner::Run(3), false),
            (Owner::Run(4), true),
            (Owner::RunUpTo(2), true),
            (Owner::RunUpTo(3), false),
            (Owner::RunUpTo(4), false),
        ] {
            assert_eq!(owner.has_ended(&live), ended, "{owner:?}");
        }
    }
}
