//! `completion`: prints the completion script of a shell.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::print;

pub(crate) const EXAMPLES: &str = "\
Examples:
  source <(jobqueue completion bash)
  jobqueue completion zsh > ~/.zfunc/_jobqueue
  jobqueue completion fish > ~/.config/fish/completions/jobqueue.fish";

#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &CompletionArgs, mut command: Command) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "jobqueue", &mut script);
    print(&String::from_utf8(script).map_err(CommandError::internal)?)?;
    Ok(Exit::Done)
}
