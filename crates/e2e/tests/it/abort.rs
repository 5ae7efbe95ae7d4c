//! Ten thousand requests whose clients disconnect at a random time: before the end of the request, before the response,
//! or during it. No transaction stays open, no connection is lost, only jobs that were sent are stored, and every
//! acknowledged job is stored.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jobqueue_testkit::TestDb;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Client, KEY};
use crate::cluster::Cluster;
use crate::history::History;
use crate::ledger::{QUICK, job};

const REQUESTS: usize = 10_000;
const AT_ONCE: usize = 50;
/// Connections of the API's pool; the API has another one for notifications.
const POOL: i64 = 10;
/// Maximum time until a client disconnects, in microseconds; about as long as a response takes.
const MAX_WAIT_US: u64 = 8_000;
/// Time limit for a response; reached only if the test fails.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What one client sends, and when it disconnects.
#[derive(Debug)]
struct ClientRun {
    word: Option<String>,
    request: Vec<u8>,
    /// The number of bytes that it sends.
    sent: usize,
    /// How long it waits before it disconnects; `None`: until it has the response.
    wait: Option<Duration>,
    /// Whether it closes the connection with a reset.
    reset: bool,
}

#[tokio::test]
async fn clients_that_disconnect_leave_no_transaction_open() {
    let db = TestDb::new().await;
    let cluster = Cluster::new(db.url()).await.with("DATABASE_MAX_CONNECTIONS", &POOL.to_string());
    let api = cluster.api().await;
    let history = Arc::new(History::new(&cluster.work));
    let known = api.client.submit(&job(QUICK, "known")).await;

    let mut partial = BTreeSet::new();
    let mut complete = Vec::new();
    let mut runs = JoinSet::new();
    // the seed is fixed; the times depend on the machine anyway
    let mut random = StdRng::seed_from_u64(20_000);
    for number in 0..REQUESTS {
        let client_run = random_run(number, &known, &mut random);
        match &client_run.word {
            Some(word) if client_run.sent == client_run.request.len() => complete.push(word.clone()),
            Some(word) => {
                partial.insert(word.clone());
            }
            None => {}
        }
        let (address, history) = (api.address, history.clone());
        runs.spawn(async move { client_run.perform(address, &history).await });
        if runs.len() >= AT_ONCE {
            runs.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(client_run) = runs.join_next().await {
        client_run.unwrap();
    }
    no_transaction_stays_open(db.pool()).await;
    // repeats every request that was sent completely, with the same key, until it has a response
    repeat_until_answered(&api.client, &history, &complete).await;
    what_is_stored_was_sent(&history, &complete, &partial, db.pool()).await;
    assert_eq!(api.client.get("/ready").await.status, 200);
    no_transaction_stays_open(db.pool()).await;
}

fn random_run(number: usize, known: &str, random: &mut StdRng) -> ClientRun {
    let head = format!("Host: e2e\r\nAuthorization: Bearer {KEY}\r\n");
    let (word, request) = if number.is_multiple_of(2) {
        let word = format!("a-{number}");
        let body = job(QUICK, &word).to_string();
        let length = body.len();
        let head = format!(
            "{head}Content-Type: application/json\r\nIdempotency-Key: {word}\r\nContent-Length: {length}"
        );
        (Some(word), format!("POST /v1/jobs HTTP/1.1\r\n{head}\r\n\r\n{body}"))
    } else {
        let paths = [
            format!("/v1/jobs/{known}"),
            format!("/v1/jobs/{known}?wait=5"),
            "/v1/jobs?limit=100".to_owned(),
            "/v1/stats".to_owned(),
            format!("/v1/jobs/{known}/attempts"),
        ];
        let path = &paths[number / 2 % paths.len()];
        (None, format!("GET {path} HTTP/1.1\r\n{head}\r\n"))
    };
    let request = request.into_bytes();
    let sent = if random.random_ratio(1, 5) { random.random_range(0..request.len()) } else { request.len() };
    // the job of a long poll does not end, so its response is never awaited
    let waits_for_response = word.is_some() && sent == request.len() && random.random_ratio(1, 20);
    let wait = (!waits_for_response).then(|| Duration::from_micros(random.random_range(0..MAX_WAIT_US)));
    ClientRun { word, request, sent, wait, reset: random.random() }
}

impl ClientRun {
    async fn perform(self, address: SocketAddr, history: &History) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if let (Some(word), true) = (&self.word, self.sent == self.request.len()) {
            history.sent(word);
        }
        stream.write_all(&self.request[..self.sent]).await.unwrap();
        match self.wait {
            // the random time at which the client disconnects
            Some(wait) => sleep(wait).await,
            None => self.read_answer(&mut stream).await,
        }
        if self.reset {
            stream.set_zero_linger().unwrap();
        }
    }

    /// The client reads only the status line. A 2xx counts as an acknowledgement.
    async fn read_answer(&self, stream: &mut TcpStream) {
        let mut start = [0; 12];
        let read = timeout(ANSWER_LIMIT, stream.read_exact(&mut start)).await;
        read.expect("an answer in time").expect("an answer");
        assert_eq!(std::str::from_utf8(&start).unwrap(), "HTTP/1.1 201", "{self:?}");
    }
}

/// Repeats every request until it has a response.
async fn repeat_until_answered(client: &Client, history: &Arc<History>, words: &[String]) {
    let mut repeats = JoinSet::new();
    for part in words.chunks(words.len().div_ceil(AT_ONCE)) {
        let (client, history, part) = (client.clone(), history.clone(), part.to_vec());
        repeats.spawn(async move {
            for word in part {
                let body = job(QUICK, &word).to_string();
                let answer = client.try_post("/v1/jobs", body, Some(&word)).await.unwrap();
                assert!(history.answered(&word, &answer), "{word}: {answer:?}");
                assert!((200..300).contains(&answer.status), "{word}: {answer:?}");
            }
        });
    }
    while let Some(repeated) = repeats.join_next().await {
        repeated.unwrap();
    }
}

async fn what_is_stored_was_sent(
    history: &History,
    complete: &[String],
    partial: &BTreeSet<String>,
    pool: &PgPool,
) {
    let stored: Vec<(String, String)> = sqlx::query_as(
        "SELECT payload #>> '{}', id::text FROM jobqueue.body WHERE payload #>> '{}' <> 'known' ORDER BY id",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let words: BTreeSet<_> = stored.iter().map(|(word, _)| word.clone()).collect();
    assert_eq!(stored.len(), words.len(), "two jobs have the same key");
    assert_eq!(words, complete.iter().cloned().collect(), "exactly the complete requests are stored");
    assert!(words.is_disjoint(partial), "an incomplete request was stored");
    let ids: BTreeSet<_> = stored.into_iter().collect();
    for event in history.read() {
        if let crate::history::Event::Acknowledged(word, id) = event {
            assert!(ids.contains(&(word, id.clone())), "{id} was acknowledged");
        }
    }
}

/// Checks for longer than a second, because an open transaction counts as leaked after a second.
async fn no_transaction_stays_open(pool: &PgPool) {
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND state LIKE 'idle in transaction%' AND clock_timestamp() - state_change > interval '1 second'";
    let of_api = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name = 'jobqueue-api'";
    for _ in 0..15 {
        let open: i64 = sqlx::query_scalar(open).fetch_one(pool).await.unwrap();
        assert_eq!(open, 0, "transactions that were left open");
        let connections: i64 = sqlx::query_scalar(of_api).fetch_one(pool).await.unwrap();
        assert!((1..=POOL + 2).contains(&connections), "{connections} connections of a pool of {POOL}");
        // the interval of the checks, which together take more than a second
        sleep(Duration::from_millis(100)).await;
    }
}
