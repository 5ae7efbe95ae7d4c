//! Which account runs the server: our own, or an unprivileged one when we are root (Postgres refuses root).
//! It never creates accounts and never changes a directory that it was not given.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ServerError;

/// An unprivileged account to run the server as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account to drop to for a server with this data directory; `None` when we are not root.
    ///
    /// Existing data decides: it belongs to the account that made it.
    pub(crate) fn for_data(data_dir: &Path) -> Result<Option<Self>, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        if let Ok(made) = fs::metadata(data_dir)
            && made.uid() != 0
        {
            return Ok(Some(Self { name: format!("uid {}", made.uid()), uid: made.uid(), gid: made.gid() }));
        }
        let passwd = Path::new("/etc/passwd");
        let accounts = fs::read_to_string(passwd).map_err(ServerError::io("read", passwd))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::in_passwd(&accounts, name))
            .map(Some)
            .ok_or(ServerError::NoAccount)
    }

    fn in_passwd(passwd: &str, name: &str) -> Option<Self> {
        let fields: Vec<_> = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|f| f.first() == Some(&name))?;
        let uid = fields.get(2)?.parse().ok()?;
        let gid = fields.get(3)?.parse().ok()?;
        Some(Self { name: name.to_owned(), uid, gid })
    }

    /// Gives a directory to the account.
    pub(crate) fn own(&self, directory: &Path) -> Result<(), ServerError> {
        chown(directory, Some(self.uid), Some(self.gid)).map_err(ServerError::io("hand over", directory))
    }

    /// The first directory on the way to `path` that the account may not enter.
    pub(crate) fn barrier(&self, path: &Path) -> Option<PathBuf> {
        let mut on_the_way: Vec<_> = path.ancestors().collect();
        on_the_way.reverse();
        on_the_way.into_iter().find(|directory| !self.may_enter(directory)).map(Path::to_path_buf)
    }

    /// What does not exist yet is no barrier: it will be made to fit.
    fn may_enter(&self, directory: &Path) -> bool {
        let Ok(found) = fs::metadata(directory) else { return true };
        let mode = found.permissions().mode();
        if found.uid() == self.uid {
            mode & 0o100 != 0
        } else if found.gid() == self.gid {
            mode & 0o010 != 0
        } else {
            mode & 0o001 != 0
        }
    }
}

/// Whether a server could keep its data in `directory`: as root, the unprivileged account must be able to get there.
pub fn reachable(directory: &Path) -> bool {
    let Ok(directory) = std::path::absolute(directory) else { return false };
    match Account::for_data(&directory.join("data")) {
        Ok(Some(account)) => account.barrier(&directory).is_none(),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// A command of the server's family: as its account, in its own process group (a Ctrl-C in the terminal is ours to
/// handle, not theirs), without the `PG*` variables of whoever started us.
pub(crate) fn command(program: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    // LC_ALL: messages that we can read, and macOS refuses to start a server without a locale.
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).process_group(0);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/sh\npostgresql:x:9:9::/:/bin/sh\npostgres:x:101:104::/var:/bin/sh\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let found = Account::in_passwd(PASSWD, "postgres").unwrap();
        assert_eq!((found.uid, found.gid), (101, 104));
        assert_eq!(Account::in_passwd(PASSWD, "nobody"), None);
        assert_eq!(Account::in_passwd("postgres:x:many:4::/:\n", "postgres"), None);
    }

    #[test]
    fn a_closed_directory_on_the_way_is_named() {
        let top = std::env::temp_dir().join(format!("jobqueue-barrier-{}", std::process::id()));
        let closed = top.join("closed");
        fs::create_dir_all(&closed).unwrap();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account { name: "stranger".to_owned(), uid: 4_242_424, gid: 4_242_424 };
        assert_eq!(stranger.barrier(&closed.join("home")), Some(closed.clone()));
        assert_eq!(stranger.barrier(&top.join("home")), None);
        fs::remove_dir_all(top).unwrap();
    }
}
