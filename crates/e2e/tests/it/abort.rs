//! Ten thousand requests whose clients go away at a random moment: before the end of the request, before the answer, in the
//! middle of it. No transaction is left open, no connection is lost, nothing is stored that was not sent, and what was
//! acknowledged is there.

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
/// Connections of the API's pool; it has one more for hearing wake-ups.
const POOL: i64 = 10;
/// Most that a client waits before it goes away, in microseconds: around what an answer takes.
const PATIENCE_US: u64 = 8_000;
/// How long an answer may take that is waited for; for broken code.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What one client sends and how far it goes.
#[derive(Debug)]
struct Visit {
    word: Option<String>,
    request: Vec<u8>,
    /// Bytes that are sent.
    sent: usize,
    /// Then it waits so long before it goes; `None`: until it has the answer.
    patience: Option<Duration>,
    /// Goes with a reset instead of a polite end.
    rude: bool,
}

#[tokio::test]
async fn clients_that_go_away_leave_nothing_behind() {
    let db = TestDb::new().await;
    let cluster = Cluster::new(db.url()).await.with("DATABASE_MAX_CONNECTIONS", &POOL.to_string());
    let api = cluster.api().await;
    let history = Arc::new(History::new(&cluster.work));
    let known = api.client.submit(&job(QUICK, "known")).await;

    let mut partial = BTreeSet::new();
    let mut whole = Vec::new();
    let mut visits = JoinSet::new();
    // a fixed seed: the moments are the machine's own chance anyway
    let mut chance = StdRng::seed_from_u64(20_000);
    for number in 0..REQUESTS {
        let visit = visit(number, &known, &mut chance);
        match &visit.word {
            Some(word) if visit.sent == visit.request.len() => whole.push(word.clone()),
            Some(word) => {
                partial.insert(word.clone());
            }
            None => {}
        }
        let (address, history) = (api.address, history.clone());
        visits.spawn(async move { visit.pay(address, &history).await });
        if visits.len() >= AT_ONCE {
            visits.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(visit) = visits.join_next().await {
        visit.unwrap();
    }
    nothing_is_left_open(db.pool()).await;
    // every request that left whole gets its answer now, under the same key
    insist(&api.client, &history, &whole).await;
    what_is_stored_was_sent(&history, &whole, &partial, db.pool()).await;
    assert_eq!(api.client.get("/ready").await.status, 200);
    nothing_is_left_open(db.pool()).await;
}

fn visit(number: usize, known: &str, chance: &mut StdRng) -> Visit {
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
    let sent = if chance.random_ratio(1, 5) { chance.random_range(0..request.len()) } else { request.len() };
    // a long poll is never waited for: its job does not end
    let stays = word.is_some() && sent == request.len() && chance.random_ratio(1, 20);
    let patience = (!stays).then(|| Duration::from_micros(chance.random_range(0..PATIENCE_US)));
    Visit { word, request, sent, patience, rude: chance.random() }
}

impl Visit {
    async fn pay(self, address: SocketAddr, history: &History) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if let (Some(word), true) = (&self.word, self.sent == self.request.len()) {
            history.sent(word);
        }
        stream.write_all(&self.request[..self.sent]).await.unwrap();
        match self.patience {
            // the random moment at which the client goes away
            Some(patience) => sleep(patience).await,
            None => self.read_answer(&mut stream).await,
        }
        if self.rude {
            stream.set_zero_linger().unwrap();
        }
    }

    /// The status line is all that an impatient client reads; a 2xx is an acknowledgement that counts.
    async fn read_answer(&self, stream: &mut TcpStream) {
        let mut start = [0; 12];
        let read = timeout(ANSWER_LIMIT, stream.read_exact(&mut start)).await;
        read.expect("an answer in time").expect("an answer");
        assert_eq!(std::str::from_utf8(&start).unwrap(), "HTTP/1.1 201", "{self:?}");
    }
}

/// Repeats every request until it is answered.
async fn insist(client: &Client, history: &Arc<History>, words: &[String]) {
    let mut asking = JoinSet::new();
    for part in words.chunks(words.len().div_ceil(AT_ONCE)) {
        let (client, history, part) = (client.clone(), history.clone(), part.to_vec());
        asking.spawn(async move {
            for word in part {
                let body = job(QUICK, &word).to_string();
                let answer = client.try_post("/v1/jobs", body, Some(&word)).await.unwrap();
                assert!(history.answered(&word, &answer), "{word}: {answer:?}");
                assert!((200..300).contains(&answer.status), "{word}: {answer:?}");
            }
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
}

async fn what_is_stored_was_sent(
    history: &History,
    whole: &[String],
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
    assert_eq!(stored.len(), words.len(), "a key made two jobs");
    assert_eq!(words, whole.iter().cloned().collect(), "stored is what was sent whole, and nothing else");
    assert!(words.is_disjoint(partial), "a request was cut and stored all the same");
    let ids: BTreeSet<_> = stored.into_iter().collect();
    for said in history.read() {
        if let crate::history::Said::Acknowledged(word, id) = said {
            assert!(ids.contains(&(word, id.clone())), "{id} was acknowledged");
        }
    }
}

/// Looks for longer than the second after which an open transaction counts as leaked.
async fn nothing_is_left_open(pool: &PgPool) {
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND state LIKE 'idle in transaction%' AND clock_timestamp() - state_change > interval '1 second'";
    let of_api = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name = 'jobqueue-api'";
    for _ in 0..15 {
        let open: i64 = sqlx::query_scalar(open).fetch_one(pool).await.unwrap();
        assert_eq!(open, 0, "transactions that nobody will end");
        let connections: i64 = sqlx::query_scalar(of_api).fetch_one(pool).await.unwrap();
        assert!((1..=POOL + 2).contains(&connections), "{connections} connections of a pool of {POOL}");
        // the rhythm of the looks: together they span more than a second
        sleep(Duration::from_millis(100)).await;
    }
}
