//! The file of contexts: named servers, each with a URL and the path of the file that has its key. The file itself has no secret, and only
//! its owner may read it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::exit::{CommandError, CommandResult};
use crate::key_file;

/// The content of the file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The context that is used without `--context`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, NamedServer>,
}

/// One context.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedServer {
    /// Base URL of the API.
    pub(crate) url: String,
    /// A file that has the API key and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

impl NamedServer {
    /// The key, if there is a key file.
    pub(crate) fn key(&self) -> CommandResult<Option<String>> {
        self.key_file.as_deref().map(key_file::read).transpose()
    }
}

impl Contexts {
    /// Where the file is: `$XDG_CONFIG_HOME/jobqueue/config.toml`, or `~/.config/jobqueue/config.toml`.
    pub(crate) fn path() -> Option<PathBuf> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
        Some(base.join("jobqueue/config.toml"))
    }

    /// Reads the file; an absent file has no contexts.
    pub(crate) fn load() -> CommandResult<Self> {
        let Some(path) = Self::path() else { return Ok(Self::default()) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(CommandError::usage(format!("{} cannot be read: {error}", path.display())));
            }
        };
        toml::from_str(&text).map_err(|error| {
            CommandError::usage(format!(
                "{} is invalid: {}; fix it, or delete it and use `jobqueue context set`",
                path.display(),
                error.message()
            ))
        })
    }

    /// Writes the file, which only its owner may read. A reader sees the old or the new file, never a part.
    pub(crate) fn save(&self) -> CommandResult<()> {
        let path = Self::path().ok_or_else(|| {
            CommandError::usage("set HOME or XDG_CONFIG_HOME: the file of contexts needs a directory")
        })?;
        let text = toml::to_string(self).map_err(CommandError::internal)?;
        let write = || {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            let new = path.with_extension("toml.new");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|error: std::io::Error| {
            CommandError::usage(format!("{} cannot be written: {error}", path.display()))
        })
    }
}
