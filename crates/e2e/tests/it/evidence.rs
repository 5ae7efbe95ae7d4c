//! The evidence that the checker needs: the history of the clients, the ledger of the handlers, and the jobs in the
//! database at the end. Only collects it.

use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::history::{Event, History};
use crate::ledger::{Execution, WorkDir};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) events: Vec<Event>,
    pub(crate) executions: Vec<Execution>,
    pub(crate) stored: Vec<Stored>,
    pub(crate) totals: Totals,
}

/// One job in the database.
#[derive(Clone, Debug, Default, FromRow)]
pub(crate) struct Stored {
    pub(crate) id: Uuid,
    /// The payload, if it is a string.
    pub(crate) word: Option<String>,
    /// Every status in which the database has the job; exactly one in a correct database.
    pub(crate) statuses: Vec<String>,
    pub(crate) attempt: i16,
    pub(crate) max_attempts: i16,
    /// The outcomes of the attempts that did not complete the job.
    pub(crate) endings: Vec<String>,
    /// Whether an attempt began before `run_at`, by the database's clock.
    pub(crate) early: bool,
}

/// The totals of the whole database in one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub(crate) struct Totals {
    /// The counters that are kept for the metrics.
    pub(crate) created: i64,
    pub(crate) completed: i64,
    pub(crate) failed: i64,
    pub(crate) cancelled: i64,
    pub(crate) pruned: i64,
    /// The jobs that are stored now.
    pub(crate) live: i64,
    pub(crate) completed_jobs: i64,
    pub(crate) failed_jobs: i64,
    pub(crate) cancelled_jobs: i64,
}

const STORED: &str = "
    SELECT b.id, b.payload #>> '{}' AS word, b.max_attempts,
           ARRAY(SELECT j.status FROM jobs j WHERE j.id = b.id) AS statuses,
           coalesce((SELECT max(j.attempt) FROM jobs j WHERE j.id = b.id), 0::smallint) AS attempt,
           ARRAY(SELECT a.ended FROM jobqueue.attempt a WHERE a.job_id = b.id ORDER BY a.epoch) AS endings,
           EXISTS (SELECT FROM (SELECT started_at FROM jobqueue.attempt a WHERE a.job_id = b.id
                                UNION ALL SELECT started_at FROM jobqueue.outcome o WHERE o.job_id = b.id) s
                   WHERE s.started_at < b.run_at) AS early
    FROM jobqueue.body b ORDER BY b.id";

/// One statement, and therefore one snapshot.
const TOTALS: &str = "
    SELECT coalesce(sum(t.created), 0)::bigint AS created, coalesce(sum(t.completed), 0)::bigint AS completed,
           coalesce(sum(t.failed), 0)::bigint AS failed, coalesce(sum(t.cancelled), 0)::bigint AS cancelled,
           coalesce(sum(t.pruned), 0)::bigint AS pruned,
           (SELECT count(*) FROM jobs WHERE status IN ('blocked', 'scheduled', 'queued', 'running')) AS live,
           (SELECT count(*) FROM jobs WHERE status = 'completed') AS completed_jobs,
           (SELECT count(*) FROM jobs WHERE status = 'failed') AS failed_jobs,
           (SELECT count(*) FROM jobs WHERE status = 'cancelled') AS cancelled_jobs
    FROM (SELECT created, completed, failed, cancelled, pruned FROM jobqueue.tally
          UNION ALL SELECT created, completed, failed, cancelled, pruned FROM jobqueue.counter) t";

impl Evidence {
    pub(crate) async fn collect(history: &History, work: &WorkDir, pool: &PgPool) -> Self {
        Self {
            events: history.read(),
            executions: work.executions(),
            stored: sqlx::query_as(STORED).fetch_all(pool).await.unwrap(),
            totals: Totals::read(pool).await,
        }
    }
}

impl Totals {
    pub(crate) async fn read(pool: &PgPool) -> Self {
        sqlx::query_as(TOTALS).fetch_one(pool).await.unwrap()
    }
}
