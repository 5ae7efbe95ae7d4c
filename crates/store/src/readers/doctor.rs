//! Reader of the facts for `jobqueue doctor`: the server, the tables, and the queue. It changes nothing, and works on a standby and on a
//! database without the schema.

use std::time::Duration;

use jobqueue_core::doctor::{
    HealthFacts, OpenTransaction, QueueDemand, QueueHealth, ServerSetting, SlotBacklog, StandbyLag,
    TableHealth,
};

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::census::QueueCensus;
use crate::readers::row::{from_ms, to_count};
use crate::upkeep::migrate::SCHEMA_VERSION;
use crate::upkeep::vacuum;

/// Settings that the rules look at.
const SETTINGS: [&str; 6] =
    ["fsync", "full_page_writes", "synchronous_commit", "autovacuum", "track_counts", "track_activities"];
/// Largest number of workers that are read.
const WORKERS_READ: u32 = 1_000;

impl Store {
    /// Everything that `core::doctor` looks at, except the clock of an API. The facts about queues are absent if this build does not
    /// fit the schema.
    pub async fn health_facts(&self) -> Result<HealthFacts, StoreError> {
        let schema_refusal = match self.check_schema().await {
            Ok(()) => None,
            Err(StoreError::Schema(reason)) => Some(reason),
            Err(error) => return Err(error),
        };
        let mut unit = self.begin().await?;
        let mut facts = server(&mut unit).await?;
        sessions(&mut unit, &mut facts).await?;
        tables(&mut unit, &mut facts).await?;
        replication(&mut unit, &mut facts).await?;
        if schema_refusal.is_none() {
            facts.queue = Some(QueueHealth {
                stale_workers: stale_workers(&mut unit).await?,
                ..QueueHealth::default()
            });
        }
        unit.commit().await?;
        if let Some(queue) = &mut facts.queue {
            self.demand(queue).await?;
        }
        Ok(HealthFacts { schema_refusal, schema_version: SCHEMA_VERSION, ..facts })
    }

    /// Adds what waits in each queue, and whether a worker serves it.
    async fn demand(&self, health: &mut QueueHealth) -> Result<(), StoreError> {
        let census = self.census().await?;
        let workers = self.workers(None, WORKERS_READ).await?;
        let serves =
            |name: &String| workers.iter().any(|worker| !worker.draining && worker.queues.contains(name));
        health.workers = census.workers;
        health.census_age = census.queues.iter().filter_map(age_of_census).min();
        let demand = |queue: QueueCensus| QueueDemand {
            served: serves(&queue.queue),
            oldest: queue.oldest_at.and_then(|at| (queue.now - at).to_std().ok()),
            name: queue.queue,
            queued: queue.queued,
            paused: queue.paused,
        };
        health.queues = census.queues.into_iter().map(demand).collect();
        Ok(())
    }
}

fn age_of_census(queue: &QueueCensus) -> Option<Duration> {
    queue.taken_at.map(|at| (queue.now - at).to_std().unwrap_or_default())
}

async fn server(unit: &mut Unit) -> Result<HealthFacts, StoreError> {
    let names: Vec<String> = SETTINGS.iter().map(|name| (*name).to_owned()).collect();
    let row = sqlx::query!(
        r#"-- store.doctor.server
        SELECT current_setting('server_version_num')::int AS "version!", clock_timestamp() AS "now!",
               pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS "read_only!",
               current_setting('max_connections')::int AS "max_connections!",
               current_setting('superuser_reserved_connections')::int AS "reserved!",
               (SELECT age(d.datfrozenxid)::bigint FROM pg_database d WHERE d.datname = current_database()) AS "frozen_age!",
               ARRAY(SELECT s.name FROM pg_settings s WHERE s.name = ANY ($1) ORDER BY s.name) AS "names!",
               ARRAY(SELECT s.setting FROM pg_settings s WHERE s.name = ANY ($1) ORDER BY s.name) AS "values!""#,
        &names,
    )
    .fetch_one(&mut **unit)
    .await?;
    let settings = row.names.into_iter().zip(row.values).map(|(name, value)| ServerSetting { name, value });
    Ok(HealthFacts {
        server_version: u32::try_from(row.version).unwrap_or(0),
        now: row.now,
        read_only: row.read_only,
        max_connections: u32::try_from(row.max_connections).unwrap_or(0),
        reserved_connections: u32::try_from(row.reserved).unwrap_or(0),
        frozen_age: to_count(row.frozen_age),
        settings: settings.collect(),
        ..HealthFacts::default()
    })
}

async fn sessions(unit: &mut Unit, facts: &mut HealthFacts) -> Result<(), StoreError> {
    let row = sqlx::query!(
        r#"-- store.doctor.sessions
        SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS "sees!",
               (SELECT sum(d.numbackends) FROM pg_stat_database d)::bigint AS "sessions!",
               (SELECT (extract(epoch FROM max(clock_timestamp() - p.prepared)) * 1000)::bigint FROM pg_prepared_xacts p
                 WHERE p.database = current_database()) AS prepared_ms,
               o.pid, coalesce(o.application_name, '') AS "application!",
               (extract(epoch FROM clock_timestamp() - o.xact_start) * 1000)::bigint AS age_ms
        FROM (SELECT 1) AS one LEFT JOIN LATERAL (
            SELECT a.pid, a.application_name, a.xact_start FROM pg_stat_activity a
             WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
               AND a.xact_start IS NOT NULL
             ORDER BY a.xact_start LIMIT 1) o ON true"#
    )
    .fetch_one(&mut **unit)
    .await?;
    facts.sees_sessions = row.sees;
    facts.sessions = u32::try_from(row.sessions).unwrap_or(u32::MAX);
    facts.oldest_prepared = row.prepared_ms.map(from_ms);
    facts.oldest_transaction = row.pid.zip(row.age_ms).map(|(pid, age)| OpenTransaction {
        pid,
        application: row.application,
        age: from_ms(age),
    });
    Ok(())
}

async fn tables(unit: &mut Unit, facts: &mut HealthFacts) -> Result<(), StoreError> {
    let names = vacuum::hot_names();
    let rows = sqlx::query!(
        r#"-- store.doctor.tables
        SELECT c.relname::text AS "name!", pg_stat_get_live_tuples(c.oid) AS "live!", pg_stat_get_dead_tuples(c.oid) AS "dead!",
               pg_table_size(c.oid) AS "bytes!", pg_indexes_size(c.oid) AS "index_bytes!",
               NOT coalesce(c.reloptions, '{}') && ARRAY['autovacuum_enabled=false', 'autovacuum_enabled=off'] AS "autovacuum!"
        FROM unnest($1::text[]) AS t (name) JOIN pg_class c ON c.oid = to_regclass('jobqueue.' || t.name)
        ORDER BY c.relname"#,
        &names,
    )
    .fetch_all(&mut **unit)
    .await?;
    let table = |name, live, dead, bytes: i64, index_bytes: i64, autovacuum| TableHealth {
        name,
        live: to_count(live),
        dead: to_count(dead),
        bytes: to_count(bytes),
        index_bytes: to_count(index_bytes),
        autovacuum,
    };
    facts.tables = rows
        .into_iter()
        .map(|row| table(row.name, row.live, row.dead, row.bytes, row.index_bytes, row.autovacuum))
        .collect();
    let names = sqlx::query!(
        r#"-- store.doctor.names
        WITH ours AS (
            SELECT c.oid, c.relname, c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'jobqueue' AND c.relkind IN ('r', 'p') AND NOT c.relispartition)
        SELECT ARRAY(SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                       JOIN pg_namespace n ON n.oid = i.relnamespace
                      WHERE n.nspname = 'jobqueue' AND NOT x.indisvalid ORDER BY 1) AS "invalid!",
               ARRAY(SELECT o.relname::text FROM ours o
                      WHERE o.relowner <> (SELECT relowner FROM ours GROUP BY relowner ORDER BY count(*) DESC, relowner LIMIT 1)
                      ORDER BY 1) AS "foreign!""#
    )
    .fetch_one(&mut **unit)
    .await?;
    (facts.invalid_indexes, facts.foreign_tables) = (names.invalid, names.foreign);
    Ok(())
}

async fn replication(unit: &mut Unit, facts: &mut HealthFacts) -> Result<(), StoreError> {
    // on a standby the position is what it has replayed
    let standbys = sqlx::query!(
        r#"-- store.doctor.standbys
        SELECT coalesce(nullif(r.application_name, ''), host(r.client_addr), 'unnamed') AS "name!",
               pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                               r.replay_lsn)::bigint AS bytes
        FROM pg_stat_replication r ORDER BY 1"#
    )
    .fetch_all(&mut **unit)
    .await?;
    let slots = sqlx::query!(
        r#"-- store.doctor.slots
        SELECT s.slot_name::text AS "name!", s.active AS "active!",
               coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                                        s.restart_lsn), 0)::bigint AS "bytes!"
        FROM pg_replication_slots s ORDER BY 1"#
    )
    .fetch_all(&mut **unit)
    .await?;
    facts.standbys = standbys
        .into_iter()
        .map(|row| StandbyLag { name: row.name, bytes: row.bytes.map(to_count) })
        .collect();
    facts.slots = slots
        .into_iter()
        .map(|row| SlotBacklog { name: row.name, active: row.active, bytes: to_count(row.bytes) })
        .collect();
    Ok(())
}

/// Workers whose rows are left although they have not sent a heartbeat for as long as they allow. A drained worker deletes its row.
async fn stale_workers(unit: &mut Unit) -> Result<Vec<String>, StoreError> {
    let names = sqlx::query_scalar!(
        r#"-- store.doctor.stale
        SELECT w.name FROM jobqueue.worker w
        WHERE w.stale_ms IS NOT NULL AND w.beat_at <= jobqueue.now() - w.stale_ms * interval '1 ms'
        ORDER BY w.name COLLATE "C" LIMIT 20"#
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(names)
}
