//! Takes over the records of databases that were made before `jobqueue.migration` existed. They are in `_sqlx_migrations`, in the first
//! schema of the `search_path` of that run, and may be among those of an application.

use sqlx::{Executor as _, Postgres, Transaction};

use super::record::{Failed, before_0_1, record};

/// The last migration that was recorded there. A schema that has all of them but no record was restored without it.
const LAST: i64 = 6;

/// A table of sqlx's that this role may read.
type Table = (String, bool, bool);

/// Moves our records to `jobqueue.migration`. Rows of an application stay: a row is ours if its version and description are those of one of our
/// migrations. A table without other rows is dropped.
pub(super) async fn take_over(transaction: &mut Transaction<'_, Postgres>) -> Result<(), Failed> {
    let tables: Vec<Table> = sqlx::query_as(
        "SELECT format('%I._sqlx_migrations', n.nspname), n.nspname = 'jobqueue', pg_has_role(c.relowner, 'USAGE')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname = '_sqlx_migrations' AND c.relkind = 'r' AND c.relpersistence = 'p'
           AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
           AND (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
                AND a.attname IN ('version', 'description', 'checksum', 'installed_on', 'success')) = 5",
    )
    .persistent(false)
    .fetch_all(&mut **transaction)
    .await?;
    for table in tables {
        take_from(transaction, table).await?;
    }
    let taken = sqlx::query_scalar("SELECT EXISTS (SELECT FROM jobqueue.migration)").persistent(false);
    if !taken.fetch_one(&mut **transaction).await? {
        assume(transaction).await?;
    }
    Ok(())
}

async fn take_from(
    transaction: &mut Transaction<'_, Postgres>,
    (table, is_in_our_schema, owned): Table,
) -> Result<(), sqlx::Error> {
    let (versions, descriptions): (Vec<i64>, Vec<&str>) =
        before_0_1().filter(|m| m.version <= LAST).map(|m| (m.version, &*m.description)).unzip();
    let copy = format!(
        "INSERT INTO jobqueue.migration (version, description, checksum, applied_at)
         SELECT t.version, t.description, t.checksum, t.installed_on
         FROM {table} t JOIN unnest($1::bigint[], $2::text[]) AS ours (version, description)
           ON ours.version = t.version AND ours.description = t.description
         WHERE t.success ON CONFLICT DO NOTHING"
    );
    let copied = sqlx::query(&copy).persistent(false).bind(&versions).bind(&descriptions);
    let copied = copied.execute(&mut **transaction).await?.rows_affected();
    if !owned || (copied == 0 && !is_in_our_schema) {
        return Ok(());
    }
    let forget = format!(
        "DELETE FROM {table} t USING unnest($1::bigint[], $2::text[]) AS ours (version, description)
         WHERE ours.version = t.version AND ours.description = t.description"
    );
    let forget = sqlx::query(&forget).persistent(false).bind(&versions).bind(&descriptions);
    forget.execute(&mut **transaction).await?;
    let used = format!("SELECT EXISTS (SELECT FROM {table})");
    if !sqlx::query_scalar(&used).persistent(false).fetch_one(&mut **transaction).await? {
        transaction.execute(&*format!("DROP TABLE {table}")).await?;
    }
    Ok(())
}

/// There is no record, because a dump of our schema alone was restored. If the schema is not complete, it is not ours.
async fn assume(transaction: &mut Transaction<'_, Postgres>) -> Result<(), Failed> {
    let complete = sqlx::query_scalar(
        "SELECT to_regprocedure('jobqueue.prune_day(text, interval, interval, integer)') IS NOT NULL",
    );
    if !complete.persistent(false).fetch_one(&mut **transaction).await? {
        return Err(Failed::Foreign);
    }
    for migration in before_0_1().filter(|m| m.version <= LAST) {
        record(transaction, migration).await?;
    }
    Ok(())
}
