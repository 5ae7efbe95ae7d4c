//! The memory of this process, as the kernel reports it.

use procfs::process::Process;

/// Bytes that are in RAM; `None` if the kernel does not report it.
pub(crate) fn rss_bytes() -> Option<u64> {
    let status = Process::myself().ok()?.status().ok()?;
    status.vmrss.map(|kib| kib.saturating_mul(1024))
}
