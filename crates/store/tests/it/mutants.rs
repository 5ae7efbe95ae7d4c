//! Proves that the checker detects errors: the actors of `property` run on a store that is sabotaged, in each test in
//! another way.

use std::time::Duration;

use jobqueue_core::Lease;
use jobqueue_testkit::TestDb;
use sqlx::Row as _;

use crate::bench::start;
use crate::property::World;

/// Runs the actors while `sabotage` is executed repeatedly; the violations must contain `law`. Chance and a busy
/// machine can hide the violation, so there are several rounds.
async fn is_detected(sabotage: &'static str, law: &str) {
    let mut verdicts = Vec::new();
    for _ in 0..8 {
        verdicts = violations_with(sabotage).await;
        if verdicts.iter().any(|what| what.starts_with(law)) {
            return;
        }
    }
    panic!("{law} was not seen: {verdicts:#?}");
}

async fn violations_with(sabotage: &'static str) -> Vec<String> {
    let db = TestDb::new().await;
    let world = World::new(&db, Duration::from_secs(2));
    let (saboteur, pool) = (world.clone(), db.pool().clone());
    let broken = start(async move {
        let mut worked = 0;
        while saboteur.is_running() {
            // it may conflict with the actors' transactions
            worked += u32::from(sqlx::raw_sql(sabotage).execute(&pool).await.is_ok());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        worked
    });
    let verdict = world.run(rand::random()).await;
    assert!(broken.await.unwrap() > 0, "it was not broken at all");
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_loses_a_job_is_detected() {
    is_detected(
        "DELETE FROM jobqueue.scheduled WHERE job_id = (SELECT job_id FROM jobqueue.scheduled LIMIT 1)",
        "I13",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_loses_an_accepted_job_completely_is_detected() {
    is_detected(
        "WITH gone AS (DELETE FROM jobqueue.outcome WHERE job_id = (SELECT job_id FROM jobqueue.outcome LIMIT 1) RETURNING job_id),
              body AS (DELETE FROM jobqueue.body WHERE id IN (SELECT job_id FROM gone))
         INSERT INTO jobqueue.tally (queue_id, pruned) SELECT 1, 1 FROM gone",
        "I1",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_grants_a_job_twice_is_detected() {
    is_detected(
        "INSERT INTO jobqueue.ready SELECT j.id, b.lane, b.kind, 0 FROM jobqueue.lease_jobs h, unnest(h.job_ids) AS j (id)
         JOIN jobqueue.body b ON b.id = j.id LIMIT 5 ON CONFLICT DO NOTHING",
        "I13",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forgets_dead_letters_is_detected() {
    is_detected("DELETE FROM jobqueue.dead_letter", "D1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_count_dead_letters_is_detected() {
    is_detected("DELETE FROM jobqueue.dead_letter_tally", "D2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_loses_keys_is_detected() {
    is_detected("DELETE FROM jobqueue.unique_claim", "I10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_starts_jobs_too_early_is_detected() {
    is_detected(
        "WITH early AS (DELETE FROM jobqueue.scheduled s USING jobqueue.body b WHERE b.id = s.job_id AND b.run_at > clock_timestamp()
                        RETURNING s.job_id, s.lane, s.kind, s.attempt),
              run AS (INSERT INTO jobqueue.lease SELECT nextval('jobqueue.lease_epoch'), gen_random_uuid(), NULL, 1, now(), now() + interval '1 h', 1
                      WHERE EXISTS (SELECT FROM early) RETURNING epoch)
         INSERT INTO jobqueue.lease_jobs SELECT epoch, (SELECT min(lane) FROM early), (SELECT array_agg(job_id) FROM early),
                (SELECT array_agg((attempt + 1)::smallint) FROM early), (SELECT array_agg(kind) FROM early) FROM run",
        "I5",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_count_attempts_is_detected() {
    is_detected("UPDATE jobqueue.scheduled SET attempt = 0 WHERE attempt > 0; UPDATE jobqueue.ready SET attempt = 0 WHERE attempt > 0", "I6").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_statistics_lose_an_event_is_detected() {
    is_detected("UPDATE jobqueue.statistic SET created = created - 1 WHERE hourly AND created > 0", "S1")
        .await;
    is_detected("UPDATE jobqueue.statistic SET completed = completed + 1 WHERE NOT hourly", "S2").await;
    is_detected("UPDATE jobqueue.statistic SET failed = failed + 1 WHERE queue_id > 0 AND kind_id > 0", "S3")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_a_token_check_is_detected() {
    let db = TestDb::new().await;
    let world = World { tokens_leak: true, ..World::new(&db, Duration::from_secs(3)) };
    let verdict = world.run(rand::random()).await;
    assert!(verdict.iter().any(|what| what.starts_with("I4") || what.starts_with("I5")), "{verdict:#?}");
}

/// The current lease of the job of an older lease.
pub(crate) async fn current_lease(world: &World, lease: &Lease) -> Lease {
    let row = sqlx::query(
        "SELECT l.epoch, l.token, (array_position(h.job_ids, $1) - 1)::int AS ordinal FROM jobqueue.lease l
         JOIN jobqueue.lease_jobs h ON h.epoch = l.epoch WHERE $1 = ANY (h.job_ids) ORDER BY l.epoch DESC LIMIT 1",
    )
    .bind(lease.job_id().as_uuid())
    .fetch_optional(&world.pool)
    .await
    .unwrap();
    let good = row.and_then(|row| {
        let ordinal = u8::try_from(row.get::<i32, _>("ordinal")).unwrap();
        Lease::grant(row.get("epoch"), row.get("token"), lease.job_id(), ordinal, lease.attempt())
    });
    good.unwrap_or_else(|| crate::bench::copy(lease))
}
