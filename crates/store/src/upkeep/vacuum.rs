//! vacuum: removes dead rows from the tables that change most, within seconds. Autovacuum checks a database once a minute. In that time
//! a busy queue leaves a million dead rows, and every lease has to skip them.

use sqlx::Executor as _;

use crate::handles::Upkeep;
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;

/// Names of tables, and the statement that vacuums each. The file is not truncated, because that needs an exclusive lock.
macro_rules! tables {
    ($($name:literal),*) => {
        [$(($name, concat!("/* store.vacuum */ VACUUM (SKIP_LOCKED, TRUNCATE false) jobqueue.", $name))),*]
    };
}

/// Tables in which every job inserts and deletes rows.
const HOT: [(&str, &str); 8] =
    tables!["ready", "scheduled", "lease", "lease_jobs", "tally", "worker", "expiry", "unique_claim"];

/// A table with dead rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotTable {
    /// Its name, without the schema.
    pub name: String,
    /// Number of dead rows, as estimated by Postgres.
    pub dead: u64,
    /// Number of live rows, as estimated by Postgres.
    pub live: u64,
    /// Whether this role may vacuum it: it owns the table or the database, or has the privilege MAINTAIN (Postgres 17).
    pub allowed: bool,
}

/// The names of the hot tables.
pub(crate) fn hot_names() -> Vec<String> {
    HOT.iter().map(|(name, _)| (*name).to_owned()).collect()
}

impl Upkeep<'_> {
    /// The hot tables with at least `dead` dead rows.
    pub async fn hot_tables(&self, dead: u64) -> Result<Vec<HotTable>, StoreError> {
        let names = hot_names();
        let mut unit = self.0.one().await?;
        let rows = sqlx::query!(
            r#"-- store.vacuum.tables
            SELECT c.relname::text AS "name!", pg_stat_get_dead_tuples(c.oid) AS "dead!", pg_stat_get_live_tuples(c.oid) AS "live!",
                   pg_has_role(c.relowner, 'USAGE')
                   OR (SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_database d WHERE d.datname = current_database())
                   OR CASE WHEN current_setting('server_version_num')::int >= 170000
                           THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END AS "allowed!"
            FROM unnest($1::text[]) AS t (name) JOIN pg_class c ON c.oid = to_regclass('jobqueue.' || t.name)
            WHERE pg_stat_get_dead_tuples(c.oid) >= $2"#,
            &names,
            i64::try_from(dead).unwrap_or(i64::MAX),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let table = |name, dead, live, allowed| HotTable {
            name,
            dead: to_count(dead),
            live: to_count(live),
            allowed,
        };
        Ok(rows.into_iter().map(|row| table(row.name, row.dead, row.live, row.allowed)).collect())
    }

    /// Vacuums one hot table and returns the number of dead rows that are left. Skips it if another session vacuums or alters it.
    pub async fn vacuum(&self, table: &HotTable) -> Result<u64, StoreError> {
        let Some((_, statement)) = HOT.iter().find(|(name, _)| *name == table.name) else {
            return Ok(table.dead);
        };
        // VACUUM is refused inside a transaction, and poolers in transaction mode accept it outside of one
        let mut unit = self.0.outside_transaction().await?;
        unit.execute(*statement).await?;
        unit.commit().await?;
        let left = self.hot_tables(0).await?;
        Ok(left.into_iter().find(|left| left.name == table.name).map_or(0, |left| left.dead))
    }
}
