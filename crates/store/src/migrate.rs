//! The schema: applied by a separate step, checked by every binary at its start, never changed by a running one.

use std::str::FromStr;

use sqlx::migrate::{Migrate as _, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::connect::Store;
use crate::error::StoreError;

/// The schema that this build was written for. Also its own age: a newer schema names the oldest build that it tolerates.
pub const SCHEMA_VERSION: i32 = 1;

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// What a migration run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Descriptions of the migrations that were applied now, in order; empty if there was nothing to do.
    pub now: Vec<String>,
    /// How many the schema has in all.
    pub total: usize,
}

impl Store {
    /// Applies what is missing. Safe to run twice and from several places at once: it holds an advisory lock, so it needs a
    /// direct connection, not one through a pooler in transaction mode.
    pub async fn migrate(url: &str) -> Result<Applied, StoreError> {
        let mut connection =
            PgConnectOptions::from_str(url)?.application_name("jobqueue-migrate").connect().await?;
        sqlx::raw_sql("SET lock_timeout = '10min'").execute(&mut connection).await?;
        connection.lock().await.map_err(schema)?;
        // a queue behind our DDL must not wait for ever on a long reader in front of it
        sqlx::raw_sql("SET lock_timeout = '10s'").execute(&mut connection).await?;
        let before = Self::applied(&mut connection).await?;
        MIGRATOR.run(&mut connection).await.map_err(schema)?;
        connection.unlock().await.map_err(schema)?;
        connection.close().await?;
        let now = MIGRATOR
            .iter()
            .filter(|m| !before.contains(&m.version))
            .map(|m| m.description.to_string())
            .collect();
        Ok(Applied { now, total: MIGRATOR.iter().count() })
    }

    async fn applied(connection: &mut sqlx::PgConnection) -> Result<Vec<i64>, StoreError> {
        connection.ensure_migrations_table().await.map_err(schema)?;
        let applied = connection.list_applied_migrations().await.map_err(schema)?;
        Ok(applied.into_iter().map(|migration| migration.version).collect())
    }

    /// Refuses a schema that this binary does not know, with a sentence that says what to do.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let mut unit = self.one().await?;
        let row = sqlx::query!("SELECT version, oldest_binary FROM jobqueue.schema_version")
            .fetch_one(&mut *unit)
            .await;
        let (version, oldest) = match row {
            Ok(row) => (row.version, row.oldest_binary),
            // 3F000, 42P01: no schema, no table
            Err(sqlx::Error::Database(e)) if e.code().is_some_and(|c| c == "42P01" || c == "3F000") => (0, 0),
            Err(error) => return Err(error.into()),
        };
        unit.commit().await?;
        if version < SCHEMA_VERSION {
            return Err(StoreError::Schema(format!(
                "the database has schema {version}, this binary needs {SCHEMA_VERSION}: run `jobqueue migrate`"
            )));
        }
        if oldest > SCHEMA_VERSION {
            return Err(StoreError::Schema(format!(
                "the database has schema {version}, which needs binaries of schema {oldest} or newer; this one is {SCHEMA_VERSION}: \
                 upgrade it"
            )));
        }
        Ok(())
    }
}

fn schema(error: sqlx::migrate::MigrateError) -> StoreError {
    match error {
        sqlx::migrate::MigrateError::Execute(error) => error.into(),
        sqlx::migrate::MigrateError::ExecuteMigration(error, version) => {
            StoreError::Schema(format!("migration {version} failed: {error}"))
        }
        sqlx::migrate::MigrateError::VersionMismatch(version) => StoreError::Schema(format!(
            "migration {version} is not the one that this database was made with, so an unreleased build made it: begin with an empty \
             database (the demo's is its data folder)"
        )),
        other => StoreError::Schema(other.to_string()),
    }
}
