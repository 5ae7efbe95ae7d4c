//! Which API a command talks to, and with which key: the command line, then the environment, then the context, then this machine.

use std::ffi::OsString;
use std::path::Path;

use clap::Args;

use crate::client::Client;
use crate::contexts::Contexts;
use crate::exit::{CommandError, CommandResult};
use crate::key_file;

/// The API of the demo and of a development machine.
const DEFAULT_URL: &str = "http://127.0.0.1:8000";

/// Address of the API and the key.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "API")]
pub(crate) struct ClientArgs {
    /// Base URL of the API. Default: that of the context, else <http://127.0.0.1:8000>.
    #[arg(long, env = "JOBQUEUE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) url: Option<String>,

    /// API key; not needed by the demo. The key of a context is only sent to the URL of that context.
    #[arg(long, env = "JOBQUEUE_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) api_key: Option<String>,

    /// File that has the API key and nothing else, such as a mounted secret.
    #[arg(long, env = "JOBQUEUE_API_KEY_FILE", value_name = "FILE")]
    pub(crate) api_key_file: Option<OsString>,

    /// A context of `jobqueue context`. Default: the one that `jobqueue context use` chose.
    #[arg(long, env = "JOBQUEUE_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
}

impl ClientArgs {
    /// Whether an API was named on the command line or in the environment.
    pub(crate) fn is_given(&self) -> bool {
        self.url.is_some() || self.context.is_some()
    }

    /// The client of that API.
    pub(crate) fn client(&self) -> CommandResult<Client> {
        let key = self.key()?;
        if let Some(url) = self.url.as_deref().filter(|url| !url.is_empty()) {
            return Client::new(url, key.as_deref());
        }
        let contexts = Contexts::load()?;
        let chosen = self.context.as_deref().filter(|name| !name.is_empty());
        let Some(name) = chosen.or(contexts.current.as_deref()) else {
            return Client::new(DEFAULT_URL, key.as_deref());
        };
        let server = contexts.contexts.get(name).ok_or_else(|| {
            CommandError::usage(format!(
                "there is no context `{name}`; `jobqueue context list` shows the names"
            ))
        })?;
        match key {
            Some(key) => Client::new(&server.url, Some(&key)),
            None => Client::new(&server.url, server.key()?.as_deref()),
        }
    }

    /// The key of the command line or the environment. An empty variable is one that is not set.
    fn key(&self) -> CommandResult<Option<String>> {
        let path = self.api_key_file.as_deref().filter(|path| !path.is_empty());
        match (path, self.api_key.as_deref().is_some_and(|key| !key.trim().is_empty())) {
            (Some(_), true) => Err(CommandError::usage(
                "set either JOBQUEUE_API_KEY (--api-key) or JOBQUEUE_API_KEY_FILE (--api-key-file), not both",
            )),
            (Some(path), false) => key_file::read(Path::new(path)).map(Some),
            (None, _) => Ok(self.api_key.clone()),
        }
    }
}
