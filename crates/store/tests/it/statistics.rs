//! Statistics of minutes and hours: what is counted, where, and for how long it is kept. `property` shows that nothing is lost or counted
//! twice, regardless of what happens at the same time.

use std::time::Duration;

use chrono::TimeDelta;
use jobqueue_core::statistics::histogram::{Bucket, RELATIVE_ERROR};
use jobqueue_core::statistics::series::MOST_SERIES;
use jobqueue_core::statistics::{Counts, Histogram, Range, RangeRequest, Statistic};
use jobqueue_core::{EditDraft, JobDraft, JobEdit, JobId, JobRecord, Limits, Outcome};
use jobqueue_store::{AttemptEnd, Edited, Leased, RangeStatistics, Retention};
use jobqueue_testkit::eventually;

use crate::bench::{Bench, DAY, MINUTE, boom, copy, draft, end, failed, request, start};

const RETENTION: Retention = Retention { completed: DAY, failed: DAY };
const HANG: Duration = Duration::from_mins(1);

impl Bench {
    /// The range that ends now, in steps.
    async fn range(&self, ago: Duration, step_seconds: u32) -> Range {
        let now = self.store.time().await.unwrap().unwrap() + TimeDelta::minutes(1);
        let from = Some(now - TimeDelta::from_std(ago).unwrap());
        RangeRequest { from, to: Some(now), step_seconds: Some(step_seconds) }.check(now).unwrap()
    }

    /// What happened in the last hours, by the hours. Takes a census before.
    async fn lately(&self, queue: Option<&str>, kind: Option<&str>) -> (Statistic, bool) {
        self.census().await;
        let range = self.range(Duration::from_hours(3), 3600).await;
        let read = self.statistics(&range, queue, kind).await;
        (total(&read), read.has_others)
    }

    async fn census(&self) {
        assert!(self.store.take_census(200).await.unwrap());
    }

    async fn statistics(&self, range: &Range, queue: Option<&str>, kind: Option<&str>) -> RangeStatistics {
        let (queue, kind) = (queue.map(|name| name.parse().unwrap()), kind.map(|name| name.parse().unwrap()));
        self.store.statistics(range, queue.as_ref(), kind.as_ref()).await.unwrap()
    }

    async fn one_from(&self, queue: &str) -> Leased {
        let mut leased = self.store.lease(&request(Some(self.worker), &[queue], 1)).await.unwrap();
        leased.pop().expect("a job to lease")
    }

    /// The number of rows of minutes or of hours.
    async fn rows(&self, hourly: bool) -> i64 {
        self.count(&format!("SELECT count(*) FROM jobqueue.statistic WHERE hourly = {hourly}")).await
    }
}

fn total(read: &RangeStatistics) -> Statistic {
    let mut total = Statistic::default();
    read.steps.iter().for_each(|step| total.add(step));
    total
}

fn of(queue: &str, kind: &str) -> JobDraft {
    JobDraft { queue: Some(queue.into()), kind: kind.into(), ..draft() }
}

fn near(found: Option<Duration>, expected: f64) {
    let found = found.unwrap().as_secs_f64();
    // the test itself takes some time, which adds to what the clock shows
    assert!(
        found >= expected * (1.0 - RELATIVE_ERROR) && found < expected * (1.0 + RELATIVE_ERROR) + 30.0,
        "{found}"
    );
}

#[tokio::test]
async fn each_event_counts_for_its_queue_and_its_kind() {
    let mut bench = Bench::new().await;
    let id = bench
        .submit(vec![of("mail", "send"), of("mail", "send"), of("mail", "bounce"), of("web", "send")])
        .await;
    assert_eq!(id.len(), 4);
    bench.execute("SELECT jobqueue.enqueue('send', queue => 'mail'); SELECT jobqueue.enqueue('new', queue => 'sql')").await;
    bench.execute("SELECT jobqueue.cancel(id) FROM jobqueue.jobs WHERE queue = 'sql'").await;
    bench.execute("SELECT jobqueue.retry(id) FROM jobqueue.jobs WHERE queue = 'sql'").await;
    let done = bench.one_from("mail").await;
    bench.end(done, Outcome::Completed(None)).await;
    let retried = bench.one_from("mail").await;
    bench.end(retried, failed()).await;
    let snoozed = bench.one_from("mail").await;
    assert_eq!(snoozed.job.kind.as_str(), "bounce");
    bench.end(snoozed, Outcome::Snoozed(Duration::from_secs(1))).await;
    let web = bench.one_from("web").await;
    let dead: JobId = web.job.id;
    bench.end(web, Outcome::Discarded(boom())).await;
    bench.store.jobs().retry(&[dead]).await.unwrap();
    bench.store.jobs().cancel(&[dead], &boom()).await.unwrap();
    bench.pass(Duration::from_mins(10));
    bench.store.promote_due(10).await.unwrap();
    let lost = bench.one_from("mail").await;
    assert_eq!(lost.job.kind.as_str(), "send", "a job that was lost returns without an event");
    bench.pass(Duration::from_mins(10));
    bench.store.reclaim(Duration::ZERO, 10).await.unwrap();

    let send_in_mail = Counts { created: 3, completed: 1, retried: 1, ..Counts::default() };
    let bounce = Counts { created: 1, snoozed: 1, ..Counts::default() };
    let web = Counts { created: 1, failed: 1, retried: 1, cancelled: 1, ..Counts::default() };
    let new = Counts { created: 1, cancelled: 1, retried: 1, ..Counts::default() };
    let sum = |parts: &[Counts]| {
        parts.iter().fold(Counts::default(), |mut sum, part| {
            sum.add(part);
            sum
        })
    };
    for (queue, kind, expected) in [
        (Some("mail"), Some("send"), send_in_mail),
        (Some("mail"), Some("bounce"), bounce),
        (Some("mail"), None, sum(&[send_in_mail, bounce])),
        (Some("web"), None, web),
        (Some("sql"), Some("new"), new),
        (None, Some("send"), sum(&[send_in_mail, web])),
        (None, None, sum(&[send_in_mail, bounce, web, new])),
        (Some("web"), Some("bounce"), Counts::default()),
        (Some("unknown"), None, Counts::default()),
        (None, Some("unknown"), Counts::default()),
    ] {
        let (found, has_others) = bench.lately(queue, kind).await;
        assert_eq!(found.counts, expected, "{queue:?} {kind:?}");
        assert!(!has_others);
    }
    let (all, _) = bench.lately(None, None).await;
    assert_eq!((all.run.count(), all.wait.count()), (4, 3), "the snoozed attempt ran, but its job waits on");
}

#[tokio::test]
async fn a_batch_of_many_kinds_counts_for_each() {
    let bench = Bench::new().await;
    let kinds = ["a", "b", "a", "c", "a"];
    bench.submit(kinds.iter().map(|kind| of("default", kind)).collect()).await;
    let ends: Vec<AttemptEnd> = bench
        .lease(10)
        .await
        .into_iter()
        .map(|leased| {
            let millis = if leased.job.kind.as_str() == "c" { 8_000 } else { 2_000 };
            AttemptEnd { ran: Some(Duration::from_millis(millis)), ..end(leased, Outcome::Completed(None)) }
        })
        .collect();
    bench.store.settle(ends).await.unwrap();
    for (kind, count, seconds) in [("a", 3, 2.0), ("b", 1, 2.0), ("c", 1, 8.0)] {
        let (found, _) = bench.lately(None, Some(kind)).await;
        assert_eq!(found.counts, Counts { created: count, completed: count, ..Counts::default() }, "{kind}");
        assert_eq!((found.run.count(), found.wait.count()), (count, count));
        let median = found.run.quantile(500).unwrap().as_secs_f64();
        assert!((median - seconds).abs() <= seconds * RELATIVE_ERROR, "{kind}: {median}");
    }
}

#[tokio::test]
async fn leases_that_end_together_share_a_tally_only_if_it_can_tell_them_apart() {
    let bench = Bench::new().await;
    let jobs = [("x", "a"), ("x", "a"), ("x", "a"), ("x", "a"), ("y", "a"), ("x", "b")];
    bench.submit(jobs.iter().map(|(queue, kind)| of(queue, kind)).collect()).await;
    let mut ends = Vec::new();
    for (seconds, (queue, _)) in (1..).zip(jobs) {
        let leased = bench.one_from(queue).await;
        ends.push(AttemptEnd {
            ran: Some(Duration::from_secs(seconds)),
            ..end(leased, Outcome::Completed(None))
        });
    }
    let third = &ends[2];
    let lost = AttemptEnd { lease: copy(&third.lease), settlement: third.settlement.clone(), ran: third.ran };
    bench.store.settle(vec![lost]).await.unwrap();
    bench.store.settle(ends).await.unwrap();

    let tallies = bench.count("SELECT count(*) FROM jobqueue.tally WHERE completed > 0").await;
    assert_eq!(
        tallies, 5,
        "the lost one, the two before it, the one behind it, the other queue, the other kind"
    );
    for (queue, kind, count, longest) in [("x", "a", 4, 4.0), ("y", "a", 1, 5.0), ("x", "b", 1, 6.0)] {
        let (found, _) = bench.lately(Some(queue), Some(kind)).await;
        assert_eq!((found.counts.completed, found.run.count()), (count, count), "{queue} {kind}");
        let seconds = found.run.quantile(1000).unwrap().as_secs_f64();
        assert!((seconds - longest).abs() <= longest * RELATIVE_ERROR, "{queue} {kind}: {seconds}");
    }
}

#[tokio::test]
async fn waits_begin_at_the_submission_or_run_at_and_runs_without_a_report_at_the_lease() {
    let mut bench = Bench::new().await;
    bench.add(draft()).await;
    bench.add(JobDraft { delay_seconds: Some(1_000.0), ..of("late", "late") }).await;
    bench.pass(Duration::from_mins(50));
    bench.store.promote_due(10).await.unwrap();
    let leased = [bench.lease_one().await, bench.one_from("late").await];
    bench.pass(Duration::from_secs(500));
    // as two requests of remote workers, which do not say how long they ran
    for one in leased {
        let held =
            bench.store.leased_jobs(&[crate::bench::copy(&one.lease)]).await.unwrap().pop().unwrap().unwrap();
        let lease = crate::bench::copy(&one.lease).with_waited(held.waited);
        bench.store.settle(vec![AttemptEnd { lease, ..end(one, Outcome::Completed(None)) }]).await.unwrap();
    }
    near(bench.lately(Some("default"), None).await.0.wait.quantile(500), 3_000.0);
    near(bench.lately(Some("late"), None).await.0.wait.quantile(500), 2_000.0);
    near(bench.lately(None, None).await.0.run.quantile(990), 500.0);
}

#[tokio::test]
async fn a_retry_has_no_wait_and_a_lost_attempt_no_run() {
    let mut bench = Bench::new().await;
    bench.add(JobDraft { max_attempts: Some(3), ..draft() }).await;
    let first = bench.lease_one().await;
    bench.end(first, Outcome::Failed { failure: boom(), retry_after: Some(Duration::from_secs(1)) }).await;
    bench.pass(Duration::from_secs(5));
    bench.store.promote_due(10).await.unwrap();
    bench.lease_one().await;
    bench.pass(Duration::from_mins(10));
    bench.store.reclaim(Duration::ZERO, 10).await.unwrap();
    let third = bench.lease_one().await;
    bench.end(third, Outcome::Completed(None)).await;
    let (all, _) = bench.lately(None, None).await;
    assert_eq!((all.run.count(), all.wait.count()), (2, 1));
    assert_eq!(all.counts, Counts { created: 1, completed: 1, retried: 1, ..Counts::default() });
}

#[tokio::test]
async fn the_bucket_in_sql_is_that_of_the_core() {
    let bench = Bench::new().await;
    let mut micros: Vec<i64> = (0..200).collect();
    for power in 7..45 {
        let one = 1i64 << power;
        micros.extend([one - 1, one, one + 1, one + one / 3, one + one / 2]);
    }
    let sql = "SELECT array_agg(jobqueue.duration_bucket(m * interval '1 microsecond') ORDER BY n)
                 FROM unnest($1::bigint[]) WITH ORDINALITY AS i (m, n)";
    let found: Vec<i32> = sqlx::query_scalar(sql).bind(&micros).fetch_one(&bench.pool).await.unwrap();
    let of =
        |micros: &i64| i32::from(Bucket::of(Duration::from_micros((*micros).try_into().unwrap())).number());
    assert_eq!(found, micros.iter().map(of).collect::<Vec<_>>());
    assert_eq!(bench.count("SELECT jobqueue.duration_bucket('-1 s')::bigint").await, 0);
}

#[tokio::test]
async fn minutes_are_kept_for_14_days_and_hours_for_400() {
    let mut bench = Bench::new().await;
    bench.add(draft()).await;
    bench.census().await;
    let (minutes, hours) = (bench.rows(false).await, bench.rows(true).await);
    assert_eq!((minutes, hours), (4, 4), "of the queue, of the kind, of both, and of everything");
    for (days, expected) in [(13, (4, 4)), (2, (0, 4)), (384, (0, 4)), (2, (0, 0))] {
        bench.pass(DAY * days);
        bench.store.upkeep().prune(RETENTION).await.unwrap();
        // the tally of the pruned job is no event
        bench.census().await;
        assert_eq!((bench.rows(false).await, bench.rows(true).await), expected, "after {days} more days");
    }
}

#[tokio::test]
async fn ten_thousand_kinds_have_a_bounded_number_of_rows_and_no_event_is_lost() {
    let mut bench = Bench::new().await;
    let id = bench.add(of("many", "large")).await;
    let large = bench.count("SELECT kind::bigint FROM jobqueue.body").await;
    let queue = bench.count("SELECT queue_id::bigint FROM jobqueue.lane").await;
    bench.store.jobs().cancel(&[id], &boom()).await.unwrap();
    // each batch has kinds of its own, and ten jobs of the large one
    for batch in 0..20 {
        let first = 100_000 + batch * 500;
        bench.execute(&format!(
            "INSERT INTO jobqueue.kind (name) SELECT 'order-' || n FROM generate_series({first}, {first} + 499) n;
             INSERT INTO jobqueue.tally (queue_id, created, kinds)
             SELECT {queue}, 510, array_agg(id) || array_fill({large}, ARRAY[10]) FROM (SELECT id FROM jobqueue.kind ORDER BY id DESC LIMIT 500) k",
        )).await;
        bench.census().await;
    }
    bench.pass(Duration::from_hours(1));
    bench
        .execute(&format!(
            "INSERT INTO jobqueue.tally (queue_id, created, kinds) VALUES ({queue}, 1, '{{{large}}}')"
        ))
        .await;
    let (all, has_others) = bench.lately(None, None).await;
    assert_eq!((all.counts.created, has_others), (20 * 510 + 2, false));
    let (of_large, has_others) = bench.lately(Some("many"), Some("large")).await;
    assert_eq!((of_large.counts.created, has_others), (20 * 10 + 2, true));
    let splits = "SELECT count(*) FROM (SELECT hourly, at, (sum(created) FILTER (WHERE queue_id = 0 AND kind_id = 0)) AS a,
                    (sum(created) FILTER (WHERE queue_id <> 0 AND kind_id <> 0)) AS b, (sum(created) FILTER (WHERE queue_id = 0 AND kind_id <> 0)) AS c,
                    (sum(created) FILTER (WHERE queue_id <> 0 AND kind_id = 0)) AS d FROM jobqueue.statistic GROUP BY hourly, at) s
                   WHERE (a, a, a) <> (b, c, d)";
    assert_eq!(bench.count(splits).await, 0);
    let most = bench
        .count("SELECT max(n) FROM (SELECT count(*) AS n FROM jobqueue.statistic GROUP BY hourly, at) s")
        .await;
    assert!(most > 200 && most <= i64::try_from(MOST_SERIES).unwrap(), "{most}");
}

#[tokio::test]
async fn four_hundred_days_are_read_from_the_rows_of_one_series() {
    let bench = Bench::new().await;
    bench.submit(vec![of("a", "k")]).await;
    let queue = bench.count("SELECT queue_id::bigint FROM jobqueue.lane").await;
    let mut histogram = Histogram::default();
    histogram.add_bucket(Bucket::of(Duration::from_secs(2)), 3);
    let fill = "INSERT INTO jobqueue.statistic
         SELECT date_trunc('hour', now()) - n * interval '1 h', q, k, 5, 3, 0, 0, 0, 0, true, $1, $1
         FROM generate_series(1, 9600) n, unnest(ARRAY[0, $2::int, 900]) q, unnest(ARRAY[0, 901, 902]) k";
    let queue = i32::try_from(queue).unwrap();
    sqlx::query(fill).bind(histogram.to_bytes()).bind(queue).execute(&bench.pool).await.unwrap();
    let range = bench.range(DAY * 400, 86_400).await;
    assert!(range.len() <= 402);
    let read = "SELECT coalesce(sum(idx_tup_fetch), 0)::bigint + coalesce(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'statistic'";
    let before = bench.counted(read).await;
    let found = bench.statistics(&range, Some("a"), None).await;
    assert!(bench.counted(read).await - before <= 9_600 + 10, "rows of other series were read");
    let total = total(&found);
    assert_eq!((total.counts.created, total.wait.count()), (9_600 * 5, 9_600 * 3));
    assert_eq!(found.steps[200].counts.completed, 24 * 3);
    near(found.steps[200].run.quantile(950), 2.0);
}

#[tokio::test]
async fn a_census_that_dies_before_its_commit_counts_nothing_and_the_next_one_counts_all() {
    let bench = Bench::new().await;
    bench.submit(vec![of("a", "k"); 3]).await;
    let mut lock = bench.pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE jobqueue.statistic IN SHARE MODE").execute(&mut *lock).await.unwrap();
    let store = bench.store.clone();
    let doomed = start(async move { store.take_census(200).await });
    eventually(HANG, "the census waits for the table", async || {
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%store.statistics.write%'";
        let ended = bench.count(kill).await;
        if ended == 1 { Ok(()) } else { Err(ended) }
    })
    .await;
    assert!(doomed.await.unwrap().is_err());
    lock.rollback().await.unwrap();
    assert_eq!(
        (bench.rows(false).await, bench.count("SELECT sum(created) FROM jobqueue.tally").await),
        (0, 3)
    );
    assert_eq!(bench.lately(Some("a"), Some("k")).await.0.counts.created, 3);
}

#[tokio::test]
async fn an_event_counts_in_the_minute_in_which_it_happened() {
    let mut bench = Bench::new().await;
    bench.add(draft()).await;
    bench.execute("UPDATE jobqueue.tally SET at = date_trunc('minute', at) + interval '59.999 s'").await;
    bench.pass(Duration::from_mins(70));
    bench.add(draft()).await;
    bench.census().await;
    let range = bench.range(Duration::from_mins(90), 60).await;
    let found = bench.statistics(&range, None, None).await;
    let steps: Vec<usize> = (0..range.len()).filter(|step| found.steps[*step].counts.created > 0).collect();
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!((70..=71).contains(&(steps[1] - steps[0])), "{steps:?}");
    assert!(found.counted_until.is_some());
    assert_eq!(bench.lately(None, None).await.0.counts.created, 2, "in two hours");
}

#[tokio::test]
async fn events_of_older_binaries_and_of_deleted_queues_count_with_the_others() {
    let mut bench = Bench::new().await;
    bench.done(draft()).await;
    bench.census().await;
    bench.pass(DAY * 3);
    bench.store.upkeep().prune(RETENTION).await.unwrap();
    bench.execute("INSERT INTO jobqueue.tally (queue_id, created) SELECT id, 4 FROM jobqueue.queue").await;
    let (of_queue, has_others) = bench.lately(Some("default"), None).await;
    assert_eq!((of_queue.counts.created, has_others), (4, false));
    let (of_kind, has_others) = bench.lately(None, Some("noop")).await;
    assert_eq!((of_kind.counts.created, has_others), (0, true));
    // the number under which the totals of deleted queues are kept
    bench.execute("INSERT INTO jobqueue.tally (queue_id, completed) VALUES (-1, 2)").await;
    let (of_queue, has_others) = bench.lately(Some("default"), None).await;
    assert_eq!((of_queue.counts.completed, has_others), (0, true));
    assert_eq!(
        bench.lately(None, None).await.0.counts,
        Counts { created: 4, completed: 2, ..Counts::default() }
    );
}

#[tokio::test]
async fn a_malformed_tally_does_not_stop_the_census() {
    let mut bench = Bench::new().await;
    bench.add(draft()).await;
    for values in [
        "'infinity', NULL, NULL",
        "'-infinity', '{}', '{}'",
        "now(), '{1,NULL}', '{NULL}'",
        "now(), '{{1},{2}}', '{{1,2}}'",
        "now(), '[0:1]={1,2}', '[5:5]={1}'",
    ] {
        let columns = "(queue_id, created, at, kinds, samples)";
        bench.execute(&format!("INSERT INTO jobqueue.tally {columns} VALUES (1, 2, {values})")).await;
    }
    bench.pass(MINUTE);
    bench.census().await;
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.tally").await, 0);
    assert_eq!(bench.count("SELECT created FROM jobqueue.counter WHERE queue_id = 1").await, 11);
}

/// The names of a new queue are made at the commit, which counts what the transaction did with the job.
#[tokio::test]
async fn a_job_that_is_moved_to_a_new_queue_and_cancelled_counts_under_its_kind() {
    let bench = Bench::new().await;
    let (id, other) = (bench.add(draft()).await, bench.add(draft()).await);
    bench
        .execute(&format!(
            "BEGIN; SELECT jobqueue.edit('{id}', queue => 'new'), jobqueue.edit('{other}', queue => 'new');
             SELECT jobqueue.cancel('{id}'); COMMIT"
        ))
        .await;
    for (queue, kind, expected) in
        [(None, Some("noop"), (2, 1)), (Some("default"), None, (2, 0)), (Some("new"), None, (0, 1))]
    {
        let counts = bench.lately(queue, kind).await.0.counts;
        assert_eq!((counts.created, counts.cancelled), expected, "{queue:?} {kind:?}");
    }
    let left = "SELECT c.created - c.cancelled FROM jobqueue.counter c JOIN jobqueue.queue q ON q.id = c.queue_id WHERE q.name = 'new'";
    assert_eq!(bench.count(left).await, 1);
}

#[tokio::test]
async fn a_job_that_is_moved_was_created_once() {
    let bench = Bench::new().await;
    for queue in ["there", "here"] {
        bench.add(JobDraft { queue: Some(queue.into()), ..draft() }).await;
    }
    let (by_rest, by_sql, to_new) =
        (bench.add(draft()).await, bench.add(draft()).await, bench.add(draft()).await);
    let moved = EditDraft { queue: Some(Some("there".into())), ..EditDraft::default() };
    let edited = bench
        .store
        .jobs()
        .edit(by_rest, |record: &JobRecord| JobEdit::parse(record, moved.clone(), &Limits::default()))
        .await
        .unwrap();
    assert!(matches!(edited, Edited::Job(_, true)), "{edited:?}");
    for (id, queue) in [(by_sql, "here"), (to_new, "new.queue")] {
        bench.execute(&format!("SELECT jobqueue.edit('{id}', queue => '{queue}')")).await;
    }
    for (queue, created) in
        [(None, 5), (Some("default"), 3), (Some("there"), 1), (Some("here"), 1), (Some("new.queue"), 0)]
    {
        assert_eq!(bench.lately(queue, None).await.0.counts.created, created, "{queue:?}");
    }
    assert_eq!(bench.lately(None, Some("noop")).await.0.counts.created, 5);
    // the counters of the queues say where the jobs are
    let left = "SELECT (c.created - c.pruned) FROM jobqueue.counter c JOIN jobqueue.queue q ON q.id = c.queue_id WHERE q.name = ";
    for (queue, jobs) in [("default", 0), ("there", 2), ("here", 2), ("new.queue", 1)] {
        assert_eq!(bench.count(&format!("{left}'{queue}'")).await, jobs, "{queue}");
    }
}
