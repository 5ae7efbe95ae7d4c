//! `delete` of what has a name: routes and schedules.

use clap::Args;
use reqwest::Method;

use crate::confirm::confirm;
use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::print;
use crate::raw::Fields;
use crate::resource::Resource;

#[derive(Args, Debug)]
pub(crate) struct DeleteNamedArgs {
    /// Their names.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    /// Do not ask.
    #[arg(short = 'y', long)]
    yes: bool,

    #[command(flatten)]
    api: ClientArgs,
}

/// Deletes each, after a question.
pub(crate) async fn each(resource: &'static Resource, args: &DeleteNamedArgs) -> CommandResult {
    let client = args.api.client()?;
    confirm(&format!("Delete {}?", args.names.join(", ")), args.yes)?;
    let one = resource.one;
    let mut exit = Exit::Done;
    for name in &args.names {
        let path = [resource.path, &[name.as_str()]].concat();
        let deleted = client.send(&Method::DELETE, &path, None).await.and_then(|answer| {
            let absent = || CommandError::new(Exit::NotFound, format!("not found: there is no such {one}"));
            Fields::of(&answer).is_true("deleted").then_some(()).ok_or_else(absent)
        });
        match deleted {
            Ok(()) => print(&format!("{one} {name} deleted\n"))?,
            Err(error) => exit = exit.or(error.about(&format!("{one} {name}"))),
        }
    }
    Ok(exit)
}
