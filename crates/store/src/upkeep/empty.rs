//! Checks whether a database is empty, for programs that must not change a database that is in use. Reads the system catalog only.

use sqlx::{ConnectOptions as _, Connection as _};

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::plumbing::url::DatabaseUrl;

impl Store {
    /// Whether the database has no schema except `public`, and no table, view, sequence or function in it except those of extensions.
    pub async fn is_empty_database(url: impl Into<DatabaseUrl>) -> Result<bool, StoreError> {
        let (_, options) = url.into().resolve()?;
        let mut connection = options
            .application_name("jobqueue-check")
            .statement_cache_capacity(0)
            .connect()
            .await
            .map_err(|error| StoreError::unreachable(&error))?;
        let found = sqlx::query_scalar!(
            r#"-- store.is_empty_database
            WITH schema AS (
                SELECT oid, nspname FROM pg_catalog.pg_namespace
                WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
            ), made AS (
                SELECT oid, 'pg_catalog.pg_namespace'::regclass AS kind FROM schema WHERE nspname <> 'public'
                UNION ALL
                SELECT c.oid, 'pg_catalog.pg_class'::regclass FROM pg_catalog.pg_class c JOIN schema s ON s.oid = c.relnamespace
                UNION ALL
                SELECT p.oid, 'pg_catalog.pg_proc'::regclass FROM pg_catalog.pg_proc p JOIN schema s ON s.oid = p.pronamespace
            )
            SELECT NOT EXISTS (
                SELECT FROM made m
                WHERE NOT EXISTS (
                    SELECT FROM pg_catalog.pg_depend d WHERE d.classid = m.kind AND d.objid = m.oid AND d.deptype IN ('e', 'i')
                )
            ) AS "empty!""#
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(found)
    }
}
