//! `-w`: prints objects, and again whenever one of them changes.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use serde_json::value::RawValue;

use crate::changes::Changes;
use crate::client::Client;
use crate::exit::CommandResult;
use crate::output::OutputArgs;
use crate::raw::Fields;
use crate::resource::{JOB, Resource, View, shown_ids};
use crate::table::Cell;

/// Whether and how often.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    /// Continue, and print each object that changes, until Ctrl-C.
    #[arg(short = 'w', long)]
    watch: bool,

    /// Shortest time between two requests of --watch, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    interval: u32,
}

impl Watch {
    pub(crate) const fn is_on(self) -> bool {
        self.watch
    }
}

/// Repeats the request without an end, after each change that the stream at `path` reports; without a path, in the interval.
pub(crate) async fn run(
    (watch, path): (Watch, Option<&[&str]>),
    resource: &Resource,
    output: &OutputArgs,
    client: &Client,
    fetch: impl AsyncFn() -> CommandResult<Vec<Box<RawValue>>>,
) -> CommandResult {
    let mut known: HashMap<String, Vec<Cell>> = HashMap::new();
    let mut titled = true;
    let mut events = Changes::of(client, path);
    loop {
        let mut objects = fetch().await?;
        let id_length = if resource.one == JOB.one { shown_ids(&objects) } else { None };
        let view = View { id_length, ..client.view() };
        // a list has the newest first; a stream is read from the top
        objects.reverse();
        let mut seen = HashMap::with_capacity(objects.len());
        let mut changed: Vec<&RawValue> = Vec::new();
        for object in &objects {
            let fields = Fields::of(object);
            let (id, cells) = (fields.text(resource.id), resource.lasting(&fields, &view));
            if known.get(&id) != Some(&cells) {
                changed.push(object);
            }
            seen.insert(id, cells);
        }
        if !changed.is_empty() {
            output.stream(resource, &changed, &view, titled)?;
            titled = false;
        }
        known = seen;
        events.wait(Duration::from_secs(watch.interval.max(1).into())).await;
    }
}
