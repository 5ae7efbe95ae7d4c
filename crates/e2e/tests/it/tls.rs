//! A Postgres outside of the cluster, as in the component `managed-postgres`: over TLS with a certificate authority
//! from a file. The command of the init containers waits for it, and accepts no other authority and no other host name.

use std::path::Path;
use std::process::Command;

use jobqueue_testkit::{Binary, TestServer};
use sqlx::PgPool;
use tokio::task::spawn_blocking;

use crate::cluster::{Cluster, LIMIT};

/// Creates two certificate authorities, and a certificate of the first one for `localhost`.
const CERTIFICATES: &str = "set -e
key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
for name in right wrong; do
  openssl req -x509 $key -keyout $name.key -out $name.crt -days 2 -subj /CN=$name -addext keyUsage=critical,keyCertSign
done
openssl req $key -keyout server.key -out server.csr -subj /CN=localhost
echo subjectAltName=DNS:localhost >extensions
openssl x509 -req -in server.csr -CA right.crt -CAkey right.key -CAcreateserial -days 2 -extfile extensions -out server.crt
for file in server.key server.crt; do base64 -w 0 $file >$file.base64; done";

#[tokio::test]
async fn only_a_server_with_the_right_authority_and_name_is_accepted() {
    let server = TestServer::durable().await;
    // builds the binaries, and has a directory for the files
    let cluster = Cluster::new(server.url()).await;
    let place = cluster.work.path().to_path_buf();
    let made = place.clone();
    let outcome = spawn_blocking(move || {
        Command::new("bash").args(["-c", CERTIFICATES]).current_dir(made).output().unwrap()
    });
    let outcome = outcome.await.unwrap();
    if !outcome.status.success() {
        let output = String::from_utf8_lossy(&outcome.stderr);
        assert!(output.contains("openssl: command not found"), "{output}");
        println!("SKIPPED: no openssl");
        return;
    }
    if !enable_tls(&server.pool(), &place).await {
        println!("SKIPPED: this Postgres is built without TLS");
        return;
    }
    let outside = server.url().replace("127.0.0.1", "localhost");
    let right = |name: &str| place.join(format!("{name}.crt")).display().to_string();
    let verified = |url: &str, authority: &str| format!("{url}?sslmode=verify-full&sslrootcert={authority}");
    for words in [&["wait", "--database-only"][..], &["migrate"], &["wait"]] {
        let (ended, output) = run(words, &verified(&outside, &right("right")), "30").await;
        assert_eq!(ended, Some(0), "{words:?}: {output}");
    }
    let (ended, output) = run(&["wait"], &verified(&outside, &right("wrong")), "1").await;
    assert!(ended == Some(1) && output.contains("ertificate"), "another authority: {output}");
    let (ended, output) = run(&["wait"], &verified(server.url(), &right("right")), "1").await;
    assert!(ended == Some(1) && output.contains("ertificate"), "another name of the same host: {output}");
    // the file of the component before an authority was put into it
    std::fs::write(place.join("empty.crt"), "").unwrap();
    for (name, code) in [("absent", 64), ("empty", 1)] {
        let (ended, output) = run(&["wait"], &verified(&outside, &right(name)), "1").await;
        assert_eq!(ended, Some(code), "no authority at all: {output}");
    }
}

/// Configures the certificate of the server, which must own the file. Returns false if that is impossible.
async fn enable_tls(pool: &PgPool, place: &Path) -> bool {
    for file in ["server.key", "server.crt"] {
        let text = std::fs::read_to_string(place.join(format!("{file}.base64"))).unwrap();
        let write = format!("COPY (SELECT '{text}') TO PROGRAM 'umask 077; base64 -d >{file}'");
        sqlx::raw_sql(&write).execute(pool).await.unwrap();
    }
    if let Err(refused) = sqlx::raw_sql("ALTER SYSTEM SET ssl = on").execute(pool).await {
        assert!(refused.to_string().contains("not supported by this build"), "{refused}");
        return false;
    }
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(pool).await.unwrap();
    true
}

/// The exit code and the output of `jobqueue-api`.
async fn run(words: &[&str], url: &str, seconds: &str) -> (Option<i32>, String) {
    let binary = Binary::named("jobqueue-api").env("DATABASE_URL", url).env("WAIT_TIMEOUT_SECONDS", seconds);
    let mut process = words.iter().fold(binary, Binary::arg).spawn();
    let ended = process.wait_exit(LIMIT).await.code();
    (ended, process.lines().join("\n"))
}
