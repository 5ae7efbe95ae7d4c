//! Tests through PgBouncer in transaction mode, where LISTEN, prepared statements and session settings do not work.
//! Every lifecycle of a job and a load work, with fewer server connections than clients.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobqueue_testkit::{Binary, Process, TestDb, eventually};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::checker::{Faults, assert_no_violation};
use crate::cluster::{Cluster, LIMIT, all_final};
use crate::evidence::Evidence;
use crate::history::History;
use crate::ledger::{QUICK, WorkDir, job};
use crate::lifecycle::every_lifecycle;
use crate::load::Load;

/// Fewer than the three processes would use, so that transactions of several clients share a server connection.
const SERVER_CONNECTIONS: usize = 5;

/// Transactions of different clients share server connections.
pub(crate) const TRANSACTION: &str = "pool_mode = transaction\ndefault_pool_size = 5\nserver_round_robin = 1\n\
     ignore_startup_parameters = extra_float_digits,options\n";

#[tokio::test]
async fn every_lifecycle_works_through_a_transaction_pooler() {
    let Some(program) = program() else {
        eprintln!("SKIPPED: pgbouncer is not installed (Debian: apt-get install pgbouncer)");
        return;
    };
    let (walks, load) = (TestDb::new().await, TestDb::new().await);
    let work = WorkDir::new();
    let (_bouncer, port) = start(&program, &work, walks.url(), TRANSACTION).await;
    let behind = |db: &TestDb| format!("postgres://postgres@127.0.0.1:{port}/{}", db.name());
    let cluster =
        async |db: &TestDb| Cluster::quick(&behind(db)).await.with("DATABASE_POOLER", "transaction");

    let everyday = cluster(&walks).await;
    every_lifecycle(&everyday, walks.pool()).await;
    // this many jobs are stored by COPY
    let many = vec![job(QUICK, "many"); 500];
    assert_eq!(everyday.api().await.client.submit_all(&many).await.len(), 500);

    let loaded = cluster(&load).await;
    let (api, reaper, first, second) =
        tokio::join!(loaded.api(), loaded.reaper(), loaded.worker("first", 4), loaded.worker("second", 4));
    let history = Arc::new(History::new(&loaded.work));
    let clients = Load::start(6, &api.client, &history);
    clients.more(300).await;
    let used: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
    )
    .bind(load.name())
    .fetch_one(walks.pool())
    .await
    .unwrap();
    assert!(
        (1..=i64::try_from(SERVER_CONNECTIONS).unwrap() + 1).contains(&used),
        "{used} server connections"
    );
    clients.finish().await;
    all_final(load.pool()).await;
    let evidence = Evidence::collect(&history, &loaded.work, load.pool()).await;
    assert_no_violation(&evidence, Faults::Calm);
    assert_eq!(history.unavailable(), (0, 0));
    for node in [&api.node, &reaper, &first, &second] {
        // no statement of a client may be affected by what another client left on the connection
        let lines = node.process.lines();
        let bad: Vec<_> = lines.iter().filter(|l| l.contains("\"ERROR\"") || l.contains("sqlx")).collect();
        assert_eq!(bad, [""; 0]);
    }
}

#[tokio::test]
async fn a_session_pooler_works_and_a_rejected_start_up_parameter_is_named() {
    let Some(program) = program() else {
        eprintln!("SKIPPED: pgbouncer is not installed (Debian: apt-get install pgbouncer)");
        return;
    };
    let db = TestDb::new().await;
    let work = WorkDir::new();
    let (_bouncer, port) = start(&program, &work, db.url(), "default_pool_size = 100\n").await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/{}", db.name());
    every_lifecycle(&Cluster::quick(&url).await, db.pool()).await;
    let refused = Binary::named("jobqueue-reaper")
        .env("DATABASE_URL", format!("{url}?options=-c%20work_mem=8MB"))
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .spawn();
    refused.wait_for_line("the cause", |line| line.contains("ignore_startup_parameters"), LIMIT).await;
}

#[tokio::test]
async fn a_transaction_pooler_without_the_setting_is_detected_at_once() {
    let Some(program) = program() else {
        eprintln!("SKIPPED: pgbouncer is not installed (Debian: apt-get install pgbouncer)");
        return;
    };
    let db = TestDb::new().await;
    let cluster = Cluster::quick("unused").await;
    for settings in
        [TRANSACTION, "pool_mode = transaction\n", "pool_mode = transaction\ndefault_pool_size = 1\n"]
    {
        let work = WorkDir::new();
        let (_bouncer, port) = start(&program, &work, db.url(), settings).await;
        let url = format!("postgres://postgres@127.0.0.1:{port}/{}", db.name());
        let named =
            |name: &str| Binary::named(name).env("DATABASE_URL", &url).env("ADMIN_ADDR", "127.0.0.1:0");
        let api = named("jobqueue-api").env("API_ADDR", "127.0.0.1:0").env("API_SECRET_KEY", "k".repeat(32));
        let worker = named("jobqueue-worker").env("WORKER_CONFIG", cluster.work.config());
        for binary in [api, worker, named("jobqueue-reaper")] {
            let mut process = binary.spawn();
            assert!(!process.wait_exit(LIMIT).await.success(), "{settings}: {:#?}", process.lines());
            process
                .wait_for_line("advice", |line| line.contains("set DATABASE_POOLER=transaction"), LIMIT)
                .await;
        }
        // no server session keeps our settings or prepared statements
        let other = PgConnectOptions::clone(&url.parse().unwrap())
            .extra_float_digits(None)
            .statement_cache_capacity(0);
        let mut other = PgConnection::connect_with(&other).await.unwrap();
        let plain = "SELECT current_setting('enable_seqscan') = 'on' AND NOT EXISTS (SELECT FROM pg_prepared_statements WHERE name LIKE 'sqlx%')";
        let untouched = sqlx::Executor::fetch_one(&mut other, sqlx::raw_sql(plain)).await.unwrap();
        assert!(sqlx::Row::get::<bool, _>(&untouched, 0), "{settings}");
    }
}

pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join("pgbouncer")).find(|program| program.exists())
}

/// Starts PgBouncer in front of the server of `url`, and returns it with its port when it accepts connections.
pub(crate) async fn start(program: &Path, work: &WorkDir, url: &str, settings: &str) -> (Process, u16) {
    let (_, rest) = url.split_once('@').unwrap();
    let (server, _) = rest.split_once('/').unwrap();
    let (host, server_port) = server.split_once(':').unwrap();
    // a port that is free now; another process could use it first, but that is unlikely
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // PgBouncer refuses to run as root; without root the user does not change
    let user = if rustix::process::geteuid().is_root() { "user = nobody\n" } else { "" };
    let config = format!(
        "[databases]\n* = host={host} port={server_port} user=postgres\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\n{user}\
         max_client_conn = 200\n{settings}"
    );
    let file = work.path().join("pgbouncer.ini");
    fs::write(&file, config).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let bouncer = Binary::at(program).arg(&file).spawn();
    let options: PgConnectOptions = format!("postgres://postgres@127.0.0.1:{port}/postgres").parse().unwrap();
    let options = options.extra_float_digits(None);
    eventually(LIMIT, "PgBouncer serves", async || match PgConnection::connect_with(&options).await {
        Ok(connection) => {
            connection.close().await.unwrap();
            Ok(())
        }
        Err(error) => Err(format!("{error}: {}", bouncer.lines().join("\n"))),
    })
    .await;
    (bouncer, port)
}
