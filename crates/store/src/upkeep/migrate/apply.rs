//! Applies the migrations that a database does not have.
//!
//! The testkit compiles this file too: the query data of this crate is generated on a database that the testkit makes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use sqlx::migrate::{Migration, Migrator};
use sqlx::{Connection as _, Executor as _, PgConnection, Postgres, Transaction};

use super::record::{Failed, RECORD, before_0_1, record};
use super::takeover;

/// Embeds each file with its checksum. A new database gets these.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// The migrations that together do the same as that chain. A database that has the chain has what they do, so they are only recorded there.
const SAME_AS_BEFORE: RangeInclusive<i64> = 101..=109;

/// The first bytes of the checksums (SHA-384) of former texts of a migration. A database that was made with such a text is accepted, because a
/// later migration makes up for the difference.
const FORMER: [(i64, u128); 1] = [(4, 0x6719_1edb_4caf_123f_25ef_8cf0_40bf_1a54)];

/// Every migration is its own transaction, with these settings, which override those of the role and the database. The lock lets one run at a
/// time apply a migration; it ends with the transaction, so it also works through a transaction pooler. A statement that waits for a table
/// lock fails after ten seconds, because other sessions wait behind it.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
     SET LOCAL search_path = pg_catalog; SET LOCAL standard_conforming_strings = on; SET LOCAL default_table_access_method = heap; \
     SET LOCAL client_min_messages = warning; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
     SET LOCAL lock_timeout = '10min'; SELECT pg_advisory_xact_lock(1785790467); SET LOCAL lock_timeout = '10s'";

/// Applies what is missing, in order. Returns the descriptions of what this run applied, and how many migrations are on record.
pub(crate) async fn apply(connection: &mut PgConnection) -> Result<(Vec<String>, usize), Failed> {
    let mut now = Vec::new();
    loop {
        let mut transaction = connection.begin_with(BEGIN).await?;
        let recorded = recorded(&mut transaction).await?;
        let mut known = before_0_1().chain(MIGRATIONS.iter());
        if let Some(changed) = known.find(|m| recorded.get(&m.version).is_some_and(|sum| !is_same(m, sum))) {
            return Err(Failed::Changed(changed.version));
        }
        let is_older = before_0_1().any(|m| recorded.contains_key(&m.version));
        let mut wanted = before_0_1().filter(|_| is_older).chain(MIGRATIONS.iter());
        let Some(next) = wanted.find(|m| !recorded.contains_key(&m.version)) else {
            complete(&mut transaction, &recorded).await?;
            transaction.commit().await?;
            return Ok((now, recorded.len()));
        };
        if is_older && SAME_AS_BEFORE.contains(&next.version) {
            record(&mut transaction, next).await?;
        } else {
            let failed = |source| Failed::Migration { version: next.version, source };
            apply_one(&mut transaction, next).await.map_err(failed)?;
            now.push(next.description.to_string());
        }
        transaction.commit().await?;
    }
}

/// Sets the version of a schema that has every migration. From then on the binaries of this build accept it.
async fn complete(
    transaction: &mut Transaction<'_, Postgres>,
    recorded: &BTreeMap<i64, Vec<u8>>,
) -> Result<(), sqlx::Error> {
    let newest = recorded.keys().max();
    let is_behind = sqlx::query_scalar("SELECT version < $1 FROM jobqueue.schema_version").persistent(false);
    if is_behind.bind(newest).fetch_one(&mut **transaction).await? {
        let set = sqlx::query("UPDATE jobqueue.schema_version SET version = $1").persistent(false);
        set.bind(newest).execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Whether a database that has this checksum of a migration has what it does.
fn is_same(migration: &Migration, checksum: &[u8]) -> bool {
    let begins = checksum.first_chunk().map(|first| u128::from_be_bytes(*first));
    *migration.checksum == *checksum
        || begins.is_some_and(|begins| FORMER.contains(&(migration.version, begins)))
}

/// What the database has: version to checksum. Takes over a database of the time before there was a record.
async fn recorded(transaction: &mut Transaction<'_, Postgres>) -> Result<BTreeMap<i64, Vec<u8>>, Failed> {
    if !has(transaction, "jobqueue.migration").await? {
        if !has(transaction, "jobqueue.schema_version").await? {
            return Ok(BTreeMap::new());
        }
        transaction.execute(RECORD).await?;
        takeover::take_over(transaction).await?;
    }
    let rows = sqlx::query_as("SELECT version, checksum FROM jobqueue.migration").persistent(false);
    Ok(rows.fetch_all(&mut **transaction).await?.into_iter().collect())
}

async fn apply_one(
    transaction: &mut Transaction<'_, Postgres>,
    migration: &Migration,
) -> Result<(), sqlx::Error> {
    // a schema that an administrator made for us beforehand is used as it is
    let schema = sqlx::query_scalar("SELECT to_regnamespace('jobqueue') IS NOT NULL").persistent(false);
    let sql = if schema.fetch_one(&mut **transaction).await? {
        migration.sql.replacen("CREATE SCHEMA jobqueue;", "", 1)
    } else {
        migration.sql.to_string()
    };
    transaction.execute(&*sql).await?;
    transaction.execute(RECORD).await?;
    record(transaction, migration).await
}

async fn has(transaction: &mut Transaction<'_, Postgres>, table: &str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").persistent(false).bind(table);
    found.fetch_one(&mut **transaction).await
}
