//! Clients that disconnect at any time: no transaction stays open, no task ends, and nothing is stored partially.

use std::time::Duration;

use futures_util::future::join_all;
use jobqueue_testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::{Api, KEY};

const ROUNDS: u64 = 40;
const AT_ONCE: u64 = 50;

/// In rounds, because a connection that is left inside a transaction is visible only while it is not used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_transaction_outlives_its_client() {
    let api = Api::start().await;
    let id = api.enqueue_in("other").await;
    for round in 0..ROUNDS {
        join_all((0..AT_ONCE).map(|n| abort(&api, round * AT_ONCE + n, &id))).await;
        eventually(Duration::from_secs(5), "no transaction is left open", async || {
            open_transactions(&api).await
        })
        .await;
    }
    assert_eq!(api.get(&format!("/v1/jobs/{id}")).await.status, 200);
    assert!(api.shutdown.failure().is_none());
    let jobs = async |and: &str| {
        api.db.number(&format!("SELECT count(*) FROM jobs WHERE kind = 'aborted' {and}")).await
    };
    assert_eq!(jobs("").await, jobs("AND status IN ('queued', 'running')").await);
    assert_ne!(jobs("").await, 0, "some were fast enough");
}

/// The number of sessions of the test's database with an idle transaction. A correct transaction has ended at the next
/// check.
async fn open_transactions(api: &Api) -> Result<(), i64> {
    match api.db.sessions("state LIKE 'idle in transaction%'").await {
        0 => Ok(()),
        open => Err(open),
    }
}

/// Sends a request and disconnects: before its end, directly after it, or a little later.
async fn abort(api: &Api, n: u64, id: &str) {
    let body = match n % 3 {
        0 => r#"{"kind":"aborted"}"#.to_owned(),
        1 => format!(r#"{{"kind":"aborted","unique":{{"key":"k{n}"}}}}"#),
        _ => r#"{"jobs":[{"kind":"aborted"},{"kind":"aborted"}]}"#.to_owned(),
    };
    let (method, path, body) = match n % 7 {
        5 => ("POST", "/v1/leases".to_owned(), r#"{"queues":["default"],"lease_seconds":3600}"#.to_owned()),
        6 => ("GET", format!("/v1/jobs/{id}?wait=1"), String::new()),
        3 | 4 => ("GET", "/v1/jobs".to_owned(), String::new()),
        _ if n % 3 == 2 => ("POST", "/v1/jobs/batch".to_owned(), body),
        _ => ("POST", "/v1/jobs".to_owned(), body),
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n\
         Idempotency-Key: {n}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(api.addr).await.unwrap();
    let dice: u64 = rand::random::<u64>();
    let sent = if dice.is_multiple_of(5) {
        &head.as_bytes()[..head.len() - 1 - usize::from(body.is_empty())]
    } else {
        head.as_bytes()
    };
    stream.write_all(sent).await.unwrap();
    let mut some = [0; 16];
    // at most as long as a commit takes on a busy machine
    let _answered = tokio::time::timeout(Duration::from_micros(dice % 12_000), stream.read(&mut some)).await;
}
