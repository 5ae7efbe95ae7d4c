//! What a reaper reads before it declares a worker dead, and what it records: that the database is up now,
//! and outages.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::{Observation, Outage, OutagePolicy};
use uuid::Uuid;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::readers::row::from_ms;

/// Maximum number of outages that are read. Older ones do not matter for any worker that is not yet declared
/// dead.
const OUTAGES: i64 = 200;

/// A worker whose last heartbeat is older than its stale time.
pub(super) struct Silence {
    pub(super) worker_id: Uuid,
    pub(super) beat_at: DateTime<Utc>,
    pub(super) stale_after: Duration,
}

/// What was read, and the outage that it shows.
pub(super) struct Seen {
    pub(super) observation: Observation,
    pub(super) silent: Vec<Silence>,
    /// The recent outages in order, the new one included.
    pub(super) outages: Vec<Outage>,
    pub(super) new_outage: Option<Outage>,
}

impl Store {
    /// Reads the silent workers and the recent outages, and records that the database is up now.
    pub(super) async fn observe(&self, policy: OutagePolicy) -> Result<Seen, StoreError> {
        let mut seen = self.read_observation().await?;
        if let Some(outage) = policy.outage(seen.observation) {
            seen.outages.push(outage);
            seen.new_outage = Some(outage);
        }
        if !policy.hold_off.is_zero() && !self.record_observation(&seen).await? {
            // another reaper observed it at the same time and logs the outage
            seen.new_outage = None;
        }
        Ok(seen)
    }

    async fn read_observation(&self) -> Result<Seen, StoreError> {
        let mut unit = self.one().await?;
        // Heartbeats of a worker with a long stale time do not prove that one with a short stale time could
        // send its own. So only the workers with the shortest stale time count, of those that were not dead
        // at the last observation. The factor 0.4 is `core::outage::longest_gap`.
        let row = sqlx::query!(
            r#"-- store.reclaim.look
            WITH t AS MATERIALIZED (SELECT jobqueue.now() AS now, (SELECT seen_at FROM jobqueue.watch) AS seen_at),
            silent AS MATERIALIZED (
                SELECT w.id, w.beat_at, w.stale_ms FROM t, jobqueue.worker w WHERE w.beat_at < t.now - w.stale_ms * interval '1 ms'),
            recent AS MATERIALIZED (
                SELECT o.began_at, o.ended_at FROM jobqueue.outage o WHERE o.ended_at <= (SELECT now FROM t)
                ORDER BY o.ended_at DESC LIMIT $1)
            SELECT t.now AS "now!", t.seen_at,
                   (SELECT min(w.steady_since) FROM jobqueue.worker w
                     WHERE w.beat_at > t.now - w.stale_ms * interval '0.4 ms'
                       AND w.stale_ms <= (SELECT min(v.stale_ms) FROM jobqueue.worker v
                                           WHERE v.beat_at > t.seen_at - v.stale_ms * interval '1 ms')) AS steady_since,
                   ARRAY(SELECT id FROM silent ORDER BY id) AS "ids!", ARRAY(SELECT beat_at FROM silent ORDER BY id) AS "beats!",
                   ARRAY(SELECT stale_ms FROM silent ORDER BY id) AS "stales!",
                   ARRAY(SELECT began_at FROM recent ORDER BY ended_at) AS "began!",
                   ARRAY(SELECT ended_at FROM recent ORDER BY ended_at) AS "ended!"
            FROM t"#,
            OUTAGES,
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        let silent = row.ids.into_iter().zip(row.beats).zip(row.stales);
        let outages = row.began.into_iter().zip(row.ended);
        Ok(Seen {
            observation: Observation { now: row.now, seen_at: row.seen_at, steady_since: row.steady_since },
            silent: silent
                .map(|((worker_id, beat_at), stale_ms)| Silence {
                    worker_id,
                    beat_at,
                    stale_after: from_ms(stale_ms),
                })
                .collect(),
            outages: outages.map(|(began_at, ended_at)| Outage { began_at, ended_at }).collect(),
            new_outage: None,
        })
    }

    /// Records the observation. False if another reaper has recorded a newer one. It is one statement, so a
    /// reaper that freezes does not keep a lock on the row.
    async fn record_observation(&self, seen: &Seen) -> Result<bool, StoreError> {
        let mut unit = self.one().await?;
        let noted = sqlx::query_scalar!(
            r#"-- store.reclaim.seen
            WITH seen AS (
                INSERT INTO jobqueue.watch AS w (seen_at) VALUES ($2)
                ON CONFLICT (only_row) DO UPDATE SET seen_at = excluded.seen_at WHERE w.seen_at = $1
                RETURNING true),
            noted AS (
                INSERT INTO jobqueue.outage (ended_at, began_at) SELECT $2, $3 FROM seen WHERE $3::timestamptz IS NOT NULL
                ON CONFLICT DO NOTHING),
            old AS (DELETE FROM jobqueue.outage WHERE $3::timestamptz IS NOT NULL AND ended_at < $2 - interval '1 day')
            SELECT EXISTS (SELECT FROM seen) AS "noted!""#,
            seen.observation.seen_at,
            seen.observation.now,
            seen.new_outage.map(|outage| outage.began_at),
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(noted)
    }
}
