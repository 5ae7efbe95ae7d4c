//! The checker: invariants of every snapshot of the database, and of the history that the actors record. `property`
//! shows that the store passes it, `mutants` that a broken store does not.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use jobqueue_core::JobId;
use jobqueue_store::Leased;
use sqlx::PgPool;

/// Invariants of one snapshot, by their numbers; each statement returns the jobs that violate it.
const SNAPSHOT: [(&str, &str); 14] = [
    ("I13 a job is in exactly one place", "SELECT b.id FROM jobqueue.body b LEFT JOIN place p ON p.id = b.id GROUP BY b.id HAVING count(p.id) <> 1"),
    ("I2 a place without a job", "SELECT p.id FROM place p WHERE NOT EXISTS (SELECT FROM jobqueue.body b WHERE b.id = p.id)"),
    (
        "I10 one live job a unique key",
        "SELECT unnest((array_agg(b.id))[2:]) FROM jobqueue.body b JOIN place p ON p.id = b.id
         WHERE p.place <> 'final' AND b.unique_digest IS NOT NULL GROUP BY b.unique_digest HAVING count(*) > 1",
    ),
    (
        "I10 a live job holds its key",
        "SELECT b.id FROM jobqueue.body b JOIN place p ON p.id = b.id LEFT JOIN jobqueue.unique_claim c ON c.digest = b.unique_digest
         WHERE p.place <> 'final' AND b.unique_digest IS NOT NULL AND c.job_id IS DISTINCT FROM b.id",
    ),
    (
        "I10 a final job keeps no key that it should free",
        "SELECT c.job_id FROM jobqueue.unique_claim c JOIN jobqueue.outcome o ON o.job_id = c.job_id
         WHERE c.kept & (CASE o.status WHEN 5 THEN 1 WHEN 6 THEN 2 ELSE 4 END) = 0",
    ),
    (
        "I6 attempts are at most max_attempts",
        "SELECT b.id FROM jobqueue.body b JOIN place p ON p.id = b.id
         WHERE p.attempt > b.max_attempts OR p.place = 'waits' AND p.attempt >= b.max_attempts",
    ),
    (
        "I5 no start before its time",
        "SELECT b.id FROM jobqueue.body b JOIN place p ON p.id = b.id WHERE p.place = 'runs' AND b.run_at > clock_timestamp()",
    ),
    ("I3 a grant has jobs and jobs a grant", "SELECT gen_random_uuid() FROM jobqueue.lease l FULL JOIN jobqueue.lease_jobs j USING (epoch) WHERE l.open IS NULL OR j.job_ids IS NULL OR l.open = 0"),
    (
        "I13 created = all that is + pruned",
        "SELECT gen_random_uuid() FROM (SELECT sum(created - pruned) AS n FROM (SELECT created, pruned FROM jobqueue.tally
           UNION ALL SELECT created, pruned FROM jobqueue.counter) t) t WHERE t.n <> (SELECT count(*) FROM jobqueue.body)",
    ),
    (
        "D1 the failed jobs that were not replaced are the dead letters",
        "SELECT coalesce(o.job_id, d.job_id) FROM (
             SELECT job_id FROM jobqueue.outcome WHERE status = 6 EXCEPT SELECT job_id FROM jobqueue.replacement) o
         FULL JOIN jobqueue.dead_letter d ON d.job_id = o.job_id WHERE o.job_id IS NULL OR d.job_id IS NULL",
    ),
    (
        "D2 groups and tallies count the dead letters",
        "SELECT coalesce(c.fingerprint, t.fingerprint) FROM (
             SELECT queue_id, fingerprint, count(*) AS n FROM jobqueue.dead_letter GROUP BY queue_id, fingerprint
             UNION ALL SELECT 0, fingerprint, count(*) FROM jobqueue.dead_letter GROUP BY fingerprint) c
         FULL JOIN (
             SELECT queue_id, fingerprint, sum(n) AS n FROM (
                 SELECT queue_id, fingerprint, count AS n FROM jobqueue.dead_letter_group
                 UNION ALL SELECT queue_id, fingerprint, count FROM jobqueue.dead_letter_tally
                 UNION ALL SELECT 0, fingerprint, count FROM jobqueue.dead_letter_tally) u
             GROUP BY queue_id, fingerprint HAVING sum(n) <> 0) t
           ON t.queue_id = c.queue_id AND t.fingerprint = c.fingerprint
         WHERE c.n IS DISTINCT FROM t.n",
    ),
    (
        // an edit that moves a job to another queue counts in the counters of both queues, and once as pruned; S4 knows the exact number
        "S1 the statistics have what the counters have",
        "SELECT gen_random_uuid()
         FROM (SELECT sum(completed), sum(failed), sum(retried), sum(cancelled), sum(snoozed) FROM jobqueue.counter WHERE queue_id <> 0) c,
              (SELECT sum(completed), sum(failed), sum(retried), sum(cancelled), sum(snoozed) FROM jobqueue.statistic
               WHERE hourly AND queue_id = 0 AND kind_id = 0) s,
              (SELECT sum(created) AS created, sum(pruned) AS pruned FROM jobqueue.counter WHERE queue_id <> 0) n,
              (SELECT sum(created) AS created FROM jobqueue.statistic WHERE hourly AND queue_id = 0 AND kind_id = 0) m
         WHERE ROW(c.*) IS DISTINCT FROM ROW(s.*) OR (n.created IS NULL) <> (m.created IS NULL) OR n.created - m.created NOT BETWEEN 0 AND n.pruned",
    ),
    (
        "S2 an hour is the sum of its minutes",
        "SELECT gen_random_uuid()
         FROM (SELECT queue_id, kind_id, at, created, completed, failed, retried, cancelled, snoozed FROM jobqueue.statistic WHERE hourly) h
         FULL JOIN (SELECT queue_id, kind_id, date_trunc('hour', at) AS at, sum(created) AS created, sum(completed) AS completed,
                           sum(failed) AS failed, sum(retried) AS retried, sum(cancelled) AS cancelled, sum(snoozed) AS snoozed
                    FROM jobqueue.statistic WHERE NOT hourly GROUP BY 1, 2, 3) m USING (queue_id, kind_id, at)
         WHERE (h.created, h.completed, h.failed, h.retried, h.cancelled, h.snoozed)
               IS DISTINCT FROM (m.created, m.completed, m.failed, m.retried, m.cancelled, m.snoozed)",
    ),
    (
        "S3 queues and kinds have what all have together",
        "SELECT gen_random_uuid() FROM (
             SELECT sign(abs(queue_id)) AS queue, sign(abs(kind_id)) AS kind, hourly, at, sum(created) AS created, sum(completed) AS completed,
                    sum(failed) AS failed, sum(retried) AS retried, sum(cancelled) AS cancelled, sum(snoozed) AS snoozed
             FROM jobqueue.statistic GROUP BY 1, 2, 3, 4) s
         GROUP BY hourly, at HAVING count(DISTINCT (created, completed, failed, retried, cancelled, snoozed)) <> 1 OR count(*) <> 4",
    ),
];

const PLACES: &str = "WITH place AS MATERIALIZED (
    SELECT job_id AS id, 'waits' AS place, attempt FROM jobqueue.ready
    UNION ALL SELECT job_id, 'waits', attempt FROM jobqueue.scheduled
    UNION ALL SELECT j.id, 'runs', j.attempt FROM jobqueue.lease l JOIN jobqueue.lease_jobs h ON h.epoch = l.epoch
      CROSS JOIN LATERAL unnest(h.job_ids, h.attempts) WITH ORDINALITY AS j (id, attempt, nth) WHERE (l.open >> (j.nth - 1)::int) & 1 = 1
    UNION ALL SELECT job_id, 'final', attempt FROM jobqueue.outcome)";

/// Checks one snapshot; returns the violations.
pub(crate) async fn check_snapshot(pool: &PgPool) -> Vec<String> {
    let mut snapshot = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await.unwrap();
    let mut broken = Vec::new();
    for (law, sql) in SNAPSHOT {
        let violators: Vec<uuid::Uuid> =
            sqlx::query_scalar(&format!("{PLACES} {sql}")).fetch_all(&mut *snapshot).await.unwrap();
        if let Some(one) = violators.first() {
            broken.push(format!("{law}: {} jobs, for instance {one}", violators.len()));
        }
    }
    broken
}

/// A grant, with the readings of the history's clock before and after the call.
struct Grant {
    job: JobId,
    epoch: i64,
    /// The number in the payload that came with the grant.
    payload: Option<u64>,
    before: u64,
    after: u64,
}

/// How a lease ended, according to the response to its holder.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The job is final.
    Final,
    /// The job runs again, and the attempt counts.
    Again,
    /// The job runs again, and the attempt does not count.
    Released,
}

/// The calls of the actors and their results.
#[derive(Default)]
pub(crate) struct History {
    clock: AtomicU64,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    submitted: Vec<(JobId, u16)>,
    grants: Vec<Grant>,
    ends: HashMap<(JobId, i64), Vec<Ended>>,
    cancelled: HashMap<JobId, u64>,
    retried: HashMap<JobId, u64>,
    /// The numbers of the edits of each job that were answered, with the reading of the clock after the answer.
    edited: HashMap<JobId, Vec<(u64, u64)>>,
    deleting: HashSet<JobId>,
    deleted: HashSet<JobId>,
    broken: Vec<String>,
}

impl History {
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn submitted(&self, id: JobId, max_attempts: u16) {
        self.records.lock().unwrap().submitted.push((id, max_attempts));
    }

    /// A random submitted job.
    pub(crate) fn any(&self, dice: usize) -> Option<JobId> {
        let records = self.records.lock().unwrap();
        (!records.submitted.is_empty()).then(|| records.submitted[dice % records.submitted.len()].0)
    }

    pub(crate) fn granted(&self, leased: &[Leased], before: u64) {
        let now = self.tick();
        let grants = leased.iter().map(|one| Grant {
            job: one.job.id,
            epoch: one.lease.epoch(),
            payload: one.job.payload.as_str().parse().ok(),
            before,
            after: now,
        });
        self.records.lock().unwrap().grants.extend(grants);
    }

    pub(crate) fn ended(&self, job: JobId, epoch: i64, ended: Ended) {
        self.records.lock().unwrap().ends.entry((job, epoch)).or_default().push(ended);
    }

    pub(crate) fn cancelled(&self, job: JobId) {
        *self.records.lock().unwrap().cancelled.entry(job).or_default() += 1;
    }

    pub(crate) fn retried(&self, job: JobId) {
        *self.records.lock().unwrap().retried.entry(job).or_default() += 1;
    }

    /// An edit that set the payload to `number` was answered.
    pub(crate) fn edited(&self, job: JobId, number: u64) {
        let now = self.tick();
        self.records.lock().unwrap().edited.entry(job).or_default().push((number, now));
    }

    /// A deletion of the job begins.
    pub(crate) fn deleting(&self, job: JobId) {
        self.records.lock().unwrap().deleting.insert(job);
    }

    pub(crate) fn deleted(&self, job: JobId) {
        self.records.lock().unwrap().deleted.insert(job);
    }

    /// Whether the job may be gone.
    pub(crate) fn is_deleted(&self, job: JobId) -> bool {
        self.records.lock().unwrap().deleting.contains(&job)
    }

    pub(crate) fn broken(&self, what: Vec<String>) {
        self.records.lock().unwrap().broken.extend(what);
    }

    /// All violations in the history and in the snapshots.
    pub(crate) async fn verdict(&self, pool: &PgPool) -> Vec<String> {
        let stored: Vec<uuid::Uuid> =
            sqlx::query_scalar("SELECT id FROM jobqueue.body").fetch_all(pool).await.unwrap();
        // a tally without kinds is that of a move
        let created: i64 = sqlx::query_scalar(
            "SELECT (coalesce((SELECT sum(created) FROM jobqueue.statistic WHERE hourly AND queue_id = 0 AND kind_id = 0), 0)
                   + coalesce((SELECT sum(created) FROM jobqueue.tally WHERE kinds IS DISTINCT FROM '{}'), 0))::bigint",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        let records = self.records.lock().unwrap();
        let mut broken = records.broken.clone();
        let submitted: HashMap<JobId, u16> = records.submitted.iter().copied().collect();
        if usize::try_from(created) != Ok(submitted.len()) {
            broken.push(format!("S4 the statistics have {created} created jobs of {}", submitted.len()));
        }
        let stored: std::collections::HashSet<JobId> = stored.into_iter().map(JobId::from_uuid).collect();
        let gone = |id: &&JobId| !stored.contains(id) && !records.deleted.contains(id);
        broken.extend(submitted.keys().filter(gone).map(|id| format!("I1 lost: {id}")));
        let back = stored.iter().filter(|id| records.deleted.contains(id));
        broken.extend(back.map(|id| format!("I1 deleted and still there: {id}")));
        broken.extend(
            stored
                .iter()
                .filter(|id| !submitted.contains_key(id))
                .map(|id| format!("I2 {id} was not submitted")),
        );
        broken.extend(
            records
                .ends
                .iter()
                .filter(|(_, ends)| ends.len() > 1)
                .map(|(one, _)| format!("I4 ended twice: {one:?}")),
        );
        broken.extend(records.epochs());
        broken.extend(records.payloads());
        broken.extend(records.lives(&submitted));
        broken
    }
}

impl Records {
    fn epochs(&self) -> Vec<String> {
        let mut by_job: HashMap<JobId, Vec<&Grant>> = HashMap::new();
        for grant in &self.grants {
            by_job.entry(grant.job).or_default().push(grant);
        }
        let mut broken = Vec::new();
        for (job, grants) in &mut by_job {
            grants.sort_by_key(|grant| grant.epoch);
            for pair in grants.windows(2) {
                if pair[0].epoch == pair[1].epoch {
                    broken.push(format!("I3 granted twice: {job} epoch {}", pair[0].epoch));
                } else if pair[1].after < pair[0].before {
                    broken.push(format!("I3 epochs of {job} went back to {}", pair[0].epoch));
                }
            }
        }
        broken
    }

    /// A grant that began after an edit was answered has the payload of that edit or of a later one. Edits of one job exclude each other, so
    /// their numbers, which are drawn before the edit, need not be in the order of the edits; an edit that was answered before another began has
    /// the smaller number.
    fn payloads(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for grant in &self.grants {
            let edits = self.edited.get(&grant.job).map_or(&[][..], Vec::as_slice);
            let known = |number: u64| number == 0 || edits.iter().any(|(edit, _)| *edit == number);
            let Some(payload) = grant.payload.filter(|number| known(*number)) else {
                broken.push(format!("{} ran with the payload of no edit: {:?}", grant.job, grant.payload));
                continue;
            };
            // the edit of the payload was answered before another edit began, which was answered before the grant began
            let answered = edits.iter().find(|(edit, _)| *edit == payload).map_or(0, |(_, at)| *at);
            if edits.iter().any(|(later, at)| *later > answered && *at < grant.before) {
                broken.push(format!(
                    "{} ran with the payload {payload} although a later edit was answered",
                    grant.job
                ));
            }
        }
        broken
    }

    fn lives(&self, submitted: &HashMap<JobId, u16>) -> Vec<String> {
        let mut broken = Vec::new();
        for (job, max_attempts) in submitted {
            let lives = 1 + self.retried.get(job).copied().unwrap_or(0);
            let ends: Vec<Ended> = self
                .ends
                .iter()
                .filter(|((id, _), _)| id == job)
                .flat_map(|(_, ends)| ends.clone())
                .collect();
            let finals = ends.iter().filter(|end| **end == Ended::Final).count();
            let finals = u64::try_from(finals).unwrap() + self.cancelled.get(job).copied().unwrap_or(0);
            if finals > lives {
                broken.push(format!("I5 {job} became final {finals} times in {lives} lives"));
            }
            let starts = self.grants.iter().filter(|grant| grant.job == *job).count();
            let free = ends.iter().filter(|end| **end == Ended::Released).count();
            let paid = u64::try_from(starts.saturating_sub(free)).unwrap();
            if paid > lives * u64::from(*max_attempts) {
                broken.push(format!("I6 {job} had {paid} attempts of {max_attempts} in {lives} lives"));
            }
        }
        broken
    }
}
