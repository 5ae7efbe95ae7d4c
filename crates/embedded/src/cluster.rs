//! The files of a server: its home directory, its data directory created by `initdb`, and its log. Starts no
//! server.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::account::{Account, command};
use crate::guard::Guard;
use crate::{PgBin, ServerError, ServerOptions};

/// The directory of one server and the account that its files belong to.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Owned by this process's account. It contains `data/` and `server.log`, so the server's account cannot
    /// replace the log by a link.
    pub(crate) home: PathBuf,
    /// Owned by the server's account, mode 0700.
    pub(crate) data: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) account: Option<Account>,
}

impl Cluster {
    /// Creates the home directory, and checks that the server's account can enter it.
    pub(crate) fn prepare(options: &ServerOptions) -> Result<Self, ServerError> {
        let home = match &options.home {
            Some(home) => {
                let home = std::path::absolute(home).map_err(ServerError::io("resolve", home))?;
                fs::create_dir_all(&home).map_err(ServerError::io("create", &home))?;
                home
            }
            None => new_temporary_home()?,
        };
        let data = home.join("data");
        let account = Account::for_data(&data)?;
        if let Some(account) = &account {
            open_for(account, &home)?;
        }
        if let Some(socket_dir) = &options.socket_dir {
            fs::create_dir_all(socket_dir).map_err(ServerError::io("create", socket_dir))?;
            account.as_ref().map_or(Ok(()), |account| account.take_ownership(socket_dir))?;
        }
        Ok(Self { log: home.join("server.log"), data, home, account })
    }

    /// Creates the data directory unless it exists. It gets its final name only after `initdb` has finished.
    pub(crate) fn init(&self, options: &ServerOptions, guard: &mut Guard) -> Result<(), ServerError> {
        if self.data.join("PG_VERSION").is_file() {
            return self.check_major(&options.bin);
        }
        let unfinished = self.home.join("data.new");
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ServerError::io("remove", &unfinished)(error));
            }
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&unfinished).map_err(ServerError::io("create", &unfinished))?;
        self.account.as_ref().map_or(Ok(()), |account| account.take_ownership(&unfinished))?;
        self.run_initdb(options, &unfinished, guard)?;
        fs::rename(&unfinished, &self.data).map_err(ServerError::io("rename", &unfinished))
    }

    /// Opens the log for appending.
    pub(crate) fn open_log(&self) -> Result<File, ServerError> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.log)
            .map_err(ServerError::io("open", &self.log))
    }

    /// The last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        fs::read(&self.log).map(|bytes| tail(&bytes)).unwrap_or_default()
    }

    /// The process id and the state (`ready`, `starting`, …) from the server's lock file.
    pub(crate) fn lock_file(&self) -> Option<(u32, String)> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        // lines 2 to 7: data directory, start time, port, socket directory, address, shared memory
        let state = lines.nth(6)?.trim().to_owned();
        Some((pid, state))
    }

    fn check_major(&self, bin: &PgBin) -> Result<(), ServerError> {
        let file = self.data.join("PG_VERSION");
        let made_by = fs::read_to_string(&file).map_err(ServerError::io("read", &file))?;
        let found = bin.version().major;
        if made_by.trim() == found.to_string() {
            return Ok(());
        }
        Err(ServerError::OtherMajor {
            data_dir: self.data.clone(),
            made_by: made_by.trim().to_owned(),
            found,
        })
    }

    fn run_initdb(
        &self,
        options: &ServerOptions,
        data_dir: &Path,
        guard: &mut Guard,
    ) -> Result<(), ServerError> {
        let program = options.bin.program("initdb");
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(ServerError::io("open", &self.log))?;
        let mut initdb = command(&program, self.account.as_ref());
        initdb
            .arg("--pgdata")
            .arg(data_dir)
            .args(["--username", &options.superuser, "--auth", "trust"])
            .args(["--encoding", "UTF8", "--locale", "C", "--no-instructions"])
            .stdout(log)
            .stderr(Stdio::from(errors));
        if !options.durable {
            initdb.arg("--no-sync");
        }
        let mut child = initdb.spawn().map_err(ServerError::io("run", &program))?;
        guard.watch(child.id()).map_err(ServerError::io("guard", &program))?;
        let status = child.wait().map_err(ServerError::io("wait for", &program))?;
        guard.watch_nothing().map_err(ServerError::io("guard", &program))?;
        if status.success() { Ok(()) } else { Err(ServerError::Initdb { output: self.log_tail() }) }
    }
}

/// Lets the account enter the home directory. Fails if it may not enter a directory above.
fn open_for(account: &Account, home: &Path) -> Result<(), ServerError> {
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).map_err(ServerError::io("open", home))?;
    match account.barrier(home) {
        None => Ok(()),
        Some(directory) => Err(ServerError::Unreachable { directory, account: account.name.clone() }),
    }
}

/// Creates a new directory in the system's temporary directory. An existing directory is never used.
fn new_temporary_home() -> Result<PathBuf, ServerError> {
    let parent = std::env::temp_dir();
    let mut number = 0_u32;
    loop {
        let home = parent.join(format!("jobqueue-postgres-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&home) {
            Ok(()) => return Ok(home),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(ServerError::io("create", &home)(error)),
        }
    }
}

/// The last 12 lines.
pub(crate) fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
