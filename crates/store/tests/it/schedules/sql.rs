//! `jobqueue.schedule` and `jobqueue.unschedule`.

use jobqueue_core::schedule::{Fate, ScheduleStatus};
use jobqueue_core::{Json, ScheduleDraft};

use super::minutely;
use crate::bench::{Bench, MINUTE};

impl Bench {
    async fn flag(&self, sql: &str) -> bool {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap_or_else(|error| panic!("{error}: {sql}"))
    }
}

#[tokio::test]
async fn a_schedule_of_sql_is_planned_and_fires() {
    let mut bench = Bench::after_midnight().await;
    assert!(bench.flag("SELECT jobqueue.schedule('s', '* * * * *', 'noop', '{\"a\": null}')").await);
    let stored = bench.schedule("s").await;
    assert_eq!((stored.status, stored.next, stored.version), (ScheduleStatus::Active, None, 1));
    assert_eq!(bench.fire().await.jobs, 0);
    let next = bench.schedule("s").await.next.unwrap();
    assert!(next > bench.now().await);
    assert!(
        !bench.flag("SELECT jobqueue.schedule('s', '* * * * *', 'noop', '{\"a\": null}')").await,
        "the same"
    );
    bench.fire_next("s").await;
    let job = bench.record(bench.ticks("s").await[0].job.unwrap()).await.job;
    assert_eq!(job.payload.as_str(), r#"{"a": null}"#);

    // another payload keeps the next tick, another expression begins anew
    let next = bench.schedule("s").await.next;
    assert!(bench.flag("SELECT jobqueue.schedule('s', '* * * * *', 'noop', '{\"a\": 2}')").await);
    let replaced = bench.schedule("s").await;
    assert_eq!((replaced.next, replaced.version), (next, 2));
    assert!(bench.flag("SELECT jobqueue.schedule('s', '*/2 * * * *', 'noop')").await);
    assert_eq!(bench.schedule("s").await.next, None);
    bench.fire().await;
    assert!(bench.schedule("s").await.next.is_some());
    assert!(bench.flag("SELECT jobqueue.unschedule('s')").await);
    assert!(!bench.flag("SELECT jobqueue.unschedule('s')").await);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.tick").await, 0);
}

#[tokio::test]
async fn every_parameter_arrives() {
    let bench = Bench::after_midnight().await;
    let sql = r#"SELECT jobqueue.schedule('s', kind => 'k', payload => '{"n": 1}'::json, interval_seconds => 60, anchor => '2026-01-01 00:00:30+00',
        start_at => '2026-01-01 00:00+00', end_at => '2126-01-01 00:00+00', enabled => true, max_runs => 3, jitter_seconds => 1.5,
        expires_after_seconds => 90, missed => 'all', missed_limit => 7, overlap => 'skip', owner => 'app', description => 'why',
        queue => 'q', priority => 5, delay_seconds => 2, max_attempts => 4, max_snoozes => 9, retry => '{"strategy":"fixed","delay_seconds":3}',
        timeout_seconds => 8, soft_timeout_seconds => 6, "unique" => '{"key":"u"}', tags => ARRAY['t'], metadata => '{"m":1}',
        traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01')"#;
    assert!(bench.flag(sql).await);
    let draft: ScheduleDraft = bench.schedule("s").await.spec.to().unwrap();
    let expected = Json::parse(
        r#"{"interval_seconds":60.0,"anchor":"2026-01-01T00:00:30.000000Z","start_at":"2026-01-01T00:00:00.000000Z",
            "end_at":"2126-01-01T00:00:00.000000Z","enabled":true,"max_runs":3,"jitter_seconds":1.5,"expires_after_seconds":90.0,
            "missed":"all","missed_limit":7,"overlap":"skip","owner":"app","description":"why","job":{"queue":"q","kind":"k",
            "payload":{"n": 1},"priority":5,"delay_seconds":2.0,"max_attempts":4,"max_snoozes":9,
            "retry":{"strategy":"fixed","delay_seconds":3.0},"timeout_seconds":8.0,"soft_timeout_seconds":6.0,"unique":{"key":"u"},
            "tags":["t"],"metadata":{"m":1},"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}"#
            .to_owned(),
    );
    assert_eq!(draft, expected.unwrap().to().unwrap());
    assert_eq!(bench.fire().await.failed, []);
    let planned = bench.schedule("s").await;
    assert_eq!((planned.owner.as_deref(), planned.next.unwrap().timestamp() % 60), (Some("app"), 30));
}

#[tokio::test]
async fn what_is_wrong_is_refused_at_once_or_within_a_pass() {
    let bench = Bench::after_midnight().await;
    for (arguments, problem) in [
        ("'a b', '* * * * *', 'k'", "name "),
        ("'preview', '* * * * *', 'k'", "name "),
        ("NULL, '* * * * *', 'k'", "name "),
        ("'s', '* * * *', 'k'", "cron "),
        ("'s', '* * * * * * *', 'k'", "cron "),
        ("'s', NULL, 'k'", "cron "),
        ("'s', '* * * * *', 'k', interval_seconds => 5", "cron "),
        ("'s', kind => 'k', interval_seconds => 0.5", "interval_seconds "),
        ("'s', kind => 'k', interval_seconds => 5, time_zone => 'UTC'", "time_zone "),
        ("'s', '* * * * *'", "kind "),
        ("'s', '* * * * *', 'k', NULL::json", "payload "),
        ("'s', '* * * * *', 'k', '{\"a\":1,\"a\":2}'", "payload "),
        ("'s', '* * * * *', 'k', queue => 'a b'", "queue "),
        ("'s', '* * * * *', 'k', overlap => 'never'", "overlap "),
        ("'s', '* * * * *', 'k', missed => 'two'", "missed "),
        ("'s', '* * * * *', 'k', dst => 'no'", "dst "),
        ("'s', '* * * * *', 'k', retry => '{\"strategy\":\"no\"}'", "retry/strategy "),
        ("'s', '* * * * *', 'k', \"unique\" => '{\"kay\":\"no\"}'", "unique/kay "),
    ] {
        let error = sqlx::query(&format!("SELECT jobqueue.schedule({arguments})")).execute(&bench.pool).await;
        let error = error.expect_err(arguments).into_database_error().unwrap();
        assert_eq!(error.code().unwrap(), "22023", "{arguments}: {error}");
        assert!(error.message().starts_with(problem), "{arguments}: {error}");
    }
    for (n, (arguments, problem)) in [
        ("'61 * * * *', 'k'", "/cron "),
        ("'@never', 'k'", "/cron "),
        ("'* * * * *', 'k', time_zone => 'Mars'", "/time_zone "),
        ("kind => 'k', solar => 'sunset', latitude => 99, longitude => 1", "/latitude "),
        ("'* * * * *', 'k', priority => 101", "/job/priority "),
        ("'* * * * *', 'k', metadata => '[]'", "/job/metadata "),
        ("'* * * * *', 'k', max_runs => 0", "/max_runs "),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(bench.flag(&format!("SELECT jobqueue.schedule('s{n}', {arguments})")).await);
        let fired = bench.fire().await;
        assert_eq!(fired.failed.len(), 1, "{arguments}");
        let stored = bench.schedule(&format!("s{n}")).await;
        assert_eq!(stored.status, ScheduleStatus::Failed);
        assert!(stored.error.unwrap().starts_with(problem), "{arguments}");
    }
    // a corrected one is planned
    assert!(bench.flag("SELECT jobqueue.schedule('s0', '59 * * * *', 'k')").await);
    bench.fire().await;
    assert_eq!(bench.schedule("s0").await.status, ScheduleStatus::Active);
}

#[tokio::test]
async fn it_belongs_to_the_transaction_of_its_caller() {
    let mut bench = Bench::after_midnight().await;
    bench.put("s", &minutely()).await;
    let open =
        bench.db.hold("SELECT jobqueue.schedule('t', '* * * * *', 'noop'), jobqueue.unschedule('s')").await;
    bench.pass(MINUTE);
    assert_eq!(bench.fire().await.jobs, 0, "the row is locked");
    open.rollback().await.unwrap();
    assert_eq!(bench.fire().await.jobs, 1);
    assert_eq!(bench.fates("s").await, [Fate::Fired]);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.schedule").await, 1);
}
