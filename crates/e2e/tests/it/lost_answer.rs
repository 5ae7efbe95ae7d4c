//! The answer is lost after the work was done: between client and API, between API and Postgres, between worker and Postgres.
//! Whoever asks again with the same key gets the same job; whoever settles again changes nothing.

use jobqueue_testkit::{Fault, FaultProxy, TestDb, eventually};
use sqlx::PgPool;

use crate::client::{Client, id_of};
use crate::cluster::{Cluster, LIMIT, Node};
use crate::ledger::{GATE, QUICK, job};

/// So often the line shall break between a commit and its answer.
const HITS: usize = 3;
/// More bytes of answers than any of the calls here gets.
const BEYOND: u64 = 8192;
/// Something else on the line may spoil a search; so often it begins anew.
const SEARCHES: usize = 6;

/// Finds the place where an answer must be cut to lose exactly that of a commit, by halving: cut before it, nothing is
/// done; cut after it, the answer arrives.
struct Search {
    low: u64,
    high: u64,
    hits: usize,
    begun: usize,
}

/// What a call with a broken line came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// Nothing is done.
    Undone,
    /// It is done, and the one who asked does not know.
    DoneInTheDark,
    /// The answer arrived.
    Answered,
}

impl Search {
    fn new() -> Self {
        Self { low: 0, high: BEYOND, hits: 0, begun: 1 }
    }

    /// Where to break the line next; `None` when it was broken in the right place often enough.
    fn next(&self) -> Option<u64> {
        (self.hits < HITS).then_some(u64::midpoint(self.low, self.high))
    }

    fn saw(&mut self, at: u64, came: Came) {
        match came {
            Came::Undone => self.low = at + 1,
            Came::DoneInTheDark => self.hits += 1,
            Came::Answered => self.high = at,
        }
        if self.low >= self.high {
            assert!(self.begun < SEARCHES, "no commit lost its answer in {SEARCHES} searches");
            *self = Self { hits: self.hits, begun: self.begun + 1, ..Self::new() };
        }
    }
}

#[tokio::test]
async fn a_client_that_asks_again_gets_the_same_job() {
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
        // the request was whole, so its job may be stored a moment later than its client left
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
async fn an_api_that_loses_the_answer_of_its_commit_finds_the_job_again() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    // one connection, so that the same call takes the same bytes every time
    let cluster = Cluster::new(db.url())
        .await
        .with("DATABASE_CONNECT_TIMEOUT_SECONDS", "1")
        .with("DATABASE_MAX_CONNECTIONS", "1");
    let api = cluster.through(&proxy.through(db.url())).api().await;
    let mut search = Search::new();
    let mut number = 0;
    while let Some(at) = search.next() {
        number += 1;
        // a connection that has seen this call before
        let ready = format!("ready-{number}");
        insist(&api.client, &ready).await;
        // until the last word of every call has passed: a connection is asked whether it lives when it is given back
        is_zero(&api.node, "api_database_connections{state=\"busy\"}").await;
        let word = format!("lost-{number}-at-{at}");
        proxy.set(Fault::LoseAnswersAfter(at));
        let body = job(QUICK, &word).to_string();
        let first = api.client.try_post("/v1/jobs", body, Some(&word)).await.unwrap();
        proxy.set(Fault::Pass);
        let before = ids_of(&word, db.pool()).await;
        let came = match (first.status, before.len()) {
            (201, 1) => Came::Answered,
            (503, 1) => Came::DoneInTheDark,
            (503, 0) => Came::Undone,
            _ => panic!("{first:?}, {before:?}"),
        };
        let again = insist(&api.client, &word).await;
        let ids = ids_of(&word, db.pool()).await;
        assert_eq!(ids, [again], "lost at {at}: {first:?}");
        assert!(before.is_empty() || before == ids, "{before:?} became {ids:?}");
        search.saw(at, came);
    }
}

/// Waits until a metric of the node has fallen to zero.
async fn is_zero(node: &Node, metric: &str) {
    eventually(LIMIT, metric, async || match node.metric(metric).await {
        0.0 => Ok(()),
        some => Err(some),
    })
    .await;
}

/// Submits a word under its own key until the database is there again, and returns the job's id.
async fn insist(client: &Client, word: &str) -> String {
    let answer = eventually(LIMIT, "an answer", async || {
        let answer = client.try_post("/v1/jobs", job(QUICK, word).to_string(), Some(word)).await.unwrap();
        if answer.status == 503 { Err(answer) } else { Ok(answer) }
    })
    .await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    id_of(&answer.json())
}

#[tokio::test]
async fn a_worker_that_loses_the_answer_of_its_settle_completes_the_job_once() {
    let db = TestDb::new().await;
    let proxy = FaultProxy::before(db.url()).await;
    // nothing else shall be on the line: one connection, and no look for work by the clock
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
        // a connection that has seen these calls before
        let ready = format!("ready-{number}");
        ledger.open(&ready, 1);
        api.client.completed(&api.client.submit(&job(GATE, &ready)).await).await;
        let word = format!("lost-{number}-at-{at}");
        let id = api.client.submit(&job(GATE, &word)).await;
        ledger.started(&word, 1).await;
        is_zero(&worker, "worker_unsettled_results").await;
        let before = Told::by(&worker).await;
        // in this order, so that it is the settle that meets the fault rather than anything before it
        ledger.open(&word, 1);
        proxy.set(Fault::LoseAnswersAfter(at));
        let failed = eventually(LIMIT, "the worker knows how its settle went", async || {
            let now = Told::by(&worker).await;
            if now == before { Err(()) } else { Ok(now.failures > before.failures) }
        })
        .await;
        let status = api.client.job(&id).await["status"].clone();
        proxy.set(Fault::Pass);
        let came = match (failed, status == "completed") {
            (false, true) => Came::Answered,
            (true, true) => Came::DoneInTheDark,
            (true, false) => Came::Undone,
            (false, false) => panic!("the worker believes that {id} is settled, but it is {status}"),
        };
        assert_eq!(api.client.completed(&id).await["result"], format!("{word} by attempt 1"));
        is_zero(&worker, "worker_unsettled_results").await;
        assert_eq!(api.client.endings(&id).await, ["completed"]);
        assert_eq!(ledger.executions_of(&word).len(), 1);
        search.saw(at, came);
    }
    let counted: i64 = sqlx::query_scalar(
        "SELECT sum(completed)::bigint FROM (SELECT completed FROM jobqueue.tally UNION ALL SELECT completed FROM jobqueue.counter) t",
    )
    .fetch_one(db.pool())
    .await
    .unwrap();
    assert_eq!(counted, 2 * number, "each was counted once");
}

/// What a worker was told about its calls so far.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Told {
    failures: f64,
    completed: f64,
}

impl Told {
    async fn by(worker: &Node) -> Self {
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
