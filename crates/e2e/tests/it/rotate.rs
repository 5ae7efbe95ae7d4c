//! The password in the file of `DATABASE_URL_FILE` is changed while jobs run: no process is restarted, and no job is
//! lost.

use jobqueue_testkit::{Signal, TestServer, eventually};
use sqlx::{Connection as _, PgConnection};

use crate::cluster::{Cluster, LIMIT, all_final};
use crate::ledger::{QUICK, WorkDir, job};

/// A server with password authentication; the test changes the password of the role `app`.
struct PasswordServer {
    server: TestServer,
    admin: PgConnection,
}

impl PasswordServer {
    async fn start() -> Self {
        let server = TestServer::durable().await;
        let mut admin = PgConnection::connect(server.url()).await.unwrap();
        sqlx::raw_sql("CREATE ROLE app LOGIN SUPERUSER").execute(&mut admin).await.unwrap();
        Self { server, admin }
    }

    /// Sets the password of `app`, and ends its open connections.
    async fn change(&mut self, password: &str) {
        let file: String = sqlx::query_scalar("SHOW hba_file").fetch_one(&mut self.admin).await.unwrap();
        std::fs::write(file, "host all app 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n")
            .unwrap();
        let sql = format!(
            "ALTER ROLE app PASSWORD '{password}'; SELECT pg_reload_conf(); \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
        );
        sqlx::raw_sql(&sql).execute(&mut self.admin).await.unwrap();
    }

    fn url(&self, password: &str) -> String {
        self.server.url().replace("postgres@", &format!("app:{password}@"))
    }
}

#[tokio::test]
async fn a_new_password_in_the_file_is_used_without_a_restart() {
    let mut database = PasswordServer::start().await;
    database.change("first").await;
    let work = WorkDir::new();
    // like a secret that Kubernetes mounts: a link to a directory, which is replaced
    let mount = work.path().join("secret");
    let place = |url: &str, version: &str| {
        let directory = work.path().join(version);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("url"), format!("{url}\n")).unwrap();
        let link = work.path().join("next");
        std::os::unix::fs::symlink(&directory, &link).unwrap();
        std::fs::rename(&link, &mount).unwrap();
    };
    place(&database.url("first"), "v1");
    let cluster = Cluster::quick("").await.with("DATABASE_URL_FILE", mount.join("url").to_str().unwrap());
    let (api, reaper, worker) = tokio::join!(cluster.api(), cluster.reaper(), cluster.worker("steady", 4));
    let submit = async |key: &str| {
        eventually(LIMIT, "the submissions are accepted", async || {
            let body = serde_json::json!({ "jobs": vec![job(QUICK, "rotated"); 20] }).to_string();
            let answer = api.client.try_post("/v1/jobs/batch", body, Some(key)).await.unwrap();
            if answer.status < 300 { Ok(()) } else { Err(answer.text) }
        })
        .await;
    };
    submit("first").await;
    all_final(&database.server.pool()).await;
    for (password, version) in [("second", "v2"), ("third", "v3")] {
        place(&database.url(password), version);
        database.change(password).await;
        submit(password).await;
        all_final(&database.server.pool()).await;
    }
    for node in [&api.node, &reaper, &worker] {
        node.is_ready().await;
        let lines = node.process.lines();
        let is_logged = lines.iter().any(|line| line.contains("DATABASE_URL_FILE has changed"));
        assert!(is_logged && !lines.iter().any(|line| line.contains("app:")), "{lines:#?}");
        node.process.signal(Signal::TERM);
    }
    let done: i64 = sqlx::query_scalar("SELECT count(*) FROM jobqueue.jobs WHERE status = 'completed'")
        .fetch_one(&mut database.admin)
        .await
        .unwrap();
    assert_eq!(done, 60);
}
