//! The response is lost after the request was carried out: between client and API, between API and Postgres, and
//! between worker and Postgres. A repeated submission with the same key returns the same job, and a repeated settle
//! changes nothing.

use jobqueue_testkit::{Fault, FaultProxy, TestDb, eventually};
use sqlx::PgPool;

use crate::client::{Client, id_of};
use crate::cluster::{Cluster, LIMIT, Node};
use crate::ledger::{GATE, QUICK, job};

/// How often the connection must break between a commit and its response.
const HITS: usize = 3;
/// More bytes than the responses of any call in these tests.
const BEYOND: u64 = 8192;
/// How often a search is started again, because other traffic on the connection can disturb it.
const SEARCHES: usize = 6;

/// Finds by bisection the number of bytes after which the connection must break so that exactly the response of a
/// commit is lost: with fewer bytes nothing is done, with more the response arrives.
struct Search {
    low: u64,
    high: u64,
    hits: usize,
    begun: usize,
}

/// The result of a call whose connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallResult {
    /// Nothing is done.
    NotDone,
    /// It is done, but the caller does not know.
    ResponseLost,
    /// The response arrived.
    Answered,
}

impl Search {
    fn new() -> Self {
        Self { low: 0, high: BEYOND, hits: 0, begun: 1 }
    }

    /// Where to break the connection next; `None` if it has been broken in the right place often enough.
    fn next(&self) -> Option<u64> {
        (self.hits < HITS).then_some(u64::midpoint(self.low, self.high))
    }

    fn record(&mut self, at: u64, result: CallResult) {
        match result {
            CallResult::NotDone => self.low = at + 1,
            CallResult::ResponseLost => self.hits += 1,
            CallResult::Answered => self.high = at,
        }
        if self.low >= self.high {
            assert!(self.begun < SEARCHES, "no commit lost its answer in {SEARCHES} searches");
            *self = Self { hits: self.hits, begun: self.begun + 1, ..Self::new() };
        }
    }
}

#[tokio::test]
async fn a_client_that_repeats_a_submission_gets_the_same_job() {
    let db = TestDb::new().await;
    let cluster = Cluster::new(db.url()).await;
    let api = cluster.api().await;
    let proxy = FaultProxy::start(api.address).await;
    let detour = Client::new(proxy.address());
    for lost_at in [0, 10, 100, 300] {
        let word = format!("lost-at-{lost_at}");
        let body = job(QUICK, &word).to_string();
        proxy.set(Fault::LoseAnswersAfter(lost_at));
        let lost = detour.try_post("/v1/jobs", body.clone(), Some(&word)).await;
        assert!(lost.is_err(), "{lost:?}");
        proxy.set(Fault::Pass);
        // the request was complete, so its job may be stored shortly after its client disconnected
        let stored = eventually(LIMIT, "the job is stored", async || match ids_of(&word, db.pool()).await {
            ids if ids.len() == 1 => Ok(ids[0].clone()),
            ids => Err(ids),
        })
        .await;
        for _ in 0..2 {
            let again = detour.try_post("/v1/jobs", body.clone(), Some(&word)).await.unwrap();
            assert!((200..300).contains(&again.status), "{again:?}");
            assert_eq!(id_of(&again.json()), stored);
        }
        assert_eq!(ids_of(&word, db.pool()).await, [stored]);
    }
    let other =
        detour.try_post("/v1/jobs", job(QUICK, "other").to_string(), Some("lost-at-0")).await.unwrap();
    assert_eq!(other.status, 422, "the same key with another body: {other:?}");
}

#[tokio::test]
async fn an_api_that_loses_the_response_of_its_commit_finds_the_job() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    // one connection, so that the same call always needs the same number of bytes
    let cluster = Cluster::new(db.url())
        .await
        .with("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
        .with("DATABASE_MAX_CONNECTIONS", "1");
    let api = cluster.through(&proxy.through(db.url())).api().await;
    let mut search = Search::new();
    let mut number = 0;
    while let Some(at) = search.next() {
        number += 1;
        // a connection on which this call has been made before
        let ready = format!("ready-{number}");
        submit_until_stored(&api.client, &ready).await;
        // waits until the last bytes of every call have passed, because a connection is tested when it returns to the
        // pool
        becomes_zero(&api.node, "api_database_connections{state=\"busy\"}").await;
        let word = format!("lost-{number}-at-{at}");
        proxy.set(Fault::LoseAnswersAfter(at));
        let body = job(QUICK, &word).to_string();
        let first = api.client.try_post("/v1/jobs", body, Some(&word)).await.unwrap();
        proxy.set(Fault::Pass);
        let before = ids_of(&word, db.pool()).await;
        let result = match (first.status, before.len()) {
            (201, 1) => CallResult::Answered,
            (503, 1) => CallResult::ResponseLost,
            (503, 0) => CallResult::NotDone,
            _ => panic!("{first:?}, {before:?}"),
        };
        let again = submit_until_stored(&api.client, &word).await;
        let ids = ids_of(&word, db.pool()).await;
        assert_eq!(ids, [again], "lost at {at}: {first:?}");
        assert!(before.is_empty() || before == ids, "{before:?} became {ids:?}");
        search.record(at, result);
    }
}

/// Waits until a metric of the node has fallen to zero.
async fn becomes_zero(node: &Node, metric: &str) {
    eventually(LIMIT, metric, async || match node.metric(metric).await {
        0.0 => Ok(()),
        some => Err(some),
    })
    .await;
}

/// Submits a word with its own key until the database is reachable again, and returns the job's id.
async fn submit_until_stored(client: &Client, word: &str) -> String {
    let answer = eventually(LIMIT, "an answer", async || {
        let answer = client.try_post("/v1/jobs", job(QUICK, word).to_string(), Some(word)).await.unwrap();
        if answer.status == 503 { Err(answer) } else { Ok(answer) }
    })
    .await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    id_of(&answer.json())
}

#[tokio::test]
async fn a_worker_that_loses_the_response_of_its_settle_completes_the_job_once() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    // no other traffic: one connection, and no periodic polls
    let cluster = Cluster::quick(db.url())
        .await
        .with("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
        .with("DATABASE_MAX_CONNECTIONS", "1");
    let (api, _reaper) = tokio::join!(cluster.api(), cluster.reaper());
    let far = cluster.clone().with("WORKER_POLL_INTERVAL_SECONDS", "5").through(&proxy.through(db.url()));
    let worker = far.worker("far", 4).await;
    let ledger = &cluster.work;
    let mut search = Search::new();
    let mut number = 0;
    while let Some(at) = search.next() {
        number += 1;
        // a connection on which these calls have been made before
        let ready = format!("ready-{number}");
        ledger.open(&ready, 1);
        api.client.completed(&api.client.submit(&job(GATE, &ready)).await).await;
        let word = format!("lost-{number}-at-{at}");
        let id = api.client.submit(&job(GATE, &word)).await;
        ledger.started(&word, 1).await;
        becomes_zero(&worker, "worker_unsettled_results").await;
        let before = CallCounts::read(&worker).await;
        // in this order, so that the fault hits the settle and no earlier call
        ledger.open(&word, 1);
        proxy.set(Fault::LoseAnswersAfter(at));
        let failed = eventually(LIMIT, "the worker has the result of its settle", async || {
            let now = CallCounts::read(&worker).await;
            if now == before { Err(()) } else { Ok(now.failures > before.failures) }
        })
        .await;
        let status = api.client.job(&id).await["status"].clone();
        proxy.set(Fault::Pass);
        let result = match (failed, status == "completed") {
            (false, true) => CallResult::Answered,
            (true, true) => CallResult::ResponseLost,
            (true, false) => CallResult::NotDone,
            (false, false) => panic!("the worker has settled {id}, but it is {status}"),
        };
        assert_eq!(api.client.completed(&id).await["result"], format!("{word} by attempt 1"));
        becomes_zero(&worker, "worker_unsettled_results").await;
        assert_eq!(api.client.endings(&id).await, ["completed"]);
        assert_eq!(ledger.executions_of(&word).len(), 1);
        search.record(at, result);
    }
    let counted: i64 = sqlx::query_scalar(
        "SELECT sum(completed)::bigint FROM (SELECT completed FROM jobqueue.tally UNION ALL SELECT completed FROM jobqueue.counter) t",
    )
    .fetch_one(db.pool())
    .await
    .unwrap();
    assert_eq!(counted, 2 * number, "each was counted once");
}

/// The worker's counts of its calls so far.
#[derive(Clone, Copy, Debug, PartialEq)]
struct CallCounts {
    failures: f64,
    completed: f64,
}

impl CallCounts {
    async fn read(worker: &Node) -> Self {
        let completed = "worker_attempts_total{kind=\"ledger.gate\",queue=\"default\",status=\"completed\"}";
        Self {
            failures: worker.metric("worker_store_failures_total").await,
            completed: worker.metric(completed).await,
        }
    }
}

/// The jobs with this payload.
async fn ids_of(word: &str, pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("SELECT id::text FROM jobqueue.body WHERE payload #>> '{}' = $1")
        .bind(word)
        .fetch_all(pool)
        .await
        .unwrap()
}
