//! Protects the worker's secrets from the programs that it runs. They run as the same user, who may normally
//! read `/proc/<pid>/environ` and the memory of the user's processes.

use rustix::io;
use rustix::process::{DumpableBehavior, dumpable_behavior, geteuid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, capability_is_in_bounding_set, remove_capability_from_bounding_set};

/// Capabilities that let root read other processes.
const READING_CAPABILITIES: [CapabilitySet; 3] =
    [CapabilitySet::SYS_PTRACE, CapabilitySet::SYS_ADMIN, CapabilitySet::PERFMON];

/// Makes the environment and the memory of this process unreadable for other processes of its user, and
/// removes the capabilities that would let child programs read them anyway. Call it at the start of `main`:
/// capabilities belong to a thread, and later threads inherit them. It also disables core dumps.
pub fn protect_secrets() {
    // `warn_if_readable` detects and logs a failure
    let _kept = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if geteuid().is_root() {
        for capability in READING_CAPABILITIES {
            let _kept = remove_capability_from_bounding_set(capability);
        }
    }
}

/// Logs a warning if programs can read the secrets of this process.
pub(crate) fn warn_if_readable() {
    if !matches!(is_protected(), Ok(true)) {
        tracing::warn!(
            "programs of command handlers can read this process's environment: run the worker as a user other than root"
        );
    }
}

fn is_protected() -> io::Result<bool> {
    let mut hidden = dumpable_behavior()? == DumpableBehavior::NotDumpable;
    if geteuid().is_root() {
        for capability in READING_CAPABILITIES {
            hidden &= !capability_is_in_bounding_set(capability)?;
        }
    }
    Ok(hidden)
}
