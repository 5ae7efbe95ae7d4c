//! The account that runs the server: the current one, or an unprivileged one if this process is root, because
//! Postgres refuses to run as root. Never creates accounts, and changes only directories that are passed in.

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
    /// The account that runs a server with this data directory; `None` if this process is not root.
    ///
    /// Existing data is used by the account that owns it.
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

    /// Makes the account the owner of a directory.
    pub(crate) fn take_ownership(&self, directory: &Path) -> Result<(), ServerError> {
        chown(directory, Some(self.uid), Some(self.gid))
            .map_err(ServerError::io("change the owner of", directory))
    }

    /// The first directory in `path` that the account may not enter.
    pub(crate) fn barrier(&self, path: &Path) -> Option<PathBuf> {
        let mut on_the_way: Vec<_> = path.ancestors().collect();
        on_the_way.reverse();
        on_the_way.into_iter().find(|directory| !self.may_enter(directory)).map(Path::to_path_buf)
    }

    /// A directory that does not exist yet is created with the right permissions, so it counts as accessible.
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

/// Whether a server could keep its data in `directory`. If this process is root, the unprivileged account
/// must be able to enter it.
pub fn reachable(directory: &Path) -> bool {
    let Ok(directory) = std::path::absolute(directory) else { return false };
    match Account::for_data(&directory.join("data")) {
        Ok(Some(account)) => account.barrier(&directory).is_none(),
        Ok(None) => true,
        Err(_) => false,
    }
}

/// A command of the server: runs as its account, in its own process group, so that Ctrl-C in the terminal
/// reaches only this process, and without the `PG*` variables of the environment.
pub(crate) fn command(program: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    // LC_ALL makes messages predictable; without a locale, macOS refuses to start a server
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
    fn an_account_is_found_by_its_full_name() {
        let found = Account::in_passwd(PASSWD, "postgres").unwrap();
        assert_eq!((found.uid, found.gid), (101, 104));
        assert_eq!(Account::in_passwd(PASSWD, "nobody"), None);
        assert_eq!(Account::in_passwd("postgres:x:many:4::/:\n", "postgres"), None);
    }

    #[test]
    fn a_directory_that_the_account_may_not_enter_is_named() {
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
