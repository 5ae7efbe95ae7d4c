//! What the commands print: one value or many, in the format of `-o`. Owns stdout; a command that prints in any other way would break pipes
//! and colours.

mod json;
pub(crate) mod path;
mod yaml;

use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;

use clap::Args;
use serde_json::value::RawValue;
use serde_json_path::JsonPath;

use crate::exit::CommandResult;
use crate::raw::Fields;
use crate::resource::{Resource, View};
use crate::table::Table;

/// How values are printed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// table, wide (more columns), json, yaml, name (ids or names only), or jsonpath=PATH, for example
    /// jsonpath=.status, which is applied to each object.
    #[arg(short = 'o', long = "output", default_value = "table", value_name = "FORMAT")]
    pub(crate) format: OutputFormat,

    /// Print no titles above a table.
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// The value of `-o`.
#[derive(Clone, Debug)]
pub(crate) enum OutputFormat {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
    Path(Box<JsonPath>),
}

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            other => match other.strip_prefix("jsonpath=") {
                Some(expression) => path::parse(expression).map(|path| Self::Path(Box::new(path))),
                None => Err("use table, wide, json, yaml, name or jsonpath=PATH".to_owned()),
            },
        }
    }
}

impl OutputArgs {
    /// Whether the output is text for people: a table.
    pub(crate) const fn is_table(&self) -> bool {
        matches!(self.format, OutputFormat::Table | OutputFormat::Wide)
    }

    /// Whether the output is one document with the whole structure.
    pub(crate) const fn is_json_or_yaml(&self) -> bool {
        matches!(self.format, OutputFormat::Json | OutputFormat::Yaml)
    }

    /// Prints one object.
    pub(crate) fn one(&self, resource: &Resource, object: &RawValue, view: &View) -> CommandResult<()> {
        match self.format {
            OutputFormat::Json => print(&format!("{}\n", json::pretty(object))),
            OutputFormat::Yaml => print(&yaml::yaml(object)),
            _ => self.lines(resource, &[object], view, !self.no_headers),
        }
    }

    /// Prints many objects: as a JSON or YAML list, or one line each.
    pub(crate) fn many(
        &self,
        resource: &Resource,
        objects: &[Box<RawValue>],
        view: &View,
    ) -> CommandResult<()> {
        match self.format {
            OutputFormat::Json | OutputFormat::Yaml => {
                let texts: Vec<&str> = objects.iter().map(|object| object.get()).collect();
                let list = RawValue::from_string(format!("[{}]", texts.join(","))).unwrap_or_default();
                self.one(resource, &list, view)
            }
            _ => {
                let objects: Vec<&RawValue> = objects.iter().map(AsRef::as_ref).collect();
                self.lines(resource, &objects, view, !self.no_headers)
            }
        }
    }

    /// Prints objects as they become known, without a list around them: JSON and YAML documents one after the other.
    pub(crate) fn stream(
        &self,
        resource: &Resource,
        objects: &[&RawValue],
        view: &View,
        titled: bool,
    ) -> CommandResult<()> {
        match self.format {
            OutputFormat::Json => {
                let line = |object: &&RawValue| format!("{}\n", object.get());
                print(&objects.iter().map(line).collect::<String>())
            }
            OutputFormat::Yaml => {
                let document = |object: &&RawValue| format!("---\n{}", yaml::yaml(object));
                print(&objects.iter().map(document).collect::<String>())
            }
            _ => self.lines(resource, objects, view, titled && !self.no_headers),
        }
    }

    fn lines(
        &self,
        resource: &Resource,
        objects: &[&RawValue],
        view: &View,
        titled: bool,
    ) -> CommandResult<()> {
        let lines = match &self.format {
            OutputFormat::Name => {
                objects.iter().map(|object| Fields::of(object).text(resource.id)).collect::<Vec<_>>()
            }
            OutputFormat::Path(path) => {
                objects.iter().flat_map(|object| path::matches(path, object)).collect()
            }
            _ => {
                let wide = matches!(self.format, OutputFormat::Wide);
                let mut table = Table::new(resource.titles(wide));
                for object in objects {
                    table.row(resource.cells(&Fields::of(object), view, wide));
                }
                table.lines(titled, coloured())
            }
        };
        print_lines(&lines)
    }
}

/// Prints JSON as the format says, or runs `text` for a table.
pub(crate) fn structured(
    args: &OutputArgs,
    object: &RawValue,
    text: impl FnOnce() -> String,
) -> CommandResult<()> {
    match &args.format {
        OutputFormat::Json => print(&format!("{}\n", json::pretty(object))),
        OutputFormat::Yaml => print(&yaml::yaml(object)),
        OutputFormat::Path(path) => print_lines(&path::matches(path, object)),
        OutputFormat::Table | OutputFormat::Wide | OutputFormat::Name => print(&text()),
    }
}

/// JSON with a line for each member.
pub(crate) fn pretty(object: &RawValue) -> String {
    json::pretty(object)
}

/// Whether stdout shows colours: it is a terminal, and `NO_COLOR` is not set (no-color.org).
pub(crate) fn coloured() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !forbidden && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes to stdout at once.
pub(crate) fn print(text: &str) -> CommandResult<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

pub(crate) fn print_lines(lines: &[String]) -> CommandResult<()> {
    print(&lines.iter().flat_map(|line| [line, "\n"]).collect::<String>())
}
