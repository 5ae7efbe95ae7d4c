//! What a heartbeat costs by the number of leases that the worker holds: bytes, and, printed only, WAL and time.
//!
//!     cargo test -p jobqueue-store --test it beat_cost -- --nocapture

use std::time::{Duration, Instant};

use jobqueue_core::WorkerId;
use jobqueue_store::{HeldLeases, Pooler, Store, WorkerState};
use jobqueue_testkit::TestDb;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::bench::{entry, production_at, start};

/// Heartbeats of one measurement.
const BEATS: u32 = 20;
/// Leases of other workers.
const OTHERS: i64 = 1000;

/// The address of a relay to the server, for one connection, and the bytes that it will have passed in either direction.
async fn counted(url: &str) -> (String, JoinHandle<(u64, u64)>) {
    let target = url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = url.replace(&target, &listener.local_addr().unwrap().to_string());
    let relay = start(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(&target).await.unwrap();
        client.set_nodelay(true).and(server.set_nodelay(true)).unwrap();
        copy_bidirectional(&mut client, &mut server).await.unwrap()
    });
    (through, relay)
}

async fn beat(store: &Store, worker: WorkerId, held: &HeldLeases, times: u32) {
    for _ in 0..times {
        let beat =
            store.heartbeat(worker, Duration::from_mins(5), &WorkerState::default(), held).await.unwrap();
        assert_eq!((beat.lost.len(), beat.given_back), (0, 0));
    }
}

/// Bytes sent and received by so many heartbeats, and by opening the connection.
async fn bytes(db: &TestDb, worker: WorkerId, held: &HeldLeases, times: u32) -> (u64, u64) {
    let (through, relay) = counted(db.url()).await;
    let store = production_at(&through, Pooler::None, 1);
    beat(&store, worker, held, times).await;
    store.close().await;
    relay.await.unwrap()
}

#[tokio::test]
async fn a_heartbeat_sends_twelve_bytes_for_each_lease_and_receives_none() {
    let db = TestDb::new().await;
    let store = production_at(db.url(), Pooler::None, 1);
    let lease = |worker: Uuid, count: i64| {
        format!(
            "INSERT INTO jobqueue.lease SELECT nextval('jobqueue.lease_epoch'), gen_random_uuid(), '{worker}', 1, now(), now() + interval '1 h', 1
             FROM generate_series(1, {count})"
        )
    };
    db.execute(&lease(Uuid::from_u128(99), OTHERS)).await;
    println!("| leases | bytes sent | bytes received | WAL bytes | µs |\n|---|---|---|---|---|");
    for count in [0, 1, 10, 100, 1000] {
        let worker = WorkerId::from_uuid(Uuid::from_u128(u128::try_from(count).unwrap() + 1000));
        store.register_worker(&entry(worker)).await.unwrap();
        db.execute(&lease(worker.as_uuid(), count)).await;
        db.execute("VACUUM ANALYZE jobqueue.lease").await;
        let mine = "SELECT epoch FROM jobqueue.lease WHERE worker_id = $1";
        let epochs = sqlx::query_scalar(mine).bind(worker.as_uuid()).fetch_all(db.pool()).await.unwrap();
        let held = HeldLeases { epochs, known_up_to: 1 };
        beat(&store, worker, &held, 20).await;
        let position = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
        let (from, began) = (db.number(position).await, Instant::now());
        beat(&store, worker, &held, BEATS).await;
        let (took, wal) = (began.elapsed() / BEATS, (db.number(position).await - from) / i64::from(BEATS));
        let (few, many) = (bytes(&db, worker, &held, 20).await, bytes(&db, worker, &held, 120).await);
        let (sent, received) = ((many.0 - few.0) / 100, (many.1 - few.1) / 100);
        assert!(
            sent <= 150 + 12 * u64::try_from(count).unwrap() && received <= 150,
            "{count}: {sent}, {received}"
        );
        println!("| {count} | {sent} | {received} | {wal} | {} |", took.as_micros());
    }
}
