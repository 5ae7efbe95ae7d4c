//! The record of migrations, `jobqueue.migration`, and the migrations of the time before 0.1.0. The record is in our own schema, so neither a
//! role's `search_path` nor the migrations of an application in the same database can hide it or mix with it.
//!
//! The testkit compiles this file too.

use sqlx::migrate::{Migration, Migrator};
use sqlx::{Postgres, Transaction};

/// The chain of files that development builds applied before version 0.1.0. A database that has any of them gets the rest of them first.
static BEFORE_0_1: Migrator = sqlx::migrate!("../../migrations/before-0.1");

/// Creates the record, together with the schema.
pub(super) const RECORD: &str = "CREATE TABLE IF NOT EXISTS jobqueue.migration (
         version bigint PRIMARY KEY, description text NOT NULL, checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())";

/// Why a run stopped. Migrations that were applied before stay applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("migration {version} failed: {source}")]
    Migration { version: i64, source: sqlx::Error },
    #[error(
        "migration {0} is not the one that this database was made with, so an unreleased build made it: begin with an empty database \
         (the demo's is its data folder)"
    )]
    Changed(i64),
    #[error(
        "the database has a schema `jobqueue` without a record of its migrations, and it is not one that `jobqueue migrate` made"
    )]
    Foreign,
}

/// The migrations of the time before 0.1.0, in order.
pub(super) fn before_0_1() -> impl Iterator<Item = &'static Migration> {
    BEFORE_0_1.iter()
}

/// Records that the database has the migration.
pub(super) async fn record(
    transaction: &mut Transaction<'_, Postgres>,
    migration: &Migration,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO jobqueue.migration (version, description, checksum) VALUES ($1, $2, $3)")
        .persistent(false)
        .bind(migration.version)
        .bind(&*migration.description)
        .bind(&*migration.checksum)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
