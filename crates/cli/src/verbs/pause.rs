//! `pause` and `resume` of queues and of kinds.

use clap::Args;

use crate::connection::ClientArgs;
use crate::exit::{CommandResult, Exit};
use crate::output::OutputArgs;
use crate::resource::Resource;
use crate::verbs::get;

#[derive(Args, Debug)]
pub(crate) struct NamedArgs {
    /// Their names.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    /// Create those that do not exist.
    #[arg(long)]
    create: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

/// Sends `verb` to each, and shows what became of it.
pub(crate) async fn each(resource: &'static Resource, verb: &str, args: &NamedArgs) -> CommandResult {
    let client = args.api.client()?;
    let mut exit = Exit::Done;
    let mut changed = Vec::with_capacity(args.names.len());
    for name in &args.names {
        let body = args.create.then_some("{\"create\":true}");
        let path = [resource.path, &[name.as_str(), verb]].concat();
        match client.post(&path, body).await {
            Ok(answer) => changed.push(answer),
            Err(error) => exit = exit.or(error.about(&format!("{} {name}", resource.one))),
        }
    }
    if !changed.is_empty() {
        get::show(resource, &args.output, &client, &changed, args.names.len() == 1)?;
    }
    Ok(exit)
}
