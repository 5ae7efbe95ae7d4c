//! Asks before a command changes or deletes many things.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::exit::{CommandError, CommandResult};

/// Asks on a terminal, unless `yes`. Without a terminal there is no one to ask, so `--yes` is required.
pub(crate) fn confirm(question: &str, yes: bool) -> CommandResult<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::usage(format!(
            "{question} Add --yes to do it, or --dry-run to see what would be done"
        )));
    }
    eprint!("{question} [y/N] ");
    let _closed = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(CommandError::internal)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(CommandError::usage("nothing was changed"))
}
