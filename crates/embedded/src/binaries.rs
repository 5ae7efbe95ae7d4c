//! Finds the server binaries and their version. Only reads directories and runs `postgres --version`.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version that the schema works on.
pub const MIN_MAJOR: u32 = 15;

/// The environment variable that names the directory of the binaries. If it is set, nothing else is searched.
const BIN_VARIABLE: &str = "JOBQUEUE_PG_BIN";
/// Where packages install server binaries outside of PATH; each path has one `*`.
const PACKAGED: [&str; 5] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
];

/// A directory of server binaries that run, and their version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgBin {
    dir: PathBuf,
    version: Version,
}

/// A server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 15, 16, …
    pub major: u32,
    /// The bug-fix release; 0 for a beta.
    pub minor: u32,
}

impl PgBin {
    /// The binaries in `dir`, if they are complete, run, and are new enough.
    pub fn at(dir: impl AsRef<Path>) -> Result<Self, NotFound> {
        Self::checked(dir.as_ref()).map_err(|reason| NotFound { reasons: vec![reason] })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The version that the binaries reported.
    pub fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn checked(dir: &Path) -> Result<Self, String> {
        let home = complete_home(dir)
            .ok_or_else(|| format!("{} does not contain initdb, pg_ctl and postgres", dir.display()))?;
        let version = read_version(&home)?;
        if version.major < MIN_MAJOR {
            return Err(format!(
                "{} is Postgres {version}, too old: {MIN_MAJOR} is the oldest",
                home.display()
            ));
        }
        Ok(Self { dir: home, version })
    }
}

impl Version {
    /// Parses the output of `postgres --version`, such as `postgres (PostgreSQL) 15.18 (Debian
    /// 15.18-0+deb12u1)`.
    pub fn parse(answer: &str) -> Option<Self> {
        let (_, numbers) = answer.split_once("(PostgreSQL) ")?;
        let numbers = numbers.split_whitespace().next()?;
        let end = numbers.find(|c: char| !c.is_ascii_digit()).unwrap_or(numbers.len());
        let (major, rest) = numbers.split_at(end);
        let minor: String =
            rest.strip_prefix('.').unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
        Some(Self { major: major.parse().ok()?, minor: minor.parse().unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// No usable server binaries were found. Lists every place that was searched and why it was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no Postgres server, version {MIN_MAJOR} or newer, was found: {}", reasons.join("; "))]
pub struct NotFound {
    /// One sentence for each place.
    pub reasons: Vec<String>,
}

/// Finds server binaries in `JOBQUEUE_PG_BIN`, in PATH, or where the packages of Linux distributions and
/// Homebrew install them, newest first. If `JOBQUEUE_PG_BIN` is set but not usable, that is an error.
pub fn find_binaries() -> Result<PgBin, NotFound> {
    let named = env::var_os(BIN_VARIABLE).filter(|value| !value.is_empty());
    search(named.as_deref(), env::var_os("PATH").as_deref(), &PACKAGED)
}

fn search(named: Option<&OsStr>, path: Option<&OsStr>, packaged: &[&str]) -> Result<PgBin, NotFound> {
    if let Some(dir) = named {
        return PgBin::checked(Path::new(dir))
            .map_err(|reason| NotFound { reasons: vec![format!("{BIN_VARIABLE}: {reason}")] });
    }
    let mut reasons = Vec::new();
    for dir in path.into_iter().flat_map(env::split_paths).filter(|dir| dir.join("initdb").is_file()) {
        match PgBin::checked(&dir) {
            Ok(found) => return Ok(found),
            Err(reason) => reasons.push(reason),
        }
    }
    let mut candidates = Vec::new();
    for dir in packaged.iter().flat_map(|pattern| expand(pattern)) {
        match PgBin::checked(&dir) {
            Ok(found) => candidates.push(found),
            Err(reason) => reasons.push(reason),
        }
    }
    // `max_by_key` returns the last of equal versions, and the preferred paths come first, so the list is
    // reversed
    if let Some(best) = candidates.into_iter().rev().max_by_key(|found| found.version) {
        return Ok(best);
    }
    if reasons.is_empty() {
        reasons.push(format!("neither {BIN_VARIABLE}, nor PATH, nor {} has one", packaged.join(", ")));
    }
    Err(NotFound { reasons })
}

/// The directory that contains the binaries themselves. In PATH they may be links or wrappers.
fn complete_home(dir: &Path) -> Option<PathBuf> {
    let is_complete =
        |dir: &Path| ["initdb", "pg_ctl", "postgres"].iter().all(|name| dir.join(name).is_file());
    let real = fs::canonicalize(dir.join("initdb")).ok()?.parent()?.to_path_buf();
    if is_complete(&real) {
        return Some(real);
    }
    let dir = std::path::absolute(dir).ok()?;
    is_complete(&dir).then_some(dir)
}

fn read_version(dir: &Path) -> Result<Version, String> {
    let program = dir.join("postgres");
    let answer = Command::new(&program)
        .arg("--version")
        .output()
        .map_err(|error| format!("{} does not run: {error}", program.display()))?;
    let answer = String::from_utf8_lossy(&answer.stdout);
    Version::parse(&answer)
        .ok_or_else(|| format!("{} printed no version: {:?}", program.display(), answer.trim()))
}

/// The directories that match a path with one `*` in it.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .filter(|dir| dir.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory with fake programs that print `version`.
    fn fake_programs(root: &Path, name: &str, version: &str) -> PathBuf {
        let dir = root.join(name);
        fs::create_dir_all(&dir).unwrap();
        for program in ["initdb", "pg_ctl", "postgres"] {
            let path = dir.join(program);
            fs::write(&path, format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::canonicalize(dir).unwrap()
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = env::temp_dir().join(format!("jobqueue-binaries-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn versions_are_read_from_every_vendor() {
        let version = |text: &str| Version::parse(text).map(|v| (v.major, v.minor));
        assert_eq!(version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some((15, 18)));
        assert_eq!(version("postgres (PostgreSQL) 18beta1\n"), Some((18, 0)));
        assert_eq!(version("postgres (PostgreSQL) 16.14\n"), Some((16, 14)));
        assert_eq!(version("sh: not found"), None);
    }

    #[test]
    fn a_named_directory_is_used_or_rejected_but_never_skipped() {
        let root = scratch("named");
        let good = fake_programs(&root, "good", "16.1");
        let old = fake_programs(&root, "old", "14.9");
        assert_eq!(search(Some(good.as_os_str()), None, &[]).unwrap().dir(), good);
        let refused = search(Some(old.as_os_str()), Some(good.as_os_str()), &[]).unwrap_err().to_string();
        assert!(refused.contains("JOBQUEUE_PG_BIN") && refused.contains("14.9, too old"), "{refused}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn links_in_path_are_resolved_to_the_real_directory() {
        let root = scratch("links");
        let real = fake_programs(&root, "real", "17.2");
        let shims = root.join("shims");
        fs::create_dir_all(&shims).unwrap();
        symlink(real.join("initdb"), shims.join("initdb")).unwrap();
        assert_eq!(search(None, Some(shims.as_os_str()), &[]).unwrap().dir(), real);
        // an initdb without a server in the same directory is skipped
        fs::remove_file(real.join("postgres")).unwrap();
        let missing = search(None, Some(shims.as_os_str()), &[]).unwrap_err().to_string();
        assert!(missing.contains("does not contain"), "{missing}");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_newest_packaged_version_wins() {
        let root = scratch("packaged");
        for version in ["9.6", "15.3", "18.1", "16.2"] {
            fake_programs(&root, &format!("pg-{version}/bin"), version);
        }
        let pattern = format!("{}/pg-*/bin", root.display());
        assert_eq!(search(None, None, &[&pattern]).unwrap().version(), Version { major: 18, minor: 1 });
        fs::remove_dir_all(root).unwrap();
    }
}
