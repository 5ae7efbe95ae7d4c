//! The audit log: an entry for each change, in its transaction; who it names; and that no session changes it.

use std::time::Duration;

use chrono::DateTime;
use jobqueue_store::{Actor, AuditEntry, AuditFilter, Cancelled, Pooler, Retried, Store};
use tokio::task::JoinSet;

use crate::bench::{Bench, DAY, MINUTE, boom, delayed, draft, production};

fn actor(name: &str) -> Actor {
    Actor {
        name: name.to_owned(),
        key_id: Some("k1".to_owned()),
        request_id: format!("of-{}", name.len()),
        filter: None,
    }
}

impl Bench {
    fn acting(&self) -> Store {
        self.store.acting_for(&actor("o'brien \"é\" \\"))
    }

    async fn entries(&self) -> Vec<AuditEntry> {
        self.store.audit_log().list(&AuditFilter::default(), None, 1000).await.unwrap()
    }

    /// The actions of the entries, oldest first.
    async fn actions(&self) -> Vec<String> {
        self.entries().await.into_iter().rev().map(|entry| entry.action).collect()
    }

    async fn refused(&self, sql: &str) -> String {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap_err().to_string()
    }
}

/// Makes the commit of transactions that write this table fail.
fn failing_commit(table: &str) -> String {
    format!(
        "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no commit'; END $$;
         CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON {table} DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION public.fail()"
    )
}

#[tokio::test]
async fn an_entry_names_the_caller_however_its_name_is_written() {
    let bench = Bench::new().await;
    let (acting, mail) = (bench.acting(), "mail".parse().unwrap());
    acting.queues().create(&mail).await.unwrap();
    acting.queues().pause(&mail).await.unwrap();
    let [pause, create] = bench.entries().await.try_into().unwrap();
    assert_eq!((create.action.as_str(), pause.action.as_str()), ("queue.create", "queue.pause"));
    assert_eq!(
        (pause.actor.as_str(), pause.key_id.as_deref(), pause.request_id.as_deref()),
        ("o'brien \"é\" \\", Some("k1"), Some("of-14"))
    );
    assert_eq!((pause.target.as_deref(), pause.affected, pause.filter), (Some("mail"), 1, None));
    assert!(pause.before.unwrap().as_str().contains("null") && pause.id > create.id);
    // the next transaction of the same connection has no caller
    bench.store.queues().resume(&mail).await.unwrap();
    let resume = bench.entries().await.remove(0);
    assert_eq!((resume.action.as_str(), resume.request_id), ("queue.resume", None));
    assert_eq!(resume.actor, resume.database_user, "a change without a caller is one in SQL");
}

#[tokio::test]
async fn a_change_and_its_entry_are_committed_together_or_not_at_all() {
    let bench = Bench::new().await;
    let (acting, mail) = (bench.acting(), "mail".parse().unwrap());
    let id = bench.add(delayed(600.0)).await;
    bench.store.queues().create(&mail).await.unwrap();
    bench.execute(&failing_commit("jobqueue.queue")).await;
    assert!(acting.queues().pause(&mail).await.is_err());
    bench.execute("DROP TRIGGER fail ON jobqueue.queue; DROP FUNCTION public.fail").await;
    assert_eq!(bench.actions().await, Vec::<String>::new(), "no entry without its change");

    bench.execute(&failing_commit("jobqueue.audit_log")).await;
    assert!(acting.queues().pause(&mail).await.is_err());
    assert!(acting.jobs().cancel(&[id], &boom()).await.is_err());
    assert!(acting.jobs().promote(&[id]).await.is_err());
    bench.execute("DROP TRIGGER fail ON jobqueue.audit_log").await;
    assert_eq!(bench.actions().await, Vec::<String>::new());
    assert_eq!(
        bench.store.queues().get(&mail).await.unwrap().unwrap().paused_at,
        None,
        "no change without its entry"
    );
    assert_eq!(bench.status(id).await, jobqueue_core::Status::Scheduled);
}

#[tokio::test]
async fn of_concurrent_changes_each_that_changed_something_has_one_entry() {
    let bench = Bench::new().await;
    for queue in ["shared", "q0", "q1", "q2", "q3"] {
        bench.store.queues().create(&queue.parse().unwrap()).await.unwrap();
    }
    let ids = bench.add_many(4).await;
    let mut writers = JoinSet::new();
    for number in 0..4 {
        let (store, ids) = (bench.store.acting_for(&actor(&"x".repeat(number + 1))), ids.clone());
        writers.spawn(async move {
            store.queues().pause(&"shared".parse().unwrap()).await.unwrap();
            store.queues().pause(&format!("q{number}").parse().unwrap()).await.unwrap();
            let done = store.jobs().cancel(&ids, &boom()).await.unwrap();
            done.into_iter().filter(|done| *done == Cancelled::Now).count()
        });
    }
    let cancelled: usize = writers.join_all().await.into_iter().sum();
    let entries = bench.entries().await;
    let of = |action: &str| entries.iter().filter(|entry| entry.action == action).collect::<Vec<_>>();
    assert_eq!(of("queue.pause").len(), 5);
    assert_eq!(of("queue.pause").iter().filter(|e| e.target.as_deref() == Some("shared")).count(), 1);
    let affected: u64 = of("jobs.cancel").iter().map(|entry| entry.affected).sum();
    assert_eq!((cancelled, affected), (4, 4));
    for entry in of("queue.pause") {
        assert_eq!(
            entry.request_id.as_deref(),
            Some(format!("of-{}", entry.actor.len()).as_str()),
            "{entry:?}"
        );
    }
}

#[tokio::test]
async fn changes_in_sql_are_recorded_with_the_database_user() {
    let bench = Bench::new().await;
    let waiting = bench.add(delayed(600.0)).await;
    let running = bench.add(draft()).await;
    let _leased = bench.lease_one().await;
    for sql in [
        "SELECT jobqueue.schedule('s', interval_seconds => 60, kind => 'k')",
        "SELECT jobqueue.schedule('s', interval_seconds => 60, kind => 'k')",
        "UPDATE jobqueue.schedule SET paused_at = now()",
        "UPDATE jobqueue.schedule SET enabled = false",
        "UPDATE jobqueue.schedule SET enabled = false, runs = runs + 1",
        "UPDATE jobqueue.schedule SET spec = jsonb_set(spec::jsonb, '{interval_seconds}', '61')::json",
        "SELECT jobqueue.unschedule('s')",
        "SELECT jobqueue.unschedule('s')",
        "SELECT jobqueue.route('r', 'none.*', 1)",
        "SELECT jobqueue.route('r', 'none.*', 1)",
        "SELECT jobqueue.unroute('r')",
        "UPDATE jobqueue.queue SET paused_at = now() WHERE name = 'default'",
        "UPDATE jobqueue.queue SET changed_at = now(), paused_at = NULL WHERE name = 'default'",
        "UPDATE jobqueue.kind SET timeout_ms = 1500",
        "SET session_replication_role = replica; UPDATE jobqueue.kind SET paused_at = now(); RESET session_replication_role",
        "UPDATE jobqueue.queue SET deleted_at = now() WHERE name = 'default'",
        "UPDATE jobqueue.queue SET deleted_at = NULL, paused_at = now() WHERE name = 'default'",
        "UPDATE jobqueue.queue SET paused_at = NULL WHERE name = 'default'",
        "UPDATE jobqueue.kind SET paused_at = NULL",
    ] {
        bench.execute(sql).await;
    }
    for (sql, times) in [
        (format!("SELECT jobqueue.edit('{waiting}', queue => 'other', payload => '[1]')"), 1),
        (format!("SELECT jobqueue.edit('{waiting}')"), 1),
        (format!("SELECT jobqueue.edit('{waiting}', queue => 'other', priority => 0, payload => '[1]')"), 1),
        (format!("SELECT jobqueue.cancel('{waiting}')"), 2),
        (format!("SELECT jobqueue.retry('{waiting}')"), 2),
        (format!("SELECT jobqueue.cancel('{running}')"), 2),
        (format!("BEGIN; SELECT jobqueue.cancel('{waiting}'); ROLLBACK"), 1),
        ("SELECT jobqueue.enqueue('new.kind', queue => 'new.queue')".to_owned(), 1),
    ] {
        for _ in 0..times {
            bench.execute(&sql).await;
        }
    }
    let expected = [
        "schedule.put",
        "schedule.pause",
        "schedule.put",
        "schedule.put",
        "schedule.delete",
        "route.put",
        "route.delete",
        "queue.pause",
        "queue.resume",
        "kind.configure",
        "kind.pause",
        "queue.pause",
        "queue.resume",
        "kind.resume",
        "jobs.edit",
        "jobs.cancel",
        "jobs.retry",
        "jobs.cancel",
    ];
    assert_eq!(bench.actions().await, expected);
    let edit = bench.entries().await.into_iter().find(|entry| entry.action == "jobs.edit").unwrap();
    let fields = format!("{:?}", (edit.before, edit.after));
    assert!(["default", "other", "omitted_bytes"].iter().all(|text| fields.contains(text)), "{fields}");
    assert!(!fields.contains("priority"), "what stays is left out: {fields}");
    let user: String = sqlx::query_scalar("SELECT session_user::text").fetch_one(&bench.pool).await.unwrap();
    assert!(bench.entries().await.iter().all(|entry| entry.actor == user && entry.request_id.is_none()));
}

#[tokio::test]
async fn no_statement_changes_who_can_use_a_key_without_an_entry() {
    let bench = Bench::new().await;
    let hash = |byte: &str| format!("decode(repeat('{byte}', 32), 'hex')");
    bench
        .execute(&format!(
            "INSERT INTO jobqueue.api_key (id, name, spec, hash, created_by) VALUES
             ('00000000000000aa', 'shop', '{{\"scopes\":[\"read\"]}}', {}, 'root')",
            hash("01")
        ))
        .await;
    for set in [
        format!("previous_hash = {}, previous_until = 'infinity'", hash("02")),
        "previous_until = now()".to_owned(),
        "revoked_at = now()".to_owned(),
        "revoked_at = NULL".to_owned(),
        "last_used_at = now()".to_owned(),
    ] {
        bench.execute(&format!("UPDATE jobqueue.api_key SET {set}")).await;
    }
    bench.execute("DELETE FROM jobqueue.api_key").await;
    let expected = ["create", "rotate", "configure", "revoke", "restore", "delete"];
    assert_eq!(bench.actions().await, expected.map(|action| format!("api_key.{action}")));
    let entries = bench.entries().await;
    assert!(entries[3].after.as_ref().unwrap().as_str().contains("previous_until"), "{entries:?}");
    assert!(entries.iter().all(|entry| !format!("{entry:?}").contains("0101")), "no hash");
}

#[tokio::test]
async fn a_session_that_claims_a_name_without_a_request_is_its_database_user() {
    let bench = Bench::new().await;
    bench.add(draft()).await;
    bench
        .execute(
            r#"SELECT set_config('jobqueue.actor', encode('{"name":"root","key_id":"k1"}', 'hex'), false);
               UPDATE jobqueue.queue SET paused_at = now();
               SELECT jobqueue.audit(repeat('x', 999), repeat('y', 999), NULL, 1, NULL, '{"on_end": {"url": "u", "secret": "whsec_"}}');
               RESET jobqueue.actor"#,
        )
        .await;
    let [long, claimed] = bench.entries().await.try_into().unwrap();
    assert_eq!((&claimed.actor, claimed.key_id), (&claimed.database_user, None));
    assert_eq!((long.action.len(), long.target.unwrap().len()), (64, 256));
    assert_eq!(long.after.unwrap().as_str().replace(' ', ""), r#"{"on_end":{"url":"u"}}"#, "no secret");
}

#[tokio::test]
async fn submissions_workers_and_the_reaper_leave_no_entries() {
    let mut bench = Bench::new().await;
    bench.execute("SELECT jobqueue.schedule('s', interval_seconds => 60, kind => 'k')").await;
    bench.done(draft()).await;
    let dead = bench.dead(draft()).await;
    bench.beat().await;
    for _ in 0..2 {
        bench.store.fire_schedules(10).await.unwrap();
        bench.pass(MINUTE);
    }
    assert_eq!(bench.store.jobs().retry(&[dead]).await.unwrap(), [Retried::Now], "no caller");
    bench.store.take_census(10).await.unwrap();
    bench.store.queues().create(&"unused".parse().unwrap()).await.unwrap();
    bench.store.take_census(10).await.unwrap();
    assert_eq!(bench.store.upkeep().expire_queues(Duration::ZERO, 10).await.unwrap(), 1);
    assert_eq!(bench.actions().await, ["schedule.put"]);
}

#[tokio::test]
async fn no_session_changes_an_entry_or_deletes_a_young_one() {
    let bench = Bench::new().await;
    bench.acting().queues().create(&"mail".parse().unwrap()).await.unwrap();
    for sql in [
        "UPDATE jobqueue.audit_log SET actor = 'x'",
        "UPDATE jobqueue.audit_log SET actor = 'x' WHERE false",
        "DELETE FROM jobqueue.audit_log",
        "TRUNCATE jobqueue.audit_log",
        "SET session_replication_role = replica; DELETE FROM jobqueue.audit_log",
        "SET jobqueue.clock_offset = '500 days'; DELETE FROM jobqueue.audit_log",
    ] {
        assert!(bench.refused(sql).await.contains("the audit log is append-only"), "{sql}");
    }
    let moved = "SET jobqueue.clock_offset = '500 days'; SELECT jobqueue.prune_audit('400 days', 10)";
    bench.execute(moved).await;
    assert_eq!(bench.actions().await, ["queue.create"], "a session that moves its clock deletes nothing");
}

#[tokio::test]
async fn entries_are_deleted_after_their_retention_and_never_before_a_month() {
    let bench = Bench::new().await;
    for age in [500, 401, 399, 31, 29, 0] {
        bench
            .execute(&format!(
                "INSERT INTO jobqueue.audit_log (id, action, affected, actor, database_user)
                 VALUES (jobqueue.id_floor(now() - interval '{age} days' - interval '1 hour'), '{age}', 1, 'x', 'x')"
            ))
            .await;
    }
    assert_eq!(bench.store.upkeep().prune_audit(400 * DAY).await.unwrap(), 2);
    assert_eq!(bench.actions().await, ["399", "31", "29", "0"]);
    assert_eq!(bench.store.upkeep().prune_audit(DAY).await.unwrap(), 2);
    assert_eq!(bench.actions().await, ["29", "0"]);
}

#[tokio::test]
async fn a_filter_reads_an_index_without_statistics() {
    let bench = Bench::new().await;
    bench
        .execute(
            "INSERT INTO jobqueue.audit_log (id, action, target, affected, actor, request_id, database_user)
             SELECT jobqueue.id_floor(now() - n * interval '1 second'), 'jobs.cancel', n::text, 1, 'root', n::text, 'x' FROM generate_series(1, 5000) n",
        )
        .await;
    let read =
        "SELECT (seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables WHERE relname = 'audit_log'";
    let before = bench.counted(read).await;
    let store = production(&bench.db, Pooler::None, 1);
    for filter in [
        AuditFilter { target: Some("4999".to_owned()), ..AuditFilter::default() },
        AuditFilter { request_id: Some("4999".to_owned()), ..AuditFilter::default() },
        AuditFilter { actor: Some("none".to_owned()), ..AuditFilter::default() },
        AuditFilter { action: Some("queue.pause".to_owned()), ..AuditFilter::default() },
        AuditFilter { until: Some(DateTime::UNIX_EPOCH), ..AuditFilter::default() },
    ] {
        let found = store.audit_log().list(&filter, None, 10).await.unwrap();
        assert!(found.len() <= 1, "{filter:?}");
    }
    bench.end_sessions().await;
    let read = bench.counted(read).await - before;
    assert!(read < 1_000, "{read} rows of 5000 were read for at most two");
    let page = bench.store.audit_log().list(&AuditFilter::default(), None, 2).await.unwrap();
    let next = bench.store.audit_log().list(&AuditFilter::default(), Some(page[1].id), 2).await.unwrap();
    let targets: Vec<_> = page.iter().chain(&next).map(|entry| entry.target.clone().unwrap()).collect();
    assert_eq!(targets, ["1", "2", "3", "4"]);
}
