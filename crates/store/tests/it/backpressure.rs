//! Queues with `max_queued`: what is refused, what is not, and by how much the limit can be exceeded.

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::{JobDraft, OnConflict, Outcome, QueueName, Status};
use jobqueue_store::{Accepted, Answer, Idempotency, QueueSettings, Retried, Store, Submission};

use crate::bench::{Bench, created, delayed, draft, failed, served, start, submission};

const SQL_ENQUEUE: &str = "SELECT jobqueue.enqueue('noop')";

impl Bench {
    /// Limits the queue `default`. The store of the bench refuses jobs from then on.
    async fn limit(&self, max_queued: Option<u64>) {
        let queue: QueueName = "default".parse().unwrap();
        self.store.queues().create(&queue).await.unwrap();
        let settings = QueueSettings { max_queued: Some(max_queued), ..QueueSettings::default() };
        assert!(self.store.queues().configure(&queue, settings).await.unwrap());
        self.refresh().await;
        assert_eq!(self.store.queues().get(&queue).await.unwrap().unwrap().max_queued, max_queued);
    }

    async fn queued(&self) -> i64 {
        self.count("SELECT count(*) FROM jobs WHERE status = 'queued'").await
    }

    async fn refresh(&self) {
        self.store.refresh_queue_rooms().await.unwrap();
    }

    async fn atomic(&self, drafts: Vec<JobDraft>) -> Vec<Accepted> {
        let request = Submission { atomic: true, ..submission(drafts) };
        served(self.store.enqueue(&[request]).await.unwrap().pop().unwrap())
    }

    /// The code of the error of a statement.
    async fn sql_error(&self, sql: &str) -> Option<String> {
        let error = sqlx::raw_sql(sql).execute(&self.pool).await.err()?;
        error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
    }
}

fn is_full(accepted: Accepted) -> bool {
    matches!(accepted, Accepted::Full { .. })
}

fn keyed(key: &str, on_conflict: OnConflict) -> JobDraft {
    JobDraft {
        unique: Some(UniqueDraft { key: key.into(), on_conflict, ..UniqueDraft::default() }),
        ..draft()
    }
}

fn in_queue(queue: &str) -> JobDraft {
    JobDraft { queue: Some(queue.into()), ..draft() }
}

/// How many of 64 submissions at the same time are accepted.
async fn accepted_of_64(stores: &[Store]) -> usize {
    let calls: Vec<_> = (0..64)
        .map(|at| {
            let store = stores[at % stores.len()].clone();
            start(async move { store.enqueue(&[submission(vec![draft()])]).await.unwrap() })
        })
        .collect();
    let mut accepted = 0;
    for call in calls {
        let one = served(call.await.unwrap().pop().unwrap())[0];
        accepted += usize::from(!is_full(one));
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_never_exceeds_the_limit() {
    let bench = Bench::new().await;
    bench.limit(Some(10)).await;
    let stores = [bench.store.clone()];
    assert_eq!(accepted_of_64(&stores).await, 10);
    assert_eq!(bench.queued().await, 10);
    bench.refresh().await;
    assert_eq!(accepted_of_64(&stores).await, 0, "a reading finds the same");
    // also the count of the census, which removes the tallies
    assert!(bench.store.take_census(10).await.unwrap());
    bench.refresh().await;
    assert_eq!(accepted_of_64(&stores).await, 0);
    assert_eq!(bench.lease(4).await.len(), 4);
    bench.refresh().await;
    assert_eq!(accepted_of_64(&stores).await, 4, "leased jobs make room");
    bench.limit(None).await;
    assert_eq!(accepted_of_64(&stores).await, 64);
    bench.limit(Some(0)).await;
    assert_eq!(accepted_of_64(&stores).await, 0, "0 refuses all");
}

/// What docs/adr/0028-backpressure.md promises: at most what the others submit between two readings.
#[tokio::test(flavor = "multi_thread")]
async fn several_processes_exceed_it_by_what_the_others_store_between_two_readings() {
    let bench = Bench::new().await;
    bench.limit(Some(10)).await;
    let stores = [bench.store.clone(), Store::from_pool(bench.pool.clone())];
    stores[1].refresh_queue_rooms().await.unwrap();
    assert_eq!(accepted_of_64(&stores).await, 20, "each has room for ten");
    for store in &stores {
        store.refresh_queue_rooms().await.unwrap();
    }
    assert_eq!(accepted_of_64(&stores).await, 0);
    assert_eq!(bench.queued().await, 20);
}

#[tokio::test]
async fn only_submissions_that_would_be_queued_at_once_are_refused() {
    let bench = Bench::new().await;
    bench.add(JobDraft { max_attempts: Some(1), ..draft() }).await;
    let dead = bench.lease_one().await;
    let id = dead.job.id;
    bench.end(dead, failed()).await;
    bench.add(keyed("taken", OnConflict::Return)).await;
    bench.limit(Some(1)).await;
    assert!(is_full(bench.submit(vec![draft()]).await[0]));
    created(bench.submit(vec![delayed(60.0)]).await[0]);
    created(bench.submit(vec![in_queue("other")]).await[0]);
    // the key decides first, and a replaced job makes room for the one that replaces it
    for conflict in [OnConflict::Return, OnConflict::Reject, OnConflict::Replace] {
        assert!(!is_full(bench.submit(vec![keyed("taken", conflict)]).await[0]), "{conflict:?}");
    }
    // what operators and the queue itself do is not refused
    assert_eq!(bench.store.jobs().retry(&[id]).await.unwrap(), [Retried::Now]);
    assert_eq!(bench.queued().await, 3, "two of them in the queue with the limit");
}

#[tokio::test]
async fn a_refused_request_claims_no_key() {
    let bench = Bench::new().await;
    bench.limit(Some(0)).await;
    let with_key = || Submission {
        idempotency: Some(Idempotency::new("test", "a", "body")),
        ..submission(vec![keyed("k", OnConflict::Return), keyed("k", OnConflict::Return)])
    };
    let send = async || bench.store.enqueue(&[with_key()]).await.unwrap().pop().unwrap();
    assert!(served(send().await).into_iter().all(is_full), "also the second job with the key of the first");
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, 0);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.idempotency").await, 0);
    bench.limit(Some(1)).await;
    let first = send().await;
    let Answer::Served { jobs, replayed: false } = first else { panic!("{first:?}") };
    assert_eq!(jobs[1], Accepted::Existing(created(jobs[0])));
    // the queue is full now, but a repeated request gets its answer
    assert_eq!(send().await, Answer::Served { jobs, replayed: true });
}

#[tokio::test]
async fn an_atomic_batch_is_stored_as_a_whole_or_not() {
    let bench = Bench::new().await;
    bench.limit(Some(3)).await;
    let refused = bench.atomic(vec![draft(), draft(), in_queue("other"), draft(), draft()]).await;
    assert_eq!(refused[2], Accepted::NotTried);
    assert_eq!(refused.iter().filter(|one| is_full(**one)).count(), 4);
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 0);
    assert!(!bench.atomic(vec![draft(), draft(), in_queue("other")]).await.into_iter().any(is_full));
    let items = bench.submit(vec![draft(), draft(), in_queue("other")]).await;
    assert_eq!(items.into_iter().map(is_full).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(bench.queued().await, 5, "three of them in the queue with the limit");
}

#[tokio::test]
async fn the_wait_is_computed_from_the_drain_rate() {
    let bench = Bench::new().await;
    bench.limit(Some(0)).await;
    assert_eq!(
        bench.submit(vec![draft()]).await,
        [Accepted::Full { retry_after_seconds: 30 }],
        "it never fits"
    );
    bench.limit(Some(1)).await;
    assert!(!is_full(bench.submit(vec![draft()]).await[0]));
    let seconds = async || match bench.submit(vec![draft()]).await[0] {
        Accepted::Full { retry_after_seconds } => retry_after_seconds,
        other => panic!("{other:?}"),
    };
    assert_eq!(seconds().await, 30, "no attempt has ended yet");
    assert!(bench.store.take_census(10).await.unwrap());
    bench.execute("UPDATE jobqueue.census SET attempts = 0.25").await;
    bench.refresh().await;
    assert_eq!((seconds().await, seconds().await), (4, 8), "one job in four seconds, and the next after it");
    bench.execute("UPDATE jobqueue.queue SET paused_at = now()").await;
    bench.refresh().await;
    assert_eq!(seconds().await, 30, "nothing drains a paused queue");
}

#[tokio::test]
async fn sql_submissions_are_refused_too() {
    let bench = Bench::new().await;
    bench.execute(SQL_ENQUEUE).await;
    bench.limit(Some(3)).await;
    // a transaction counts its own jobs
    let three = format!("BEGIN; {SQL_ENQUEUE}; {SQL_ENQUEUE}; {SQL_ENQUEUE}; COMMIT");
    let mut session = bench.pool.acquire().await.unwrap();
    let error = sqlx::raw_sql(&three).execute(&mut *session).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "53400");
    sqlx::raw_sql("ROLLBACK").execute(&mut *session).await.unwrap();
    drop(session);
    bench.execute(&format!("{SQL_ENQUEUE}; {SQL_ENQUEUE}")).await;
    for sql in [
        SQL_ENQUEUE,
        "SELECT jobqueue.enqueue('noop', priority => 7)",
        "SELECT jobqueue.enqueue('new')",
        "SELECT jobqueue.enqueue('noop', run_at => now() - interval '1 s')",
        "SELECT jobqueue.enqueue('noop', unique_key => 'free')",
    ] {
        assert_eq!(bench.sql_error(sql).await.as_deref(), Some("53400"), "{sql}");
    }
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, 0);
    bench.execute("SELECT jobqueue.enqueue('noop', delay_seconds => 60)").await;
    bench.execute("SELECT jobqueue.enqueue('noop', queue => 'other')").await;
    assert_eq!(bench.queued().await, 4);
    // jobs of SQL count for the API, and the other way round
    bench.refresh().await;
    assert!(is_full(bench.submit(vec![draft()]).await[0]));
    for leased in bench.lease(2).await {
        bench.end(leased, Outcome::Completed(None)).await;
    }
    bench.execute("SELECT jobqueue.enqueue('noop', unique_key => 'k')").await;
    let holder = bench.count("SELECT count(*) FROM jobqueue.unique_claim").await;
    assert_eq!(holder, 1);
    bench.execute("SELECT jobqueue.enqueue('noop', unique_key => 'k')").await;
    bench
        .execute(r#"SELECT jobqueue.enqueue('noop', "unique" => '{"key": "k", "on_conflict": "replace"}')"#)
        .await;
    let cancelled = "SELECT count(*) FROM jobs WHERE status = 'cancelled'";
    assert_eq!(bench.count(cancelled).await, 1, "it replaced the job, although the queue is full");
}

#[tokio::test]
async fn a_deleted_queue_has_no_limit() {
    let bench = Bench::new().await;
    bench.limit(Some(0)).await;
    assert!(bench.store.take_census(10).await.unwrap());
    let queue: QueueName = "default".parse().unwrap();
    bench.store.queues().delete(&queue).await.unwrap();
    bench.refresh().await;
    let id = bench.add(draft()).await;
    assert_eq!(bench.status(id).await, Status::Queued);
    assert_eq!(bench.store.queues().get(&queue).await.unwrap().unwrap().max_queued, None);
}

#[tokio::test]
async fn a_submission_that_is_undone_gives_its_place_back() {
    let bench = Bench::new().await;
    bench.limit(Some(1)).await;
    bench.execute("ALTER TABLE jobqueue.body ADD CONSTRAINT no_odd CHECK (NOT 'odd' = ANY (tags))").await;
    let odd = JobDraft { tags: Some(vec!["odd".into()]), ..draft() };
    for _ in 0..3 {
        bench.store.enqueue(&[submission(vec![odd.clone()])]).await.unwrap_err();
    }
    let fits = bench.atomic(vec![draft()]).await;
    assert!(!is_full(fits[0]), "{fits:?}");
    assert!(is_full(bench.atomic(vec![draft()]).await[0]));
}
