//! The things that the API lists, and their columns. A column reads one member of the JSON of the API, so there is no second definition of
//! the API's types.

mod api_key;
mod audit;
mod dead_letter;
mod finding;
mod job;
mod kind;
mod queue;
mod route;
mod schedule;
mod statistic;
mod worker;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use crate::raw::Fields;
use crate::table::{Cell, Table};

pub(crate) use api_key::API_KEY;
pub(crate) use audit::AUDIT;
pub(crate) use dead_letter::{DEAD_LETTER, LETTER_GROUP, REDRIVE};
pub(crate) use finding::FINDING;
pub(crate) use job::{JOB, is_final, shown_ids, status_tone, succeeded};
pub(crate) use kind::KIND;
pub(crate) use queue::{QUEUE, QUEUE_STATS};
pub(crate) use route::ROUTE;
pub(crate) use schedule::{NEXT_TICK, SCHEDULE, TICK};
pub(crate) use statistic::STATISTIC;
pub(crate) use worker::{SENT_COMMAND, WORKER};

/// One kind of thing.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Name of one, as a person writes it.
    pub(crate) one: &'static str,
    /// Name of many.
    pub(crate) many: &'static str,
    /// Short names.
    pub(crate) short: &'static [&'static str],
    /// The parts of the path of its list.
    pub(crate) path: &'static [&'static str],
    /// The member of the response that has the list.
    pub(crate) list: &'static str,
    /// The member that identifies one.
    pub(crate) id: &'static str,
    columns: &'static [Column],
}

/// One column of a table.
pub(crate) struct Column {
    title: &'static str,
    /// Only with `-o wide`.
    wide: bool,
    cell: fn(&Fields<'_>, &View) -> Cell,
}

/// What all rows of one table share.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The `Date` of the API's last response.
    pub(crate) now: Option<DateTime<Utc>>,
    /// How many characters of an id are shown; `None` shows all.
    pub(crate) id_length: Option<usize>,
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.title)
    }
}

impl Column {
    const fn new(title: &'static str, cell: fn(&Fields<'_>, &View) -> Cell) -> Self {
        Self { title, wide: false, cell }
    }

    const fn wide(title: &'static str, cell: fn(&Fields<'_>, &View) -> Cell) -> Self {
        Self { title, wide: true, cell }
    }
}

impl Resource {
    pub(crate) fn titles(&self, wide: bool) -> Vec<&'static str> {
        self.shown(wide).map(|column| column.title).collect()
    }

    pub(crate) fn cells(&self, fields: &Fields<'_>, view: &View, wide: bool) -> Vec<Cell> {
        self.shown(wide).map(|column| (column.cell)(fields, view)).collect()
    }

    /// A table of objects.
    pub(crate) fn table<'a>(&self, objects: impl Iterator<Item = &'a RawValue>, view: &View) -> Table {
        let mut table = Table::new(self.titles(false));
        for object in objects {
            table.row(self.cells(&Fields::of(object), view, false));
        }
        table
    }

    /// The cells whose change is news: without ages, which always change.
    pub(crate) fn lasting(&self, fields: &Fields<'_>, view: &View) -> Vec<Cell> {
        let lasting = self.columns.iter().filter(|column| !AGES.contains(&column.title));
        lasting.map(|column| (column.cell)(fields, view)).collect()
    }

    fn shown(&self, wide: bool) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(move |column| wide || !column.wide)
    }

    pub(crate) fn is_named(&self, word: &str) -> bool {
        word == self.one || word == self.many || self.short.contains(&word)
    }
}

/// Titles of the columns that change by themselves.
const AGES: [&str; 7] = ["AGE", "NEXT", "MEMORY", "HEARTBEAT", "OLDEST", "UPTIME", "COUNTED"];
