//! The schema: applied by a separate command, checked by every binary at its start, never changed by a running one.

use std::borrow::Cow;

use sqlx::{ConnectOptions as _, Connection as _};

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::pooler::ADVICE;
use crate::plumbing::url::DatabaseUrl;
use record::Failed;

mod apply;
mod record;
mod takeover;

/// The version of the schema that this build needs: the number of its newest migration. A newer schema says how new a build must be at least.
pub const SCHEMA_VERSION: i64 = match &apply::MIGRATIONS.migrations {
    Cow::Borrowed([.., newest]) => newest.version,
    _ => 0,
};

/// The result of a migration run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Descriptions of the migrations that were applied now, in order; empty if there was nothing to do.
    pub now: Vec<String>,
    /// Total number of migrations that the database has.
    pub total: usize,
}

impl Store {
    /// Applies what is missing. Safe to run twice and from several places at once: the runs share the work, and each ends when the
    /// schema is complete.
    pub async fn migrate(url: impl Into<DatabaseUrl>) -> Result<Applied, StoreError> {
        let (_, options) = url.into().resolve()?;
        let options = options.application_name("jobqueue-migrate").statement_cache_capacity(0);
        let mut connection = options.connect().await.map_err(|error| StoreError::unreachable(&error))?;
        let (now, total) = apply::apply(&mut connection).await?;
        connection.close().await?;
        Ok(Applied { now, total })
    }

    /// Refuses a schema that this binary does not know, with a sentence that says what to do.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        self.check_schema_on(self.one().await).await?.commit().await
    }

    /// The same on a connection that the caller acquired. Returns it for more checks.
    pub(crate) async fn check_schema_on(&self, unit: Result<Unit, StoreError>) -> Result<Unit, StoreError> {
        if self.sharing.found() {
            return Err(StoreError::Schema(ADVICE.to_owned()));
        }
        let mut unit = unit?;
        let row = sqlx::query!("-- store.schema\nSELECT version, oldest_binary FROM jobqueue.schema_version")
            .fetch_one(&mut *unit)
            .await;
        let (version, oldest) = match row {
            Ok(row) => (i64::from(row.version), i64::from(row.oldest_binary)),
            // 3F000, 42P01: no schema, no table
            Err(sqlx::Error::Database(e)) if e.code().is_some_and(|c| c == "42P01" || c == "3F000") => (0, 0),
            Err(error) => return Err(error.into()),
        };
        if version < SCHEMA_VERSION {
            return Err(StoreError::Schema(format!(
                "the database has schema {version}, this binary needs {SCHEMA_VERSION}: run `jobqueue migrate`"
            )));
        }
        // only now: in an older schema, this role may not read the record
        if let Some(missing) = missing(&mut unit).await? {
            return Err(StoreError::Schema(format!(
                "the database lacks migration {missing}, although it has newer ones: run `jobqueue migrate`"
            )));
        }
        if oldest > SCHEMA_VERSION {
            return Err(StoreError::Schema(format!(
                "the database has schema {version}, which needs binaries of schema {oldest} or newer; this one is {SCHEMA_VERSION}: \
                 upgrade it"
            )));
        }
        Ok(unit)
    }
}

/// The oldest migration of this binary that the database lacks.
async fn missing(unit: &mut Unit) -> Result<Option<i64>, StoreError> {
    let needed: Vec<i64> = apply::MIGRATIONS.iter().map(|migration| migration.version).collect();
    let missing = sqlx::query_scalar!(
        "-- store.schema.missing
        SELECT min(n.version) FROM unnest($1::bigint[]) AS n (version)
        WHERE n.version <> ALL (ARRAY(SELECT m.version FROM jobqueue.migration m))",
        &needed,
    );
    Ok(missing.fetch_one(&mut **unit).await?)
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Database(error) => error.into(),
            other => Self::Schema(other.to_string()),
        }
    }
}
