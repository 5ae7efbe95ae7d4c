//! Upkeep of the database: migrations, retention, vacuum, and sessions that block others.

pub(crate) mod audit;
pub(crate) mod dead_letters;
pub(crate) mod empty;
pub(crate) mod kinds;
pub(crate) mod migrate;
pub(crate) mod prune;
pub(crate) mod retention;
pub(crate) mod statistics;
pub(crate) mod stuck;
pub(crate) mod vacuum;
