//! Tests of scripts/roles.sql: each group role can do its work and nothing else. Every cell of the table in
//! docs/security.md is checked.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jobqueue_core::schedule::Overlap;
use jobqueue_core::{
    EditDraft, JobDraft, JobEdit, JobId, JobRecord, Limits, Outcome, RedriveRules, RouteDraft, Schedule,
    ScheduleDraft, Status,
};
use jobqueue_store::{
    Actor, AttemptReport, AuditFilter, DeadLetterFilter, Deleted, Edited, GroupFilter, GroupOrder,
    HeldLeases, JobFilter, Precondition, QueueDeletion, RemoteWorker, Retention, Retried, SCHEMA_VERSION,
    ScheduleChange, Settled, Store, StoreError, WorkerState,
};
use jobqueue_testkit::TestDb;
use sqlx::Row as _;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Mutex;

use crate::bench::{Bench, DAY, MINUTE, boom, delayed, draft, end, entry, failed, request, submission};
use crate::bench::{created, served};

/// The error code of a missing privilege.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// The error code of a missing table: the statement that prunes a day names one that does not exist.
const NO_SUCH_TABLE: &str = "42P01";

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    fs::read_to_string(root.join(path)).unwrap()
}

/// Runs the script twice, as after two migrations.
async fn apply(db: &TestDb) {
    // the roles are global to the server, which other tests of this process also use
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let _guard = ONE_AT_A_TIME.lock().await;
    let script = read("scripts/roles.sql");
    db.execute(&script).await;
    db.execute(&script).await;
}

/// A store whose sessions have the rights of one group role and use the clock of the bench.
fn store_as(bench: &Bench, role: &str) -> Store {
    let (on_connect, on_acquire) = (bench.clock.clone(), bench.clock.clone());
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .after_connect(move |session, _| {
            let clock = on_connect.clone();
            Box::pin(async move { clock.apply(session).await })
        })
        .before_acquire(move |session, _| {
            let clock = on_acquire.clone();
            Box::pin(async move { clock.apply(session).await.map(|()| true) })
        });
    let options = bench.db.connect_options().options([("role", format!("jobqueue_{role}"))]);
    Store::from_pool(pool.connect_lazy_with(options))
}

/// `lost` is a job whose worker is gone.
async fn the_reaper_does_its_work(bench: &Bench, lost: JobId) {
    let reaper = store_as(bench, "reaper");
    reaper.check_schema().await.unwrap();
    let mut arrivals = reaper.watch_arrivals().await.unwrap().unwrap();
    assert!(arrivals.is_leader().await.unwrap() && arrivals.check().await.unwrap());
    reaper.promote_due(10).await.unwrap();
    reaper.expire_due(10).await.unwrap();
    reaper.end_overruns(10).await.unwrap();
    assert_eq!(reaper.reclaim(Duration::ZERO, 10).await.unwrap().jobs, [lost]);
    assert_eq!(
        reaper.upkeep().end_stuck_sessions(MINUTE).await.unwrap(),
        [],
        "it may end no session of another role"
    );
    assert!(reaper.take_census(200).await.unwrap());
    reaper.upkeep().count_dead_letters().await.unwrap();
    reaper.upkeep().compare_dead_letters().await.unwrap();
    let pruned = reaper.upkeep().prune(Retention { completed: 7 * DAY, failed: 30 * DAY }).await.unwrap();
    assert!(pruned.days > 0 && pruned.days_made > 0 && pruned.days_waiting == 0, "{pruned:?}");
    for table in reaper.upkeep().hot_tables(0).await.unwrap().iter().filter(|table| table.allowed) {
        reaper.upkeep().vacuum(table).await.unwrap();
    }
}

#[tokio::test]
async fn each_role_does_its_work() {
    let mut bench = Bench::new().await;
    apply(&bench.db).await;
    let submitter = store_as(&bench, "submitter");
    let mut answers = submitter
        .enqueue(&[submission(vec![
            draft(),
            draft(),
            draft(),
            delayed(600.0),
            JobDraft { priority: Some(-1), ..draft() },
        ])])
        .await
        .unwrap();
    let ids: Vec<_> = served(answers.pop().unwrap()).into_iter().map(created).collect();
    let new_names =
        "SET ROLE jobqueue_submitter; SELECT jobqueue.enqueue('new.kind', queue => 'new.queue'); RESET ROLE";
    bench.db.execute(new_names).await;

    let runner = store_as(&bench, "runner");
    runner.register_worker(&entry(bench.worker)).await.unwrap();
    let mut leased = runner.lease(&request(Some(bench.worker), &["default"], 4)).await.unwrap();
    assert_eq!(leased.len(), 4);
    let held = HeldLeases { epochs: vec![], known_up_to: 0 };
    let beat = runner.heartbeat(bench.worker, MINUTE, &WorkerState::default(), &held).await.unwrap();
    assert!(beat.newest_epoch >= leased[0].lease.epoch(), "it may read the sequence");
    let remote = RemoteWorker { name: "remote".parse().unwrap(), queues: vec![], kinds: vec![] };
    runner.register_remote_workers(std::slice::from_ref(&remote)).await.unwrap();
    assert_eq!(runner.touch_remote_workers(&[remote.id()]).await.unwrap(), [remote.id()]);
    let report = AttemptReport { progress: None, log: "line\n".into() };
    assert_eq!(runner.report(&[(&leased[0].lease, report)]).await.unwrap(), [true]);
    let _lost = leased.pop().unwrap();
    let outcomes = [Outcome::Discarded(boom()), failed(), Outcome::Completed(None)];
    let ends: Vec<_> =
        leased.into_iter().zip(outcomes).map(|(leased, outcome)| end(leased, outcome)).collect();
    let settled = runner.settle(ends).await.unwrap();
    assert!(settled.iter().all(|settled| matches!(settled, Settled::Applied(_))), "{settled:?}");

    let viewer = store_as(&bench, "reader");
    assert_eq!(viewer.job(ids[2]).await.unwrap().unwrap().status, Status::Completed);
    assert_eq!(viewer.list(&JobFilter::default(), None, 10).await.unwrap().jobs.len(), 6);
    assert_eq!(viewer.attempts(ids[0]).await.unwrap()[0].log, "line\n");
    assert_eq!(viewer.workers(None, 10).await.unwrap().len(), 2);
    assert!(viewer.queues().get(&"new.queue".parse().unwrap()).await.unwrap().is_some());

    let health = viewer.health_facts().await.unwrap();
    assert_eq!(health.queue.map(|queue| queue.queues.len()), Some(2), "the doctor needs no more rights");

    let operator = store_as(&bench, "operator");
    operator.jobs().cancel(&[ids[1], ids[4]], &boom()).await.unwrap();
    assert_eq!(operator.jobs().retry(&[ids[0]]).await.unwrap(), [Retried::Now]);
    operator.jobs().promote(&[ids[3]]).await.unwrap();
    the_operator_edits_and_deletes(&operator, ids[0], ids[1]).await;
    assert!(operator.queues().pause(&"default".parse().unwrap()).await.unwrap());
    assert_eq!(operator.queues().purge(&"new.queue".parse().unwrap(), None, 10).await.unwrap(), 1);

    bench.pass(40 * DAY);
    the_reaper_does_its_work(&bench, ids[4]).await;
    // the partitions that the reaper has just created
    let mine = "SELECT count(*) FROM pg_class WHERE relnamespace = 'jobqueue'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
                AND relowner <> 'jobqueue_owner'::regrole";
    assert_eq!(bench.db.number(mine).await, 0, "the owner owns everything");
    store_as(&bench, "reader").list(&JobFilter::default(), None, 10).await.unwrap();
}

/// An older schema may lack the right to read the record of migrations. The advice is to migrate, not that the right is missing.
#[tokio::test]
async fn an_older_schema_is_rejected_also_without_the_right_to_read_the_record() {
    let bench = Bench::new().await;
    apply(&bench.db).await;
    let runner = store_as(&bench, "runner");
    runner.check_schema().await.unwrap();
    let older = SCHEMA_VERSION - 1;
    bench
        .execute(&format!(
            "REVOKE SELECT ON jobqueue.migration FROM PUBLIC; UPDATE jobqueue.schema_version SET version = {older}"
        ))
        .await;
    let Err(StoreError::Schema(sentence)) = runner.check_schema().await else { panic!("it passed") };
    assert!(
        sentence.contains(&format!("schema {older}")) && sentence.contains("jobqueue migrate"),
        "{sentence}"
    );
}

/// The operator moves a job to another queue and back, and deletes a final one.
async fn the_operator_edits_and_deletes(operator: &Store, waiting: JobId, ended: JobId) {
    let anew = EditDraft {
        queue: Some(Some("new.queue".into())),
        expires_at: Some(Some("2100-01-01T00:00:00Z".into())),
        max_snoozes: Some(Some(5)),
        ..EditDraft::default()
    };
    let decide = |record: &JobRecord| JobEdit::parse(record, anew.clone(), &Limits::default());
    let edited = operator.jobs().edit(waiting, decide).await.unwrap();
    assert!(matches!(edited, Edited::Job(_, true)), "{edited:?}");
    let back = EditDraft { queue: Some(None), ..EditDraft::default() };
    let decide = |record: &JobRecord| JobEdit::parse(record, back.clone(), &Limits::default());
    assert!(matches!(operator.jobs().edit(waiting, decide).await.unwrap(), Edited::Job(_, true)));
    assert_eq!(operator.jobs().delete(&[ended]).await.unwrap(), [Deleted::Now]);
}

#[tokio::test]
async fn the_operator_deletes_queues_and_the_reaper_deletes_unused_ones() {
    let bench = Bench::new().await;
    apply(&bench.db).await;
    let submitter = store_as(&bench, "submitter");
    submitter.enqueue(&[submission(vec![draft()])]).await.unwrap();
    let (operator, reaper) = (store_as(&bench, "operator"), store_as(&bench, "reaper"));
    assert!(reaper.take_census(200).await.unwrap());
    let default = "default".parse().unwrap();
    assert_eq!(operator.queues().purge(&default, None, 10).await.unwrap(), 1);
    assert_eq!(operator.queues().delete(&default).await.unwrap(), QueueDeletion::Now);

    operator.queues().create(&"unused".parse().unwrap()).await.unwrap();
    assert!(reaper.take_census(200).await.unwrap());
    assert_eq!(reaper.upkeep().expire_queues(Duration::ZERO, 10).await.unwrap(), 1);

    operator.kinds().create(&"unused".parse().unwrap()).await.unwrap();
    bench
        .execute("UPDATE jobqueue.kind SET used_at = used_at - interval '401 days' WHERE name = 'unused'")
        .await;
    assert_eq!(reaper.upkeep().expire_kinds(10).await.unwrap(), 1);
    operator.kinds().create(&"unused".parse().unwrap()).await.unwrap();
    assert_eq!(operator.kinds().list(None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn changes_of_the_operator_are_recorded_and_the_reaper_deletes_old_entries() {
    let bench = Bench::new().await;
    apply(&bench.db).await;
    let id = bench.add(delayed(600.0)).await;
    let caller = Actor { name: "root".to_owned(), request_id: "r".to_owned(), ..Actor::default() };
    let operator = store_as(&bench, "operator").acting_for(&caller);
    operator.queues().pause(&"default".parse().unwrap()).await.unwrap();
    operator.jobs().cancel(&[id], &boom()).await.unwrap();
    let in_sql = format!("SET ROLE jobqueue_operator; SELECT jobqueue.retry('{id}'); RESET ROLE");
    bench.db.execute(&in_sql).await;
    let entries = operator.audit_log().list(&AuditFilter::default(), None, 10).await.unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["jobs.retry", "jobs.cancel", "queue.pause"]);
    assert_eq!((entries[1].actor.as_str(), entries[0].request_id.as_deref()), ("root", None));
    for role in ["reader", "submitter", "runner", "reaper"] {
        let refused =
            store_as(&bench, role).audit_log().list(&AuditFilter::default(), None, 1).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{role}: {refused}");
    }
    // the owner may delete, and its trigger refuses
    let owner = "SET ROLE jobqueue_owner; DELETE FROM jobqueue.audit_log";
    let refused = sqlx::raw_sql(owner).execute(bench.db.pool()).await.unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{refused}");
    bench
        .db
        .execute(
            "RESET ROLE; INSERT INTO jobqueue.audit_log (id, action, affected, actor, database_user)
             VALUES (jobqueue.id_floor(now() - interval '401 days'), 'old', 1, 'x', 'x')",
        )
        .await;
    assert_eq!(store_as(&bench, "reaper").upkeep().prune_audit(400 * DAY).await.unwrap(), 1);
}

#[tokio::test]
async fn the_operator_sets_routes_and_submitters_use_them() {
    let bench = Bench::new().await;
    apply(&bench.db).await;
    let (name, always) = ("r".parse().unwrap(), Precondition::Always);
    let route = RouteDraft {
        position: Some(1),
        kind: "*".into(),
        queue: Some("far".into()),
        ..RouteDraft::default()
    };
    store_as(&bench, "operator").routes().put(&name, &route, &always).await.unwrap();
    for role in ["submitter", "reaper", "reader"] {
        let store = store_as(&bench, role);
        assert!(store.route_table().await.unwrap().find("k").is_some(), "{role}");
        let refused = store.routes().put(&name, &route, &always).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{role}: {refused}");
    }
    assert!(store_as(&bench, "reader").routes().get(&name).await.unwrap().is_some());
    let submit = "SET ROLE jobqueue_submitter; SELECT jobqueue.enqueue('k'); RESET ROLE";
    bench.db.execute(submit).await;
    assert!(bench.store.queues().get(&"far".parse().unwrap()).await.unwrap().is_some());
    store_as(&bench, "operator").routes().delete(&name, &always).await.unwrap();
}

#[tokio::test]
async fn the_operator_sets_schedules_and_the_reaper_fires_them() {
    let mut bench = Bench::new().await;
    apply(&bench.db).await;
    let operator = store_as(&bench, "operator");
    let name = "s".parse().unwrap();
    let draft = ScheduleDraft {
        interval_seconds: Some(60.0),
        overlap: Some(Overlap::CancelPrevious),
        job: draft(),
        ..ScheduleDraft::default()
    };
    let schedule = Schedule::parse(&name, draft.clone(), &Limits::default()).unwrap();
    let always = Precondition::Always;
    operator.schedules().put(&name, &draft, &schedule, &always).await.unwrap();
    operator.schedules().pause(&name).await.unwrap();
    operator.schedules().resume(&name).await.unwrap();
    let reaper = store_as(&bench, "reaper");
    for _ in 0..3 {
        bench.pass(MINUTE);
        let fired = reaper.fire_schedules(10).await.unwrap();
        assert_eq!(fired.jobs, 1, "{fired:?}");
    }
    let only_reads = store_as(&bench, "reader");
    let id = only_reads.schedules().get(&name).await.unwrap().unwrap().id;
    assert_eq!(only_reads.schedules().ticks(id, None, 10).await.unwrap().len(), 3);
    assert_eq!(reaper.schedules().count_failed().await.unwrap(), 0);
    let deleted = store_as(&bench, "operator").schedules().delete(&name, &always).await.unwrap();
    assert!(matches!(deleted, ScheduleChange::Changed(_)));
}

#[tokio::test]
async fn the_operator_handles_dead_letters_and_the_reaper_redrives_them() {
    let mut bench = Bench::new().await;
    apply(&bench.db).await;
    let runner = store_as(&bench, "runner");
    let ids = bench.add_many(3).await;
    for leased in runner.lease(&request(Some(bench.worker), &["default"], 3)).await.unwrap() {
        runner.settle(vec![end(leased, Outcome::Discarded(boom()))]).await.unwrap();
    }
    let reaper = store_as(&bench, "reaper");
    reaper.upkeep().count_dead_letters().await.unwrap();
    let viewer = store_as(&bench, "reader");
    let (groups, _) =
        viewer.dead_letters().groups(&GroupFilter::default(), GroupOrder::Count, None, 10).await.unwrap();
    assert_eq!(groups[0].count, 3);
    assert!(viewer.dead_letters().group(groups[0].fingerprint).await.unwrap().is_some());
    let all = DeadLetterFilter::default();
    assert_eq!(viewer.dead_letters().list(&all, None, 10).await.unwrap().0.len(), 3);
    let operator = store_as(&bench, "operator");
    assert_eq!(operator.dead_letters().purge(&ids[..1]).await.unwrap(), 1);
    let rules = RedriveRules { rate: 1.0, stop_share: 0.5, stop_window: 10 };
    let redrive = operator.dead_letters().begin_redrive(&all, rules, None).await.unwrap();
    bench.pass(MINUTE);
    let reaper = store_as(&bench, "reaper");
    assert_eq!(reaper.redrive_step().await.unwrap().unwrap().jobs, 2);
    store_as(&bench, "operator").dead_letters().stop_redrive(redrive.id).await.unwrap();
    while reaper.upkeep().compare_dead_letters().await.unwrap().1 {}
}

#[tokio::test]
async fn the_table_of_the_security_page_is_correct() {
    let db = TestDb::new().await;
    apply(&db).await;
    let page = read("docs/security.md");
    let mut lines = page.lines().skip_while(|line| !line.starts_with("| statement |"));
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let roles = cells(lines.next().unwrap());
    assert_eq!(roles[1..], ["submitter", "reader", "operator", "runner", "reaper", "owner"]);
    let mut wrong = Vec::new();
    let mut rows = 0;
    for row in lines.skip(1).take_while(|line| line.starts_with('|')).map(cells) {
        rows += 1;
        for (role, cell) in roles.iter().zip(&row).skip(1) {
            let is_allowed = is_allowed(&db, role, row[0].trim_matches('`')).await;
            if cell != if is_allowed { "yes" } else { "no" } {
                wrong.push(format!("{role}: {} is {cell} on the page, and allowed: {is_allowed}", row[0]));
            }
        }
    }
    assert!(rows >= 15, "{rows} rows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a role has the privileges for a statement, which is rolled back.
async fn is_allowed(db: &TestDb, role: &str, statement: &str) -> bool {
    let mut transaction = db.pool().begin().await.unwrap();
    sqlx::raw_sql(&format!("SET LOCAL ROLE jobqueue_{role}")).execute(&mut *transaction).await.unwrap();
    let result = sqlx::raw_sql(statement).execute(&mut *transaction).await;
    transaction.rollback().await.unwrap();
    let Err(error) = result else { return true };
    match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
        Some(INSUFFICIENT_PRIVILEGE) => false,
        Some(NO_SUCH_TABLE) => true,
        _ => panic!("{role}: {statement}: {error}"),
    }
}

#[tokio::test]
async fn the_group_roles_cannot_log_in_and_own_nothing_but_the_owner() {
    let db = TestDb::new().await;
    apply(&db).await;
    let rows = sqlx::query("SELECT rolname, rolcanlogin OR rolsuper OR rolcreaterole FROM pg_roles WHERE rolname LIKE 'jobqueue\\_%'")
        .fetch_all(db.pool())
        .await
        .unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        assert!(!row.get::<bool, _>(1), "{}", row.get::<String, _>(0));
    }
    // a migration by a member of the owner role finds the record
    db.execute(
        "CREATE ROLE test_migrator LOGIN; GRANT jobqueue_owner TO test_migrator;
         DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO jobqueue_owner', current_database()); END $$",
    )
    .await;
    let (server, database) = db.url().split_once('@').unwrap();
    let url = format!("{}//test_migrator@{database}", server.split_once("//").unwrap().0);
    assert_eq!(Store::migrate(url.as_str()).await.unwrap().now, Vec::<String>::new());
}
