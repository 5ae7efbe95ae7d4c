//! Names an option in an error as the user set it: by its variable, unless its flag is on the command line. A required option that is missing
//! is named by both.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use std::ffi::OsString;

/// The same error, with variables in place of flags that are not on the command line.
pub(super) fn by_variable(
    mut error: clap::Error,
    mut command: Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> clap::Error {
    // without this, options do not show their values
    command.build();
    let typed: Vec<_> =
        arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let is_missing = error.kind() == ErrorKind::MissingRequiredArgument;
    let name_of = |shown: &str| match name_of(shown, &command, &typed) {
        variable if is_missing && variable != shown => format!("{variable} (the variable, or {shown})"),
        name => name,
    };
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        let named = match error.get(kind) {
            Some(ContextValue::String(shown)) => ContextValue::String(name_of(shown)),
            Some(ContextValue::Strings(shown)) => {
                ContextValue::Strings(shown.iter().map(|shown| name_of(shown)).collect())
            }
            _ => continue,
        };
        error.insert(kind, named);
    }
    error
}

/// The variable of the option that clap shows as `--flag <VALUE>`, unless the flag is on the command line or
/// the option has no variable.
fn name_of(shown: &str, command: &Command, typed: &[String]) -> String {
    // two subcommands may have the same flag, one of them with a variable
    let is_it = |option: &&Arg| option.get_env().is_some() && option.to_string() == shown;
    let Some(option) = options(command).into_iter().find(is_it) else {
        return shown.to_owned();
    };
    let is_typed = option.get_long().is_some_and(|long| {
        let flag = format!("--{long}");
        typed.iter().any(|typed| *typed == flag || typed.starts_with(&format!("{flag}=")))
    });
    match option.get_env() {
        Some(variable) if !is_typed => variable.to_string_lossy().into_owned(),
        _ => shown.to_owned(),
    }
}

fn options(command: &Command) -> Vec<&Arg> {
    command.get_arguments().chain(command.get_subcommands().flat_map(options)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdminArgs, DatabaseArgs};
    use clap::{CommandFactory, Parser};

    #[derive(Parser, Debug)]
    struct Everything {
        #[command(flatten)]
        admin: AdminArgs,
        #[command(flatten)]
        database: DatabaseArgs,
    }

    fn error(arguments: &[&str], typed: &[&str]) -> String {
        let error = Everything::try_parse_from(["test"].iter().chain(arguments)).unwrap_err();
        by_variable(error, Everything::command(), typed.iter().map(OsString::from)).to_string()
    }

    #[test]
    fn an_error_names_the_option_as_it_was_set() {
        let wrong = ["--database-url", "x", "--admin-addr", "nonsense"];
        // the parser cannot know that these values came from variables, so every flag that is not in `typed`
        // counts as a variable
        let by_variable = error(&wrong, &["test"]);
        assert!(
            by_variable.contains("'ADMIN_ADDR'") && !by_variable.contains("--admin-addr"),
            "{by_variable}"
        );
        for typed in [&["--admin-addr", "nonsense"][..], &["--admin-addr=nonsense"]] {
            assert!(error(&wrong, typed).contains("'--admin-addr <IP:PORT>'"));
        }
        let missing = error(&[], &["test"]);
        assert!(missing.contains("  DATABASE_URL (the variable, or --database-url <URL>)\n"), "{missing}");
        let both = error(&["--database-url", "x", "--database-url-file", "y"], &["test"]);
        assert!(
            both.contains("'DATABASE_URL' cannot be used with 'DATABASE_URL_FILE'")
                || both.contains("'DATABASE_URL_FILE' cannot be used with 'DATABASE_URL'"),
            "{both}"
        );
    }
}
