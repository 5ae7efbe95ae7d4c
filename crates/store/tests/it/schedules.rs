//! Schedules: ticks fire once, in time and in one transaction with their jobs, under every rule, and one schedule never disturbs another.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::schedule::{Fate, Missed, Overlap, Schedule, ScheduleStatus};
use jobqueue_core::{JobDraft, JobId, Limits, Outcome, ScheduleDraft, ScheduleName, Status};
use jobqueue_store::{Firing, Precondition, ScheduleChange, ScheduleRecord, TickRecord};

use crate::bench::{Bench, DAY, MINUTE, json};

mod load;
mod rules;
mod sql;

pub(super) const HOUR: Duration = Duration::from_hours(1);

pub(super) fn name(text: &str) -> ScheduleName {
    text.parse().unwrap()
}

/// Every full minute, in the queue `default`.
pub(super) fn minutely() -> ScheduleDraft {
    let job = JobDraft { kind: "noop".into(), ..JobDraft::default() };
    ScheduleDraft { cron: Some("* * * * *".into()), job, ..ScheduleDraft::default() }
}

pub(super) fn parsed(text: &str, draft: &ScheduleDraft) -> Schedule {
    Schedule::parse(&name(text), draft.clone(), &Limits::default()).unwrap()
}

impl Bench {
    /// A bench whose clock stands a second after midnight (UTC), so that no full minute passes while a test runs
    /// unless the test moves the clock.
    pub(super) async fn after_midnight() -> Self {
        let mut bench = Self::new().await;
        let now = bench.now().await;
        let midnight = (now + chrono::Days::new(1)).date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
        bench.pass((midnight - now).to_std().unwrap() + Duration::from_secs(1));
        bench
    }

    pub(super) async fn put_if(
        &self,
        text: &str,
        draft: &ScheduleDraft,
        on: &Precondition,
    ) -> ScheduleChange {
        self.store.schedules().put(&name(text), draft, &parsed(text, draft), on).await.unwrap()
    }

    pub(super) async fn put(&self, text: &str, draft: &ScheduleDraft) -> ScheduleRecord {
        match self.put_if(text, draft, &Precondition::Always).await {
            ScheduleChange::Created(record)
            | ScheduleChange::Changed(record)
            | ScheduleChange::Same(record) => record,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn schedule(&self, text: &str) -> ScheduleRecord {
        self.store.schedules().get(&name(text)).await.unwrap().expect("the schedule exists")
    }

    /// Passes until nothing is due.
    pub(super) async fn fire(&self) -> Firing {
        let mut all = Firing::default();
        loop {
            let pass = self.store.fire_schedules(500).await.unwrap();
            all.jobs += pass.jobs;
            all.ticks.extend(pass.ticks);
            all.failed.extend(pass.failed);
            if !pass.more {
                return all;
            }
        }
    }

    /// Moves the clock past the next tick of a schedule and fires it.
    pub(super) async fn fire_next(&mut self, text: &str) -> Firing {
        let until = self.schedule(text).await.fires_at.unwrap() - self.now().await;
        self.pass(until.to_std().unwrap_or_default() + Duration::from_millis(10));
        self.fire().await
    }

    pub(super) async fn now(&self) -> DateTime<Utc> {
        sqlx::query_scalar("SELECT jobqueue.now()").fetch_one(&self.pool).await.unwrap()
    }

    /// The ticks of a schedule, oldest first.
    pub(super) async fn ticks(&self, text: &str) -> Vec<TickRecord> {
        let id = self.schedule(text).await.id;
        let mut ticks = self.store.schedules().ticks(id, None, 2000).await.unwrap();
        ticks.reverse();
        ticks
    }

    pub(super) async fn fates(&self, text: &str) -> Vec<Fate> {
        self.ticks(text).await.into_iter().map(|tick| tick.fate).collect()
    }

    /// Leases the only job that can run, and completes it.
    pub(super) async fn complete_one(&self) -> JobId {
        let leased = self.lease_one().await;
        let id = leased.job.id;
        self.end(leased, Outcome::Completed(None)).await;
        id
    }
}

#[tokio::test]
async fn a_tick_fires_once_and_its_job_knows_it() {
    let mut bench = Bench::after_midnight().await;
    let created = bench.put("nightly", &minutely()).await;
    let first = created.next.unwrap();
    assert_eq!((created.version, created.status, created.runs), (1, ScheduleStatus::Active, 0));
    assert_eq!(bench.fire().await, Firing::default(), "a new schedule has missed no tick");

    let fired = bench.fire_next("nightly").await;
    assert_eq!((fired.jobs, fired.ticks.len()), (1, 1));
    assert!(fired.ticks[0].0 == Fate::Fired && fired.ticks[0].1 < MINUTE, "{fired:?}");
    assert_eq!(bench.fire().await, Firing::default());
    let [tick] = &bench.ticks("nightly").await[..] else { panic!("one tick") };
    assert_eq!((tick.nominal_at, tick.fate), (first, Fate::Fired));
    let job = bench.record(tick.job.unwrap()).await;
    let stamp = first.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    assert_eq!(job.status, Status::Queued);
    assert_eq!(job.job.metadata, Some(json(&format!(r#"{{"schedule":"nightly","tick":"{stamp}"}}"#))));
    let after = bench.schedule("nightly").await;
    assert_eq!((after.next, after.runs, after.version), (Some(first + MINUTE), 1, 1));
    assert_eq!(after.last_job, tick.job);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.tally WHERE created = 1").await, 1);
}

#[tokio::test]
async fn what_is_equal_is_not_changed_and_what_has_the_same_ticks_keeps_its_next() {
    let mut bench = Bench::after_midnight().await;
    let daily = ScheduleDraft { cron: Some("0 3 * * *".into()), ..minutely() };
    let created = bench.put("s", &daily).await;
    bench.pass(MINUTE);
    assert_eq!(bench.put_if("s", &daily, &Precondition::Always).await, ScheduleChange::Same(created.clone()));
    let noted =
        ScheduleDraft { description: Some("why".into()), overlap: Some(Overlap::Skip), ..daily.clone() };
    let ScheduleChange::Changed(noted_record) = bench.put_if("s", &noted, &Precondition::Always).await else {
        panic!("not changed")
    };
    assert_eq!((noted_record.version, noted_record.next), (2, created.next));

    // a tick that is due and not decided stays due if the ticks are the same
    bench.pass(DAY);
    let still = bench.put("s", &daily).await;
    assert_eq!(still.next, created.next);
    let other = ScheduleDraft { cron: Some("0 4 * * *".into()), ..daily.clone() };
    let moved = bench.put("s", &other).await;
    assert!(moved.next.unwrap() > bench.now().await, "it begins anew");
    assert_eq!((moved.version, moved.id), (4, created.id));
}

#[tokio::test]
async fn a_change_happens_on_its_condition_only() {
    let bench = Bench::after_midnight().await;
    let draft = minutely();
    for on in [Precondition::Present, Precondition::Version(vec![(1, 1)])] {
        assert_eq!(bench.put_if("s", &draft, &on).await, ScheduleChange::Refused);
    }
    assert!(matches!(bench.put_if("s", &draft, &Precondition::Absent).await, ScheduleChange::Created(_)));
    assert_eq!(bench.put_if("s", &draft, &Precondition::Absent).await, ScheduleChange::Refused);
    let record = bench.schedule("s").await;
    let other = ScheduleDraft { owner: Some("file".into()), ..draft.clone() };
    let (fits, old) = ((record.id, record.version), (record.id, record.version + 1));
    assert_eq!(bench.put_if("s", &other, &Precondition::Version(vec![old])).await, ScheduleChange::Refused);
    let changed = bench.put_if("s", &other, &Precondition::Version(vec![old, fits])).await;
    assert!(
        matches!(&changed, ScheduleChange::Changed(now) if now.owner.as_deref() == Some("file")),
        "{changed:?}"
    );
    let schedules = bench.store.schedules();
    assert_eq!(
        schedules.delete(&name("s"), &Precondition::Version(vec![fits])).await.unwrap(),
        ScheduleChange::Refused
    );
    assert!(matches!(
        schedules.delete(&name("s"), &Precondition::Present).await.unwrap(),
        ScheduleChange::Changed(_)
    ));
    assert_eq!(schedules.delete(&name("s"), &Precondition::Always).await.unwrap(), ScheduleChange::Unknown);
    let again = bench.put("s", &draft).await;
    assert_ne!(again.id, record.id, "a version of a deleted schedule never matches again");
}

#[tokio::test]
async fn a_pause_has_no_ticks_and_none_is_missed() {
    let mut bench = Bench::after_midnight().await;
    let all = ScheduleDraft { missed: Some(Missed::All), ..minutely() };
    bench.put("s", &all).await;
    let schedules = |bench: &Bench| bench.store.clone();
    let paused = schedules(&bench).schedules().pause(&name("s")).await.unwrap();
    let ScheduleChange::Changed(paused) = paused else { panic!("{paused:?}") };
    assert_eq!((paused.status, paused.next, paused.version), (ScheduleStatus::Paused, None, 2));
    assert!(matches!(
        schedules(&bench).schedules().pause(&name("s")).await.unwrap(),
        ScheduleChange::Same(_)
    ));
    bench.pass(HOUR);
    assert_eq!(bench.fire().await, Firing::default());
    // a replacement stays paused
    let replaced = bench.put("s", &ScheduleDraft { cron: Some("*/2 * * * *".into()), ..all.clone() }).await;
    assert_eq!((replaced.status, replaced.next), (ScheduleStatus::Paused, None));
    bench.put("s", &all).await;
    let resumed = schedules(&bench).schedules().resume(&name("s")).await.unwrap();
    let ScheduleChange::Changed(resumed) = resumed else { panic!("{resumed:?}") };
    assert!(resumed.next.unwrap() > bench.now().await);
    assert_eq!(bench.fire().await, Firing::default());
    bench.fire_next("s").await;
    assert_eq!(bench.fates("s").await, [Fate::Fired]);

    let disabled = bench.put("s", &ScheduleDraft { enabled: Some(false), ..all.clone() }).await;
    assert_eq!((disabled.status, disabled.next), (ScheduleStatus::Disabled, None));
    bench.pass(HOUR);
    assert_eq!(bench.fire().await, Firing::default());
    assert_eq!(bench.put("s", &all).await.status, ScheduleStatus::Active);
    assert_eq!(bench.fire().await, Firing::default());
}

#[tokio::test]
async fn an_invalid_row_stops_itself_and_no_other() {
    let mut bench = Bench::after_midnight().await;
    for text in ["a", "b", "c", "d", "good"] {
        bench.put(text, &minutely()).await;
    }
    bench
        .execute(
            r#"UPDATE jobqueue.schedule SET spec = '{"cron": "* * * *", "job": {"kind": "k"}}' WHERE name = 'a';
               UPDATE jobqueue.schedule SET spec = '[]' WHERE name = 'b';
               UPDATE jobqueue.schedule SET spec = '{"cron": "* * * * *", "job": {"kind": "k", "kin": 1}}' WHERE name = 'c';
               UPDATE jobqueue.schedule SET name = 'd d' WHERE name = 'd';"#,
        )
        .await;
    let fired = bench.fire_next("good").await;
    assert_eq!(fired.jobs, 1);
    let mut failed: Vec<&str> = fired.failed.iter().map(|failed| failed.name.as_str()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["a", "b", "c", "d d"]);
    let a = bench.schedule("a").await;
    assert_eq!((a.status, a.next), (ScheduleStatus::Failed, None));
    assert!(a.error.as_ref().unwrap().starts_with("/cron "), "{a:?}");
    assert_eq!(bench.store.schedules().count_failed().await.unwrap(), 4);
    let again = bench.fire_next("good").await;
    assert_eq!((again.jobs, again.failed.len()), (1, 0), "it is reported once");

    // the same spec as before the damage repairs it
    let repaired = bench.put("a", &minutely()).await;
    assert_eq!((repaired.status, repaired.error), (ScheduleStatus::Active, None));
    assert!(repaired.next.unwrap() > bench.now().await);
}

#[tokio::test]
async fn a_job_that_the_database_refuses_stops_its_schedule_and_no_other() {
    let mut bench = Bench::after_midnight().await;
    bench.put("good", &minutely()).await;
    let odd = JobDraft { kind: "odd".into(), ..JobDraft::default() };
    bench.put("odd", &ScheduleDraft { job: odd, ..minutely() }).await;
    bench
        .execute(
            "CREATE FUNCTION pg_temp.nothing() RETURNS void LANGUAGE sql AS '';
             ALTER TABLE jobqueue.body ADD CONSTRAINT no_odd CHECK (metadata::text NOT LIKE '%\"odd\"%')",
        )
        .await;
    let fired = bench.fire_next("good").await;
    assert_eq!((fired.jobs, fired.failed.len()), (1, 1), "{fired:?}");
    let odd = bench.schedule("odd").await;
    assert_eq!(odd.error.as_deref(), Some("the database rejected the data"));
    assert_eq!((odd.status, bench.ticks("odd").await.len()), (ScheduleStatus::Failed, 0));
    assert_eq!(bench.fates("good").await, [Fate::Fired]);
}

#[tokio::test]
async fn a_deleted_schedule_leaves_its_jobs_and_no_history() {
    let mut bench = Bench::after_midnight().await;
    bench.put("s", &minutely()).await;
    bench.fire_next("s").await;
    let job = bench.ticks("s").await[0].job.unwrap();
    bench.store.schedules().delete(&name("s"), &Precondition::Always).await.unwrap();
    assert_eq!(bench.status(job).await, Status::Queued);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.tick").await, 0);
    assert_eq!(bench.store.schedules().get(&name("s")).await.unwrap(), None);
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let bench = Bench::after_midnight().await;
    for n in 0..5 {
        let owner = (n % 2 == 0).then(|| "even".to_owned());
        bench.put(&format!("s{n}"), &ScheduleDraft { owner, ..minutely() }).await;
    }
    bench.store.schedules().pause(&name("s3")).await.unwrap();
    let list = async |owner: Option<&str>, paused, after: Option<&str>, limit| {
        let filter = jobqueue_store::ScheduleFilter { owner: owner.map(ToOwned::to_owned), paused };
        let after = after.map(name);
        let (records, more) = bench.store.schedules().list(&filter, after.as_ref(), limit).await.unwrap();
        (records.into_iter().map(|record| record.name.to_string()).collect::<Vec<_>>(), more)
    };
    let names = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(list(None, None, None, 2).await, (names(&["s0", "s1"]), true));
    assert_eq!(list(None, None, Some("s1"), 3).await, (names(&["s2", "s3", "s4"]), false));
    assert_eq!(list(Some("even"), None, Some("s0"), 2).await, (names(&["s2", "s4"]), false));
    assert_eq!(list(None, Some(true), None, 10).await, (names(&["s3"]), false));
    assert_eq!(list(Some("even"), Some(true), None, 10).await, (vec![], false));
    // large ones make a page shorter, but never empty
    bench.execute("UPDATE jobqueue.schedule SET spec = json_build_object('x', repeat('x', 3000000))").await;
    assert_eq!(list(None, None, None, 10).await, (names(&["s0", "s1"]), true));
}

#[tokio::test]
async fn the_queue_of_a_schedule_does_not_expire() {
    let bench = Bench::after_midnight().await;
    let of = |queue: &str| JobDraft { queue: Some(queue.into()), ..minutely().job };
    bench.put("s", &ScheduleDraft { job: of("monthly"), ..minutely() }).await;
    for queue in ["monthly", "unused"] {
        bench.store.queues().create(&queue.parse().unwrap()).await.unwrap();
    }
    assert!(bench.store.take_census(10).await.unwrap());
    assert_eq!(bench.store.upkeep().expire_queues(Duration::ZERO, 10).await.unwrap(), 1);
    let left = bench.store.queues().list(None, 10).await.unwrap();
    assert_eq!(left.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["monthly"]);
}
