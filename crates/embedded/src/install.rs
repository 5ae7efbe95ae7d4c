//! Gets a Postgres server through the system's own package manager. It runs nothing that it did not print first, asks
//! for no password, and makes no cluster besides ours.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::tail;
use crate::{MIN_MAJOR, NotFound, PgBin, find_binaries};

/// The newest major version that is asked for by name.
const NEWEST_MAJOR: u32 = 18;
/// Debian's package starts a server of its own on port 5432 unless this file says no.
const NO_DEBIAN_CLUSTER: &str = "mkdir -p /etc/postgresql-common && \
     { [ -e /etc/postgresql-common/createcluster.conf ] || \
     echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf; }";

/// No server could be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// None of the package managers that we know is here.
    #[error(
        "no package manager that we know (apt-get, dnf, apk, pacman, brew) is here: install Postgres {MIN_MAJOR} or newer and set JOBQUEUE_PG_BIN to the directory of its `initdb`"
    )]
    NoPackageManager,
    /// This account may not install packages; `command` is what to type.
    #[error(
        "Postgres is not installed and this account may not install it. Type this, then try again:\n  {command}"
    )]
    NotAllowed {
        /// The exact command.
        command: String,
    },
    /// A step of the package manager failed.
    #[error("`{command}` failed:\n{output}")]
    Failed {
        /// The step, as it was run.
        command: String,
        /// The end of what it said.
        output: String,
    },
    /// The packages went in, but hold no usable server.
    #[error("the packages were installed, but {0}")]
    StillMissing(#[from] NotFound),
}

/// The package managers that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Apk,
    Pacman,
    Brew,
}

/// What puts us in the place of root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Privilege {
    Root,
    Sudo,
    None,
}

/// Installs a server and finds it. `progress` gets a line before each step: the command as it is run.
///
/// Needs root, a `sudo` that asks for no password, or Homebrew; otherwise the error holds the command to type.
pub fn install(mut progress: impl FnMut(&str)) -> Result<PgBin, InstallError> {
    let known = [
        (Manager::Apt, "apt-get"),
        (Manager::Dnf, "dnf"),
        (Manager::Apk, "apk"),
        (Manager::Pacman, "pacman"),
        (Manager::Brew, "brew"),
    ];
    let manager = known.into_iter().find(|(_, program)| on_path(program)).map(|(manager, _)| manager);
    let manager = manager.ok_or(InstallError::NoPackageManager)?;
    let privilege = if manager == Manager::Brew { Privilege::Root } else { privilege() };
    if privilege == Privilege::None {
        return Err(InstallError::NotAllowed { command: to_type(manager) });
    }
    for step in before(manager) {
        run(&step, privilege, &mut progress)?;
    }
    run(&install_step(manager, packaged_major()), privilege, &mut progress)?;
    Ok(find_binaries()?)
}

/// The steps that come before the package itself.
fn before(manager: Manager) -> Vec<String> {
    match manager {
        Manager::Apt => vec![NO_DEBIAN_CLUSTER.to_owned(), "apt-get update -q".to_owned()],
        Manager::Dnf | Manager::Apk | Manager::Pacman | Manager::Brew => Vec::new(),
    }
}

/// `major` is the newest one that apt offers by name; its plain package may be older than we can use.
fn install_step(manager: Manager, major: Option<u32>) -> String {
    match manager {
        Manager::Apt => {
            let mut step =
                "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql"
                    .to_owned();
            if let Some(major) = major {
                // Writing to a String cannot fail.
                let _ = write!(step, "-{major}");
            }
            step
        }
        Manager::Dnf => "dnf install -y postgresql-server".to_owned(),
        Manager::Apk => "apk add --no-cache postgresql".to_owned(),
        Manager::Pacman => "pacman -S --noconfirm --needed postgresql".to_owned(),
        Manager::Brew => "brew install postgresql@17".to_owned(),
    }
}

fn to_type(manager: Manager) -> String {
    match manager {
        Manager::Apt => "sudo apt-get update && sudo apt-get install -y postgresql".to_owned(),
        other => format!("sudo {}", install_step(other, None)),
    }
}

/// The newest version that apt knows; asks only its cache.
fn packaged_major() -> Option<u32> {
    (MIN_MAJOR..=NEWEST_MAJOR).rev().find(|major| {
        succeeds(Command::new("apt-cache").args([
            "show",
            "--no-all-versions",
            &format!("postgresql-{major}"),
        ]))
    })
}

fn privilege() -> Privilege {
    if rustix::process::geteuid().is_root() {
        Privilege::Root
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        Privilege::Sudo
    } else {
        Privilege::None
    }
}

fn run(step: &str, privilege: Privilege, progress: &mut impl FnMut(&str)) -> Result<(), InstallError> {
    let words: &[&str] =
        if privilege == Privilege::Sudo { &["sudo", "-n", "sh", "-c", step] } else { &["sh", "-c", step] };
    let shown = if privilege == Privilege::Sudo { format!("sudo sh -c \"{step}\"") } else { step.to_owned() };
    progress(&shown);
    let failed = |output: String| InstallError::Failed { command: shown.clone(), output };
    let [program, arguments @ ..] = words else { return Ok(()) };
    let outcome = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if outcome.status.success() {
        return Ok(());
    }
    Err(failed(tail(&[outcome.stdout, outcome.stderr].concat())))
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| is_file(&dir.join(program))))
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_never_makes_a_cluster_of_its_own() {
        let steps = before(Manager::Apt);
        assert!(steps[0].contains("create_main_cluster = false"), "{steps:?}");
        assert!(install_step(Manager::Apt, Some(16)).ends_with(" postgresql-16"));
        assert!(install_step(Manager::Apt, None).ends_with(" postgresql"));
    }

    #[test]
    fn who_may_not_install_gets_a_command_to_paste() {
        for manager in [Manager::Apt, Manager::Dnf, Manager::Apk, Manager::Pacman] {
            let command = to_type(manager);
            assert!(command.starts_with("sudo ") && command.contains("postgresql"), "{command}");
        }
    }

    #[test]
    fn a_step_that_fails_tells_its_last_words() {
        let mut printed = Vec::new();
        let refused =
            run("echo sorry >&2; exit 3", Privilege::Root, &mut |line: &str| printed.push(line.to_owned()));
        assert_eq!(printed, ["echo sorry >&2; exit 3"]);
        assert!(refused.unwrap_err().to_string().ends_with("sorry"));
    }
}
