//! Reader of the census: what `take` counted, and the totals. Cheap enough for every scrape, however many queues there are.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::{from_ms, to_count};
use crate::readers::walk::joins;

pub(crate) mod drain;
pub(crate) mod front;
mod take;

/// The name under which the metrics sum up the queues that they do not name. No queue can have it.
const OTHERS: &str = "_other";
/// The queue whose counter is theirs; numbers of queues begin with 1.
const NO_QUEUE: i32 = 0;
/// The queue whose counter has the totals of all deleted queues. No reader shows it. With it, all counters together still tell how many
/// jobs were ever created and pruned.
pub(crate) const DELETED_QUEUES: i32 = -1;
/// Of several reapers one counts. A deletion of queues takes the same lock.
pub(crate) const CENSUS_LOCK: i64 = 0x6a71_0002;
/// How many queues the metrics name before the first census.
const NAMED_AT_FIRST: usize = 200;

/// The state of all queues: cluster truth, the same from every process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Census {
    /// One entry a queue, by name.
    pub queues: Vec<QueueCensus>,
    /// The queues that are not `named`, as one; `None` if there never was any. Its totals are as old as the last census, begin when
    /// a queue is no longer named, and never decrease.
    pub others: Option<QueueCensus>,
    /// Workers that count as alive, remote ones included.
    pub workers: u64,
}

/// Numbers of one queue. The totals are exact to the last commit; the depths are as old as `taken_at`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueCensus {
    /// Queue name.
    pub queue: String,
    /// Waiting for their time.
    pub scheduled: u64,
    /// Runnable.
    pub queued: u64,
    /// Leased.
    pub running: u64,
    /// Since when the oldest runnable job waits. Reads only the up to twenty jobs of each priority that were submitted first, so
    /// delayed and snoozed jobs can make it too early or too late.
    pub oldest_at: Option<DateTime<Utc>>,
    /// When the depths were counted; `None` before the first census.
    pub taken_at: Option<DateTime<Utc>>,
    /// The database's clock at this reading.
    pub now: DateTime<Utc>,
    /// Jobs submitted, since the beginning.
    pub created: u64,
    /// Jobs completed, since the beginning.
    pub completed: u64,
    /// Jobs that became `failed`, since the beginning. A dead letter that is retried and fails again counts twice.
    pub failed: u64,
    /// Jobs cancelled, since the beginning.
    pub cancelled: u64,
    /// Dead letters now, at the reaper's last count of them.
    pub dead_letters: u64,
    /// Attempts that were retried, by policy or by an operator.
    pub retried: u64,
    /// Jobs leased by workers, since the beginning.
    pub leased: u64,
    /// Attempts lost with their worker or lease.
    pub lost: u64,
    /// Jobs deleted by retention or purge.
    pub pruned: u64,
    /// Snoozes by handlers, since the beginning.
    pub snoozed: u64,
    /// Attempts that ran and ended, in whichever way, since the beginning.
    pub attempts: u64,
    /// Total duration of those attempts.
    pub run: Duration,
    /// Jobs that become runnable per second, as a moving average over minutes.
    pub arrivals_per_second: f64,
    /// Duration of an attempt, as the same kind of average. `None` before one has ended.
    pub mean_run: Option<Duration>,
    /// Whether it is paused: its jobs are not leased.
    pub paused: bool,
    /// Whether the metrics name it: the most active queues, chosen by the reaper and the same for every reader.
    pub named: bool,
    /// Mean number of slots of the live workers of this queue that report theirs. `None` without one.
    pub slots: Option<f64>,
}

impl Store {
    /// Reads the last census and the totals.
    pub async fn census(&self) -> Result<Census, StoreError> {
        let mut unit = self.begin().await?;
        joins(&mut unit, true, false).await?;
        let rows = sqlx::query_as!(
            QueueRow,
            r#"-- store.census.read
            SELECT q.name AS "name!", q.paused_at IS NOT NULL AS "paused!", c.named AS "named?", c.scheduled AS "scheduled?", c.queued AS "queued?",
                   c.running AS "running?", c.oldest_at,
                   CASE WHEN c.queue_id IS NOT NULL THEN coalesce((SELECT taken_at FROM jobqueue.census_state), c.taken_at) END AS taken_at,
                   jobqueue.now() AS "now!",
                   coalesce(t.created, 0)::bigint AS "created!", coalesce(t.completed, 0)::bigint AS "completed!",
                   coalesce(t.failed, 0)::bigint AS "failed!", coalesce(t.cancelled, 0)::bigint AS "cancelled!",
                   coalesce(t.retried, 0)::bigint AS "retried!", coalesce(t.leased, 0)::bigint AS "leased!",
                   coalesce(t.lost, 0)::bigint AS "lost!", coalesce(t.pruned, 0)::bigint AS "pruned!",
                   coalesce(t.snoozed, 0)::bigint AS "snoozed!",
                   coalesce((SELECT d.count FROM jobqueue.dead_letter_total d WHERE d.queue_id = q.id), 0) AS "dead_letters!",
                   coalesce(t.attempts, 0)::bigint AS "attempts!", coalesce(t.run_ms, 0)::bigint AS "run_ms!",
                   c.arrivals AS "arrivals?", CASE WHEN c.attempts > 0 THEN c.run_ms / c.attempts END AS mean_run_ms, w.slots AS "slots?"
            FROM jobqueue.present_queue q
            LEFT JOIN jobqueue.census c ON c.queue_id = q.id
            LEFT JOIN (SELECT queue_id, sum(created) AS created, sum(completed) AS completed, sum(failed) AS failed,
                              sum(cancelled) AS cancelled, sum(retried) AS retried, sum(leased) AS leased, sum(lost) AS lost,
                              sum(pruned) AS pruned, sum(snoozed) AS snoozed, sum(attempts) AS attempts, sum(run_ms) AS run_ms
                       FROM (SELECT queue_id, created, completed, failed, cancelled, retried, leased, lost, pruned, attempts, run_ms, snoozed
                             FROM jobqueue.tally
                             UNION ALL
                             SELECT queue_id, created, completed, failed, cancelled, retried, leased, lost, pruned, attempts, run_ms, snoozed
                             FROM jobqueue.counter) u GROUP BY queue_id) t
                   ON t.queue_id = q.id
            LEFT JOIN (SELECT n.queue, avg(w.slots)::float8 AS slots FROM jobqueue.live_worker w CROSS JOIN LATERAL unnest(w.queues) n (queue)
                       WHERE NOT w.draining GROUP BY n.queue) w
                   ON w.queue = q.name
            ORDER BY q.name COLLATE "C""#
        )
        .fetch_all(&mut *unit)
        .await?;
        let fleet = sqlx::query!(
            r#"-- store.census.fleet
            SELECT (SELECT count(*) FROM jobqueue.live_worker) AS "workers!",
                   (SELECT named_queues FROM jobqueue.census_state) AS named_queues"#
        )
        .fetch_one(&mut *unit)
        .await?;
        let others = self.totals_of_others(&mut unit).await?;
        unit.commit().await?;
        let most = fleet.named_queues.map_or(NAMED_AT_FIRST, |most| usize::try_from(most).unwrap_or(0));
        let mut room = most.saturating_sub(rows.iter().filter(|row| row.named == Some(true)).count());
        let mut has_room = || {
            let free = room > 0;
            room = room.saturating_sub(1);
            free
        };
        let queues: Vec<QueueCensus> = rows
            .into_iter()
            .map(|row| {
                // a queue that is newer than the census is named as long as there is room
                let named = row.named.unwrap_or_else(&mut has_room);
                row.into_census(named)
            })
            .collect();
        let others = QueueCensus::sum(others, queues.iter().filter(|queue| !queue.named));
        Ok(Census { queues, others, workers: to_count(fleet.workers) })
    }

    /// The totals that the queues which the metrics do not name share.
    async fn totals_of_others(&self, unit: &mut Unit) -> Result<Option<QueueCensus>, StoreError> {
        let row = sqlx::query!(
            "-- store.census.others
            SELECT created, completed, failed, cancelled, retried, leased, lost, pruned, snoozed, attempts, run_ms
            FROM jobqueue.counter WHERE queue_id = $1",
            NO_QUEUE,
        )
        .fetch_optional(&mut **unit)
        .await?;
        Ok(row.map(|row| QueueCensus {
            queue: OTHERS.to_owned(),
            created: to_count(row.created),
            completed: to_count(row.completed),
            failed: to_count(row.failed),
            cancelled: to_count(row.cancelled),
            retried: to_count(row.retried),
            leased: to_count(row.leased),
            lost: to_count(row.lost),
            pruned: to_count(row.pruned),
            snoozed: to_count(row.snoozed),
            attempts: to_count(row.attempts),
            run: from_ms(row.run_ms),
            ..QueueCensus::default()
        }))
    }
}

/// What the census knows of a queue.
struct QueueRow {
    name: String,
    paused: bool,
    named: Option<bool>,
    scheduled: Option<i64>,
    queued: Option<i64>,
    running: Option<i64>,
    oldest_at: Option<DateTime<Utc>>,
    taken_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    created: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    retried: i64,
    leased: i64,
    lost: i64,
    pruned: i64,
    snoozed: i64,
    dead_letters: i64,
    attempts: i64,
    run_ms: i64,
    arrivals: Option<f64>,
    mean_run_ms: Option<f64>,
    slots: Option<f64>,
}

impl QueueRow {
    fn into_census(self, named: bool) -> QueueCensus {
        QueueCensus {
            queue: self.name,
            scheduled: to_count(self.scheduled.unwrap_or(0)),
            queued: to_count(self.queued.unwrap_or(0)),
            running: to_count(self.running.unwrap_or(0)),
            oldest_at: self.oldest_at,
            taken_at: self.taken_at,
            now: self.now,
            created: to_count(self.created),
            completed: to_count(self.completed),
            failed: to_count(self.failed),
            cancelled: to_count(self.cancelled),
            retried: to_count(self.retried),
            leased: to_count(self.leased),
            lost: to_count(self.lost),
            pruned: to_count(self.pruned),
            snoozed: to_count(self.snoozed),
            dead_letters: to_count(self.dead_letters),
            attempts: to_count(self.attempts),
            run: from_ms(self.run_ms),
            arrivals_per_second: self.arrivals.unwrap_or(0.0),
            mean_run: self.mean_run_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
            paused: self.paused,
            named,
            slots: self.slots,
        }
    }
}

impl QueueCensus {
    /// These totals with the depths of these queues; `None` if there is neither.
    fn sum<'a>(totals: Option<Self>, queues: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut sum = totals;
        for queue in queues {
            let sum = sum.get_or_insert_with(|| Self { queue: OTHERS.to_owned(), ..Self::default() });
            sum.scheduled += queue.scheduled;
            sum.queued += queue.queued;
            sum.running += queue.running;
            sum.dead_letters += queue.dead_letters;
            sum.arrivals_per_second += queue.arrivals_per_second;
            sum.oldest_at = [sum.oldest_at, queue.oldest_at].into_iter().flatten().min();
            (sum.taken_at, sum.now) = (sum.taken_at.or(queue.taken_at), queue.now);
        }
        sum
    }
}
