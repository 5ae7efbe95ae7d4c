//! Which API a command talks to, and with which key: the command line, then the environment, then the context, then this machine.

use clap::Args;

use crate::client::Client;
use crate::contexts::Contexts;
use crate::exit::{CommandError, CommandResult};

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
        if let Some(url) = self.url.as_deref().filter(|url| !url.is_empty()) {
            return Client::new(url, self.api_key.as_deref());
        }
        let contexts = Contexts::load()?;
        let chosen = self.context.as_deref().filter(|name| !name.is_empty());
        let Some(name) = chosen.or(contexts.current.as_deref()) else {
            return Client::new(DEFAULT_URL, self.api_key.as_deref());
        };
        let server = contexts.contexts.get(name).ok_or_else(|| {
            CommandError::usage(format!(
                "there is no context `{name}`; `jobqueue context list` shows the names"
            ))
        })?;
        match &self.api_key {
            Some(key) => Client::new(&server.url, Some(key)),
            None => Client::new(&server.url, server.key()?.as_deref()),
        }
    }
}
