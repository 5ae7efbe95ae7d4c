//! Installs a Postgres server with the system's package manager. Prints every command before it runs it,
//! never prompts for a password, and creates no other database cluster.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::tail;
use crate::{MIN_MAJOR, NotFound, PgBin, find_binaries};

/// The newest major version that is installed by its name.
const NEWEST_MAJOR: u32 = 18;
/// Creates the file that keeps Debian's package from starting a server on port 5432.
const NO_DEBIAN_CLUSTER: &str = "mkdir -p /etc/postgresql-common && \
     { [ -e /etc/postgresql-common/createcluster.conf ] || \
     echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf; }";

/// No server could be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// None of the supported package managers is installed.
    #[error(
        "no package manager that we know (apt-get, dnf, apk, pacman, brew) is here: install Postgres {MIN_MAJOR} or newer and set JOBQUEUE_PG_BIN to the directory of its `initdb`"
    )]
    NoPackageManager,
    /// This account may not install packages; `command` is the command to run.
    #[error(
        "Postgres is not installed and this account may not install it. Type this, then try again:\n  {command}"
    )]
    NotAllowed {
        /// The exact command to run.
        command: String,
    },
    /// A step of the package manager failed.
    #[error("`{command}` failed:\n{output}")]
    Failed {
        /// The step, as it was run.
        command: String,
        /// The end of its output.
        output: String,
    },
    /// The packages were installed but contain no usable server.
    #[error("the packages were installed, but {0}")]
    StillMissing(#[from] NotFound),
}

/// The supported package managers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Apk,
    Pacman,
    Brew,
}

/// How commands run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Privilege {
    Root,
    Sudo,
    None,
}

/// Installs a server and returns its binaries. `progress` is called before each step with the command.
///
/// Needs root, a `sudo` without a password, or Homebrew; otherwise the error contains the command to run.
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
        return Err(InstallError::NotAllowed { command: command_to_run(manager) });
    }
    for step in before(manager) {
        run(&step, privilege, &mut progress)?;
    }
    run(&install_step(manager, packaged_major()), privilege, &mut progress)?;
    Ok(find_binaries()?)
}

/// The steps before the installation of the package.
fn before(manager: Manager) -> Vec<String> {
    match manager {
        Manager::Apt => vec![NO_DEBIAN_CLUSTER.to_owned(), "apt-get update -q".to_owned()],
        Manager::Dnf | Manager::Apk | Manager::Pacman | Manager::Brew => Vec::new(),
    }
}

/// `major` is the newest version that apt offers by name; the package without a version may be too old.
fn install_step(manager: Manager, major: Option<u32>) -> String {
    match manager {
        Manager::Apt => {
            let mut step =
                "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql"
                    .to_owned();
            if let Some(major) = major {
                // writing to a String cannot fail
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

fn command_to_run(manager: Manager) -> String {
    match manager {
        Manager::Apt => "sudo apt-get update && sudo apt-get install -y postgresql".to_owned(),
        other => format!("sudo {}", install_step(other, None)),
    }
}

/// The newest version in apt's cache.
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
    fn apt_never_creates_a_cluster() {
        let steps = before(Manager::Apt);
        assert!(steps[0].contains("create_main_cluster = false"), "{steps:?}");
        assert!(install_step(Manager::Apt, Some(16)).ends_with(" postgresql-16"));
        assert!(install_step(Manager::Apt, None).ends_with(" postgresql"));
    }

    #[test]
    fn without_privileges_the_error_has_the_command_to_run() {
        for manager in [Manager::Apt, Manager::Dnf, Manager::Apk, Manager::Pacman] {
            let command = command_to_run(manager);
            assert!(command.starts_with("sudo ") && command.contains("postgresql"), "{command}");
        }
    }

    #[test]
    fn the_error_of_a_failed_step_has_the_end_of_its_output() {
        let mut printed = Vec::new();
        let refused =
            run("echo sorry >&2; exit 3", Privilege::Root, &mut |line: &str| printed.push(line.to_owned()));
        assert_eq!(printed, ["echo sorry >&2; exit 3"]);
        assert!(refused.unwrap_err().to_string().ends_with("sorry"));
    }
}
