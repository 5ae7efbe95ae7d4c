//! Through PgBouncer in transaction mode, as many installations must: no LISTEN, no prepared statements, no session of one's
//! own. Every walk of a job and a load work all the same, on fewer server connections than there are clients.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobqueue_testkit::{Binary, Process, TestDb, eventually};
use sqlx::{Connection as _, PgConnection};

use crate::checker::{Weather, assert_sound};
use crate::cluster::{Cluster, LIMIT, all_final};
use crate::evidence::Evidence;
use crate::history::History;
use crate::ledger::{QUICK, WorkDir, job};
use crate::lifecycle::every_walk;
use crate::load::Load;

/// Fewer than the three processes would take, so that transactions of several clients meet on one server connection.
const SERVER_CONNECTIONS: usize = 5;

#[tokio::test]
async fn every_walk_works_through_a_transaction_pooler() {
    let Some(program) = program() else {
        eprintln!("SKIPPED: pgbouncer is not installed (Debian: apt-get install pgbouncer)");
        return;
    };
    let (walks, load) = (TestDb::new().await, TestDb::new().await);
    let work = WorkDir::new();
    let (_bouncer, port) = start(&program, &work, walks.url()).await;
    let behind = |db: &TestDb| format!("postgres://postgres@127.0.0.1:{port}/{}", db.name());
    let cluster =
        async |db: &TestDb| Cluster::quick(&behind(db)).await.with("DATABASE_POOLER", "transaction");

    let everyday = cluster(&walks).await;
    every_walk(&everyday, walks.pool()).await;
    // so many go by COPY
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
    assert_sound(&evidence, Weather::Calm);
    assert_eq!(history.unavailable(), (0, 0));
    for node in [&api.node, &reaper, &first, &second] {
        // a statement of one client must never meet what another one left on the connection
        let lines = node.process.lines();
        let bad: Vec<_> = lines.iter().filter(|l| l.contains("\"ERROR\"") || l.contains("sqlx")).collect();
        assert_eq!(bad, [""; 0]);
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join("pgbouncer")).find(|program| program.exists())
}

/// Starts it before the server of `url`, and returns it with its port once it serves.
async fn start(program: &Path, work: &WorkDir, url: &str) -> (Process, u16) {
    let (_, rest) = url.split_once('@').unwrap();
    let (server, _) = rest.split_once('/').unwrap();
    let (host, server_port) = server.split_once(':').unwrap();
    // free now; nobody else listens on it between here and there but by bad luck
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // it refuses to run as root; whoever is not root stays who he is
    let user = if rustix::process::geteuid().is_root() { "user = nobody\n" } else { "" };
    let config = format!(
        "[databases]\n* = host={host} port={server_port} user=postgres\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n{user}\
         max_client_conn = 200\ndefault_pool_size = {SERVER_CONNECTIONS}\nserver_round_robin = 1\n\
         ignore_startup_parameters = extra_float_digits,options\n"
    );
    let file = work.path().join("pgbouncer.ini");
    fs::write(&file, config).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let bouncer = Binary::at(program).arg(&file).spawn();
    let own = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    eventually(LIMIT, "PgBouncer serves", async || match PgConnection::connect(&own).await {
        Ok(connection) => {
            connection.close().await.unwrap();
            Ok(())
        }
        Err(error) => Err(format!("{error}: {}", bouncer.lines().join("\n"))),
    })
    .await;
    (bouncer, port)
}
