//! `docs/configuration.md` is generated from the command lines, so it has the same texts as `--help`.
//! `JOBQUEUE_UPDATE_DOCS=1 cargo test -p jobqueue-cli --test configuration` regenerates it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command, CommandFactory as _};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");

const HEAD: &str = "# Configuration

Every option is an environment variable and a flag; the flag wins. This page has the texts of each binary's `--help`. At start, a binary
rejects an invalid value with a message that says what to change (exit code 64). Durations are in seconds and may have a fraction.
";

const TABLE: &str = "| variable | flag | default | meaning |\n|---|---|---|---|\n";

#[test]
fn the_page_has_the_texts_of_the_binaries() {
    let mut page = HEAD.to_owned();
    for command in [
        jobqueue_api::args::ApiCli::command(),
        jobqueue_worker::WorkerCli::command(),
        jobqueue_reaper::ReaperCli::command(),
    ] {
        section(&mut page, &command);
        for subcommand in command.get_subcommands() {
            own_options(&mut page, &command, subcommand);
        }
    }
    if std::env::var_os("JOBQUEUE_UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let committed = std::fs::read_to_string(Path::new(PAGE)).unwrap_or_default();
    assert!(committed == page, "docs/configuration.md is stale: run this test with JOBQUEUE_UPDATE_DOCS=1");
}

#[test]
fn every_option_of_a_service_has_a_variable_and_a_help() {
    for command in [
        jobqueue_api::args::ApiCli::command(),
        jobqueue_worker::WorkerCli::command(),
        jobqueue_reaper::ReaperCli::command(),
    ] {
        for option in options(&command) {
            let name = format!("{} {}", command.get_name(), option.get_id());
            assert!(option.get_help().is_some(), "{name} has no help");
            assert!(option.get_env().is_some() || option.get_id() == "insecure", "{name} has no variable");
        }
    }
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
}

fn section(page: &mut String, command: &Command) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    write!(page, "\n## {}\n\n{about}\n\n{TABLE}", command.get_name()).unwrap();
    for option in options(command) {
        row(page, option);
    }
}

/// The options of a subcommand that the service does not have.
fn own_options(page: &mut String, command: &Command, subcommand: &Command) {
    let known = |option: &&Arg| options(command).all(|other| other.get_env() != option.get_env());
    let own: Vec<_> = options(subcommand).filter(known).collect();
    if !own.is_empty() {
        write!(page, "\n### {} {}\n\n{TABLE}", command.get_name(), subcommand.get_name()).unwrap();
        for option in own {
            row(page, option);
        }
    }
}

fn row(page: &mut String, option: &Arg) {
    let code = |text: String| if text.is_empty() { text } else { format!("`{text}`") };
    let env = option.get_env().map(|env| env.to_string_lossy().into_owned()).unwrap_or_default();
    let flag = option.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    let default: Vec<_> = option.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let help = option.get_long_help().or(option.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.replace('\n', " ").replace('|', "\\|");
    writeln!(page, "| {} | {} | {} | {help} |", code(env), code(flag), code(default.join(","))).unwrap();
}
