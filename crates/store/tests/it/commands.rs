//! Commands to workers: delivered with every heartbeat until they are acknowledged, and bounded.

use std::time::Duration;

use jobqueue_core::{ControlCommand, Json, QueueName, WorkerId};
use jobqueue_store::{
    CommandAnswer, CommandTargets, Heard, Retention, SentCommand, WorkerEntry, WorkerFilter,
};
use uuid::Uuid;

use crate::bench::{Bench, DAY, entry};

const PING: ControlCommand = ControlCommand::Ping;

/// Sends a command to the bench's worker and returns its id.
async fn send(bench: &Bench, command: &ControlCommand) -> i64 {
    let targets = CommandTargets::Worker(bench.worker);
    let sent = bench.store.command_workers(&targets, command, false).await.unwrap().unwrap();
    assert_eq!(sent.iter().map(|worker| worker.id).collect::<Vec<_>>(), [bench.worker]);
    sent[0].sent.unwrap().0
}

async fn acknowledge(bench: &Bench, id: i64, outcome: Result<Json, String>) {
    bench.store.acknowledge_commands(bench.worker, &[CommandAnswer { id, outcome }]).await.unwrap();
}

#[tokio::test]
async fn a_command_is_delivered_until_it_is_acknowledged() {
    let bench = Bench::new().await;
    assert_eq!(bench.beat().await.commands, []);
    let (first, second) =
        (send(&bench, &PING).await, send(&bench, &ControlCommand::Resize { slots: 7 }).await);
    let [shown, _] = &bench.store.worker_commands(bench.worker).await.unwrap()[..] else { panic!() };
    assert_eq!((shown.id, shown.delivered_at), (second, None), "the newest first");
    for _ in 0..2 {
        let commands = bench.beat().await.commands;
        assert_eq!(commands.iter().map(|command| command.id).collect::<Vec<_>>(), [first, second]);
        let SentCommand { command, arguments, .. } = &commands[1];
        assert_eq!(ControlCommand::from_stored(command, arguments), Ok(ControlCommand::Resize { slots: 7 }));
    }
    let pong = Json::of("pong").unwrap();
    acknowledge(&bench, first, Ok(pong.clone())).await;
    acknowledge(&bench, first, Err("too late".into())).await;
    assert_eq!(bench.beat().await.commands.len(), 1);
    acknowledge(&bench, second, Err("no".into())).await;
    assert_eq!(bench.beat().await.commands, []);
    let records = bench.store.worker_commands(bench.worker).await.unwrap();
    assert!(records.iter().all(|record| record.delivered_at.is_some() && record.acknowledged_at.is_some()));
    assert_eq!((&records[0].result, records[0].error.as_deref()), (&None, Some("no")));
    assert_eq!((&records[1].result, &records[1].error), (&Some(pong), &None), "the first answer counts");
}

#[tokio::test]
async fn only_live_workers_that_match_get_a_command() {
    let bench = Bench::new().await;
    let id = |n: u128| WorkerId::from_uuid(Uuid::from_u128(n));
    for (n, name, queue, kind, version) in
        [(2, "a_1", "mail", "send", "1"), (3, "a%1", "mail", "", "2"), (4, "b", "web", "send", "2")]
    {
        let kinds = [kind].into_iter().filter(|kind| !kind.is_empty()).map(String::from).collect();
        let worker = WorkerEntry {
            name: name.into(),
            queues: vec![queue.into()],
            kinds,
            version: version.into(),
            ..entry(id(n))
        };
        bench.store.register_worker(&worker).await.unwrap();
    }
    let matching = async |filter: WorkerFilter| {
        let targets = CommandTargets::Matching(filter);
        let dry = bench.store.command_workers(&targets, &PING, true).await.unwrap().unwrap();
        assert!(dry.iter().all(|worker| worker.sent.is_none()));
        dry.into_iter().map(|worker| worker.name).collect::<Vec<_>>()
    };
    let any = WorkerFilter::default;
    let queue: QueueName = "mail".parse().unwrap();
    assert_eq!(matching(any()).await, ["a%1", "a_1", "b", "bench"]);
    assert_eq!(matching(WorkerFilter { queue: Some(queue), ..any() }).await, ["a%1", "a_1"]);
    let kind = Some("other".parse().unwrap());
    assert_eq!(
        matching(WorkerFilter { kind, ..any() }).await,
        ["a%1", "bench"],
        "those that lease all kinds"
    );
    assert_eq!(matching(WorkerFilter { version: Some("2".into()), ..any() }).await, ["a%1", "b"]);
    for (name, expected) in
        [("a_*", &["a_1"][..]), ("a?1", &["a%1", "a_1"]), ("*b*", &["b", "bench"]), ("B", &[])]
    {
        assert_eq!(matching(WorkerFilter { name: Some(name.into()), ..any() }).await, expected, "{name}");
    }
    bench.store.unregister_worker(id(4)).await.unwrap();
    let gone = bench.store.command_workers(&CommandTargets::Worker(id(4)), &PING, false).await.unwrap();
    assert_eq!(gone, Some(vec![]));
    assert_eq!(
        bench.db.number("SELECT count(*) FROM jobqueue.worker_command").await,
        0,
        "dry runs store nothing"
    );
}

#[tokio::test]
async fn commands_are_bounded_and_deleted_after_a_day() {
    let mut bench = Bench::new().await;
    for _ in 0..100 {
        send(&bench, &PING).await;
    }
    let targets = CommandTargets::Worker(bench.worker);
    let refused = bench.store.command_workers(&targets, &PING, false).await.unwrap().unwrap();
    assert_eq!(refused[0].sent, None, "a worker that acknowledges nothing gets no more");
    assert_eq!(bench.store.worker_commands(bench.worker).await.unwrap().len(), 100);
    let retention = Retention { completed: DAY, failed: DAY };
    bench.pass(Duration::from_hours(23));
    bench.store.upkeep().prune(retention).await.unwrap();
    assert_eq!(bench.store.worker_commands(bench.worker).await.unwrap().len(), 100);
    bench.pass(Duration::from_hours(2));
    bench.store.upkeep().prune(retention).await.unwrap();
    assert_eq!(bench.store.worker_commands(bench.worker).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_command_for_more_than_a_thousand_workers_is_refused() {
    let bench = Bench::new().await;
    bench
        .db
        .execute(
            "INSERT INTO jobqueue.worker (id, name, queues, started_at, beat_at, stale_ms)
             SELECT gen_random_uuid(), 'w' || n, '{q}', now(), now() + interval '1 day', 1000 FROM generate_series(1, 1000) n",
        )
        .await;
    let all = CommandTargets::Matching(WorkerFilter::default());
    assert_eq!(bench.store.command_workers(&all, &PING, false).await.unwrap(), None);
    assert_eq!(bench.db.number("SELECT count(*) FROM jobqueue.worker_command").await, 0);
    let queue = Some("q".parse().unwrap());
    let most = CommandTargets::Matching(WorkerFilter { queue, ..WorkerFilter::default() });
    let sent = bench.store.command_workers(&most, &PING, false).await.unwrap().unwrap();
    assert_eq!(sent.iter().filter(|worker| worker.sent.is_some()).count(), 1000);
}

#[tokio::test]
async fn workers_are_notified_of_commands_and_cancels() {
    let bench = Bench::new().await;
    let mut listener = bench.store.listen().await.unwrap();
    send(&bench, &PING).await;
    assert_eq!(listener.heard().await.unwrap(), Heard::Workers(vec![bench.worker]));
    let ids = bench.add_many(2).await;
    assert_eq!(bench.lease(2).await.len(), 2);
    let reason = jobqueue_core::Failure::new("cancelled", "test");
    bench.store.jobs().cancel(&ids[..1], &reason).await.unwrap();
    assert_eq!(listener.heard().await.unwrap(), Heard::Workers(vec![bench.worker]));
    bench.db.execute(&format!("SELECT jobqueue.cancel('{}')", ids[1])).await;
    assert_eq!(listener.heard().await.unwrap(), Heard::Workers(vec![bench.worker]));
    assert_eq!(bench.beat().await.cancelled.len(), 2);
}
