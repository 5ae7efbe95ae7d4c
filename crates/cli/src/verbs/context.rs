//! `context`: names for servers, each with a URL and a key file.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::client::Client;
use crate::contexts::{Contexts, NamedServer};
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::{coloured, print, print_lines};
use crate::table::{Cell, Table, Tone};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue context set production --url https://jobs.example.com --key-file ~/.secrets/jobqueue
  jobqueue context use production
  jobqueue context list
  jobqueue --help
The file is ~/.config/jobqueue/config.toml. JOBQUEUE_URL, JOBQUEUE_API_KEY and JOBQUEUE_API_KEY_FILE override the context.";

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Lists the contexts; `*` marks the one that is used.
    List,
    /// Creates or changes a context. The first one is used from then on.
    Set(SetContextArgs),
    /// Uses a context from now on.
    Use(ContextNameArgs),
    /// Deletes a context. Its key file is kept.
    Delete(ContextNameArgs),
}

#[derive(Args, Debug)]
pub(crate) struct SetContextArgs {
    /// Name of the context.
    name: String,

    /// Base URL of the API.
    #[arg(long, value_name = "URL")]
    url: String,

    /// File that has the API key and nothing else.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ContextNameArgs {
    /// Name of the context.
    name: String,
}

pub(crate) fn run(command: ContextCommand) -> CommandResult {
    let mut contexts = Contexts::load()?;
    match command {
        ContextCommand::List => list(&contexts)?,
        ContextCommand::Set(args) => {
            let key_file = args.key_file.as_deref().map(absolute).transpose()?;
            let server = NamedServer { url: args.url, key_file };
            // what would fail at the first use fails now
            Client::new(&server.url, server.key()?.as_deref())?;
            print(&format!("context {} set\n", args.name))?;
            contexts.current.get_or_insert_with(|| args.name.clone());
            contexts.contexts.insert(args.name, server);
            contexts.save()?;
        }
        ContextCommand::Use(ContextNameArgs { name }) => {
            known(&contexts, &name)?;
            print(&format!("context {name} is used\n"))?;
            contexts.current = Some(name);
            contexts.save()?;
        }
        ContextCommand::Delete(ContextNameArgs { name }) => {
            known(&contexts, &name)?;
            contexts.contexts.remove(&name);
            contexts.current.take_if(|current| *current == name);
            contexts.save()?;
            print(&format!("context {name} deleted\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// The path from the root, because the command is run in other directories later.
fn absolute(path: &Path) -> CommandResult<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| CommandError::usage(format!("{} is not a path: {error}", path.display())))
}

fn known(contexts: &Contexts, name: &str) -> CommandResult<()> {
    if contexts.contexts.contains_key(name) {
        return Ok(());
    }
    Err(CommandError::new(
        Exit::NotFound,
        format!("not found: there is no context `{name}`; `jobqueue context list` shows the names"),
    ))
}

fn list(contexts: &Contexts) -> CommandResult<()> {
    let mut table = Table::new(["", "NAME", "URL", "KEY-FILE"]);
    for (name, server) in &contexts.contexts {
        let used = contexts.current.as_ref() == Some(name);
        let address =
            Client::new(&server.url, None).map_or_else(|_| "invalid".to_owned(), |client| client.address());
        let file = server.key_file.as_ref().map(|path| path.display().to_string());
        table.row(vec![
            Cell::new(if used { "*" } else { " " }).tone(Tone::Good),
            name.as_str().into(),
            address.into(),
            file.unwrap_or_default().into(),
        ]);
    }
    print_lines(&table.lines(true, coloured()))
}
