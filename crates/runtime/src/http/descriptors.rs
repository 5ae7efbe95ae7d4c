//! The limit of open files of this process. Computes how many of them a public listener may use, so that some
//! are always left for the database, the logs and the admin port.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files that a process opens besides its connections: logs, listeners, the event loop, name lookups.
const OWN_FILES: usize = 64;

/// Raises the limit of open files as far as the system allows, and returns how many of the `wanted`
/// connections are possible if `reserved` files are kept for other connections; at least one.
pub fn affordable_connections(wanted: usize, reserved: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // if it cannot be raised, the current limit applies
    let _unchanged = setrlimit(Resource::Nofile, limit);
    let open_files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    fitting(wanted, reserved, open_files)
}

fn fitting(wanted: usize, reserved: usize, open_files: Option<usize>) -> usize {
    let free = open_files.map_or(wanted, |files| files.saturating_sub(reserved.saturating_add(OWN_FILES)));
    wanted.min(free).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(fitting(4096, 74, None), 4096);
        assert_eq!(fitting(4096, 74, Some(1_048_576)), 4096);
        assert_eq!(fitting(4096, 74, Some(1024)), 1024 - 74 - 64);
        assert_eq!(fitting(4096, 74, Some(100)), 1);
    }
}
