//! Remote workers: their rows, written by the API that they ask for jobs. Owns what a row says of a remote worker; a row decides nothing,
//! for the leases of a remote worker end only by their expiry.

use jobqueue_core::{KindName, QueueName, WorkerId, WorkerName};
use uuid::Uuid;

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::readers::workers::{KINDS_SHOWN, WorkerReport};
use crate::verbs::worker_command::{CommandAnswer, SentCommand};

/// A remote worker, as its last request for jobs described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteWorker {
    /// The name that it gave, or one made from its address.
    pub name: WorkerName,
    /// Queues that it leases from.
    pub queues: Vec<QueueName>,
    /// Kinds that it leases; empty means all.
    pub kinds: Vec<KindName>,
}

impl RemoteWorker {
    /// Its id, which follows from its name.
    pub fn id(&self) -> WorkerId {
        WorkerId::of_remote(&self.name)
    }
}

/// What a remote worker reports of itself with a heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteReport {
    /// The name that it gives.
    pub name: WorkerName,
    /// Maximum number of jobs that it runs at the same time.
    pub slots: Option<u32>,
    /// Version of its program.
    pub version: Option<String>,
    /// Whether it shuts down and leases nothing more.
    pub draining: bool,
    /// Everything else.
    pub report: WorkerReport,
    /// Its answers to commands.
    pub answers: Vec<CommandAnswer>,
}

impl Store {
    /// Records the heartbeat of a remote worker and its answers to commands. Returns the commands that it has not acknowledged, oldest
    /// first; it may have received one before.
    pub async fn remote_heartbeat(&self, worker: &RemoteReport) -> Result<Vec<SentCommand>, StoreError> {
        let id = WorkerId::of_remote(&worker.name);
        if !worker.answers.is_empty() {
            self.acknowledge_commands(id, &worker.answers).await?;
        }
        let report = &worker.report;
        let mut unit = self.one().await?;
        let commands = sqlx::query_scalar!(
            "-- store.remote.report
            WITH beat AS (
                INSERT INTO jobqueue.worker (id, name, queues, slots, version, host, language, draining, paused, rss_bytes, jobs_per_minute,
                                             started_at, beat_at)
                VALUES ($1, $2, '{}', $3, $4, $5, $6, $7, $8, $9, $10, jobqueue.now(), jobqueue.now())
                ON CONFLICT (id) DO UPDATE
                SET slots = excluded.slots, version = excluded.version, host = excluded.host, language = excluded.language,
                    draining = excluded.draining, paused = excluded.paused, rss_bytes = excluded.rss_bytes,
                    jobs_per_minute = excluded.jobs_per_minute, beat_at = excluded.beat_at)
            SELECT json_agg(json_build_array(c.id, c.command, c.arguments) ORDER BY c.id)::text FROM jobqueue.worker_command c
            WHERE c.worker_id = $1 AND c.acknowledged_at IS NULL",
            id.as_uuid(),
            worker.name.as_str(),
            worker.slots.map(|slots| i32::try_from(slots).unwrap_or(i32::MAX)),
            worker.version,
            report.host,
            report.language,
            worker.draining,
            report.paused,
            report.rss_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            report.jobs_per_minute.map(|jobs| i32::try_from(jobs).unwrap_or(i32::MAX)),
        )
        .fetch_one(&mut *unit)
        .await?;
        unit.commit().await?;
        let commands = SentCommand::read(commands.as_deref())?;
        if !commands.is_empty() {
            self.delivered(id, &commands).await?;
        }
        Ok(commands)
    }

    /// Writes the rows of remote workers that have just asked for jobs. A name should occur once.
    pub async fn register_remote_workers(&self, workers: &[RemoteWorker]) -> Result<(), StoreError> {
        // each row has arrays of its own length, which arrays of arrays cannot have
        let rows = workers.iter().map(|worker| {
            let kinds: Vec<_> = worker.kinds.iter().take(KINDS_SHOWN).collect();
            serde_json::json!({ "id": worker.id(), "name": worker.name, "queues": worker.queues, "kinds": kinds })
        });
        let rows = rows.collect::<serde_json::Value>().to_string();
        let mut unit = self.one().await?;
        // in the order of ids, like every other statement that locks several of these rows
        sqlx::query!(
            "-- store.remote.register
            INSERT INTO jobqueue.worker (id, name, queues, kinds, started_at, beat_at)
            SELECT DISTINCT ON (id) id, name, queues, kinds, jobqueue.now(), jobqueue.now()
            FROM json_to_recordset($1::text::json) AS w (id uuid, name text, queues text[], kinds text[]) ORDER BY id
            ON CONFLICT (id) DO UPDATE SET queues = excluded.queues, kinds = excluded.kinds, beat_at = excluded.beat_at",
            rows,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await
    }

    /// Records that these remote workers have sent a request. Returns those that have a row. Another process that writes the same row at the
    /// same time does it for both.
    pub async fn touch_remote_workers(&self, workers: &[WorkerId]) -> Result<Vec<WorkerId>, StoreError> {
        let ids: Vec<Uuid> = workers.iter().map(|worker| worker.as_uuid()).collect();
        let mut unit = self.one().await?;
        let known = sqlx::query_scalar!(
            r#"-- store.remote.seen
            WITH heard AS (
                UPDATE jobqueue.worker SET beat_at = jobqueue.now() WHERE id = ANY (ARRAY(
                    SELECT id FROM jobqueue.worker WHERE id = ANY ($1) AND stale_ms IS NULL
                    ORDER BY id FOR UPDATE SKIP LOCKED)))
            SELECT id AS "id!" FROM jobqueue.worker WHERE id = ANY ($1)"#,
            &ids,
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(known.into_iter().map(WorkerId::from_uuid).collect())
    }
}
