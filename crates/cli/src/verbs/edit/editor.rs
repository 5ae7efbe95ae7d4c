//! The editor: writes the fields of a job to a file, waits for the editor, and sends what has changed. The file stays if the API refuses the
//! change, so that nothing that was typed is lost.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::patch;
use super::send::send;
use crate::client::Client;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::{OutputArgs, pretty};
use crate::raw::{self, Fields};
use crate::resource::JOB;
use crate::verbs::get;

/// The fields that can be edited, in the order of the file.
const FIELDS: [&str; 12] = [
    "queue",
    "priority",
    "run_at",
    "expires_at",
    "payload",
    "tags",
    "metadata",
    "max_attempts",
    "max_snoozes",
    "retry",
    "timeout_seconds",
    "soft_timeout_seconds",
];

pub(super) async fn edit(client: &Client, id: &str, output: &OutputArgs) -> CommandResult {
    let (job, tag) = client.tagged(&["v1", "jobs", id]).await?;
    let fields = Fields::of(&job);
    let Some(tag) = tag else {
        let status = fields.text("status");
        return Err(CommandError::new(
            Exit::Refused,
            format!("job {id} is {status}; only a scheduled, queued or blocked job can be edited"),
        ));
    };
    let members: Vec<(&str, &str)> =
        FIELDS.iter().filter_map(|name| Some((*name, fields.raw(name)?.get()))).collect();
    let before = raw::object(&members);
    let file = write(id, &pretty(&before))?;
    open(&file)?;
    match changed(&before, &file) {
        Ok(None) => {
            remove(&file);
            eprintln!("Nothing was changed.");
            Ok(Exit::Done)
        }
        Ok(Some(patch)) => match send(client, id, &patch, Some(&tag)).await {
            Ok(job) => {
                remove(&file);
                get::show(&JOB, output, client, &[job], true)?;
                Ok(Exit::Done)
            }
            Err(error) => Err(kept(&error, &file)),
        },
        Err(error) => Err(kept(&error, &file)),
    }
}

/// Writes a file that only this user may read, because a payload may be secret.
fn write(id: &str, text: &str) -> CommandResult<PathBuf> {
    let path = std::env::temp_dir().join(format!("jobqueue-edit-{id}-{}.json", Uuid::now_v7().simple()));
    let wrong = |error: std::io::Error| {
        CommandError::internal(format!("{} cannot be written: {error}", path.display()))
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(wrong)?;
    file.write_all(format!("{text}\n").as_bytes()).map_err(wrong)?;
    Ok(path)
}

/// Runs the editor of the user on the file. The shell reads the variable, which may have arguments.
fn open(file: &Path) -> CommandResult<()> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let status = Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            remove(file);
            Err(CommandError::usage(format!(
                "the editor `{editor}` failed, so nothing was changed; set VISUAL or EDITOR"
            )))
        }
        Err(error) => Err(CommandError::internal(format!("no shell can be started: {error}"))),
    }
}

fn changed(before: &RawValue, file: &Path) -> CommandResult<Option<String>> {
    let text = fs::read_to_string(file)
        .map_err(|error| CommandError::usage(format!("the file cannot be read: {error}")))?;
    let after = RawValue::from_string(text.trim().to_owned())
        .map_err(|error| CommandError::usage(format!("the file is not JSON ({error})")))?;
    if raw::members(&after).is_none() {
        return Err(CommandError::usage("the file is not a JSON object"));
    }
    patch::between(before, &after).map_err(CommandError::usage)
}

fn kept(error: &CommandError, file: &Path) -> CommandError {
    CommandError::new(error.exit, format!("{error}; your text is in {}", file.display()))
}

fn remove(file: &Path) {
    let _gone = fs::remove_file(file);
}
