//! The schema of the next release, as far as this release can know it: more columns, more tables, a higher version.

use sqlx::PgPool;

/// The number of a migration that no release has.
const VERSION: i64 = 99_999;

/// Applies a migration that the build under test does not know. It only adds, as the rules for migrations demand: a column to every table, and
/// a table. Each statement is its own transaction, so that it can be applied while processes work, and is repeated if it met them.
pub async fn next_release(pool: &PgPool) -> i64 {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regclass::text FROM pg_class
         WHERE relnamespace = 'jobqueue'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut statements: Vec<String> = tables
        .iter()
        .map(|table| format!("ALTER TABLE {table} ADD COLUMN of_the_next_release int NOT NULL DEFAULT 1"))
        .collect();
    statements.push("CREATE TABLE jobqueue.of_the_next_release (id bigint PRIMARY KEY)".to_owned());
    statements.push(format!(
        "INSERT INTO jobqueue.migration (version, description, checksum) VALUES ({VERSION}, 'of the next release', '')"
    ));
    statements.push(format!("UPDATE jobqueue.schema_version SET version = {VERSION}"));
    for statement in statements {
        while let Err(error) = sqlx::raw_sql(&statement).execute(pool).await {
            let code =
                error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
            assert_eq!(code.as_deref(), Some("40P01"), "{error}: {statement}");
        }
    }
    VERSION
}
