//! The SQL interface: the view `jobs`, and `jobqueue.enqueue()` in transactions of the caller.

use jobqueue_core::job::UniqueDraft;
use jobqueue_core::retry::RetryPolicy;
use jobqueue_core::{JobDraft, JobId, Json, Outcome, Status};
use jobqueue_store::Accepted;
use sqlx::Row as _;
use uuid::Uuid;

use crate::bench::{Bench, boom, delayed, draft, json, parse};

#[tokio::test]
async fn the_view_has_one_row_per_job_with_its_columns() {
    let bench = Bench::new().await;
    let done = bench
        .add(JobDraft {
            payload: Some(json("{\"n\": 1}")),
            tags: Some(vec!["t".into()]),
            priority: Some(3),
            ..draft()
        })
        .await;
    let leased = bench.lease_one().await;
    bench.end(leased, Outcome::Completed(Some(json("[2]")))).await;
    bench.dead(draft()).await;
    let stopped = bench.add(delayed(60.0)).await;
    bench.store.jobs().cancel(&[stopped], &boom()).await.unwrap();
    bench.add(draft()).await;
    bench.lease_one().await;
    bench.add_many(2).await;
    bench.add(delayed(60.0)).await;
    let rows = sqlx::query("SELECT status, count(*) AS n FROM jobs GROUP BY status ORDER BY status")
        .fetch_all(&bench.pool)
        .await
        .unwrap();
    let counts: Vec<(String, i64)> = rows.iter().map(|row| (row.get("status"), row.get("n"))).collect();
    let expected =
        [("cancelled", 1), ("completed", 1), ("failed", 1), ("queued", 2), ("running", 1), ("scheduled", 1)];
    assert_eq!(counts, expected.map(|(status, n)| (status.to_owned(), n)));
    for status in ["queued", "scheduled", "running", "completed", "failed", "cancelled"] {
        let sane = format!(
            "SELECT count(*) FROM jobs WHERE status = '{status}' AND queue = 'default' AND kind = 'noop' AND priority IN (0, 3)
             AND max_attempts = 10 AND payload IS NOT NULL AND created_at <= now() AND (run_at IS NOT NULL) = (status = 'scheduled')
             AND (finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))
             AND (worker_id IS NOT NULL) = (status IN ('running', 'completed', 'failed'))"
        );
        assert!(bench.count(&sane).await >= 1, "{status}");
    }
    let row = sqlx::query("SELECT payload::text, tags, result::text, attempt FROM jobs WHERE id = $1")
        .bind(done.as_uuid())
        .fetch_one(&bench.pool)
        .await
        .unwrap();
    assert_eq!(
        (row.get::<String, _>(0), row.get::<Vec<String>, _>(1)),
        ("{\"n\": 1}".into(), vec!["t".to_owned()])
    );
    assert_eq!((row.get::<String, _>(2), row.get::<i16, _>(3)), ("[2]".into(), 1));
}

#[tokio::test]
async fn counting_by_status_reads_only_the_narrow_table() {
    let bench = Bench::new().await;
    bench.add_many(10).await;
    bench.execute("ANALYZE").await;
    for (query, only) in [
        ("SELECT COUNT(*) FROM jobs WHERE status='queued'", "ready"),
        ("SELECT COUNT(*) FROM jobs WHERE status = 'scheduled'", "scheduled"),
        ("SELECT id, queue, priority FROM jobs WHERE status = 'queued' LIMIT 5", "ready"),
    ] {
        let plan: Vec<String> =
            sqlx::query_scalar(&format!("EXPLAIN (COSTS OFF) {query}")).fetch_all(&bench.pool).await.unwrap();
        let scans: Vec<&String> = plan
            .iter()
            .filter(|line| line.contains("Scan") && line.contains(" on ") && !line.contains("Subquery"))
            .collect();
        let narrow = |line: &&String| {
            ["ready r", "scheduled s", "lane l", "queue q"].iter().any(|name| line.contains(name))
        };
        assert!(
            !scans.is_empty() && scans.iter().all(narrow) && plan.iter().any(|line| line.contains(only)),
            "{plan:#?}"
        );
        if query.contains("COUNT") {
            assert_eq!(scans.len(), 1, "{plan:#?}");
        }
    }
}

/// Runs `jobqueue.enqueue(…)` in a transaction and commits it or rolls it back.
async fn enqueue(bench: &Bench, arguments: &str, commit: bool) -> Result<JobId, String> {
    let mut transaction = bench.pool.begin().await.unwrap();
    let id: Result<Uuid, _> = sqlx::query_scalar(&format!("SELECT jobqueue.enqueue({arguments})"))
        .fetch_one(&mut *transaction)
        .await;
    let id = id
        .map(JobId::from_uuid)
        .map_err(|error| error.as_database_error().unwrap().code().unwrap().into_owned())?;
    let outside = bench.store.job(id).await.unwrap();
    assert!(outside.is_none(), "no other session sees it before the commit");
    if commit {
        transaction.commit().await.unwrap();
    } else {
        transaction.rollback().await.unwrap();
    }
    Ok(id)
}

#[tokio::test]
async fn a_job_exists_if_and_only_if_its_transaction_commits() {
    let bench = Bench::new().await;
    let id = enqueue(&bench, "'mail', '{\"to\" : 1}'", true).await.unwrap();
    let record = bench.record(id).await;
    assert_eq!(
        (record.status, record.job.kind.as_str(), record.job.payload.as_str()),
        (Status::Queued, "mail", "{\"to\" : 1}")
    );
    assert_eq!((record.job.max_attempts, record.job.priority, record.job.queue.as_str()), (10, 0, "default"));
    assert_eq!(id.as_uuid().get_version_num(), 7);
    let gone = enqueue(&bench, "'mail', unique_key => 'k'", false).await.unwrap();
    assert_eq!(bench.store.job(gone).await.unwrap(), None);
    let full = "kind => 'a.b', payload => '[1e2]', queue => 'q', priority => -7, delay_seconds => 60, expires_at => '2100-01-01Z',
                max_attempts => 3, retry => '{\"strategy\":\"fixed\",\"delay_seconds\":1}', timeout_seconds => 90, unique_key => 'k',
                tags => '{x,\"y z\"}', metadata => '{}', traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'";
    let id = enqueue(&bench, full, true).await.unwrap();
    let record = bench.record(id).await;
    let job = record.job;
    assert_eq!(
        (record.status, job.queue.as_str(), job.priority, job.max_attempts),
        (Status::Scheduled, "q", -7, 3)
    );
    assert_eq!(
        (job.timeout.unwrap().as_secs(), job.tags, job.unique_key.as_deref()),
        (90, vec!["x".to_owned(), "y z".to_owned()], Some("k"))
    );
    assert!(
        job.retry.is_some()
            && job.metadata.is_some()
            && job.traceparent.is_some()
            && job.expires_at.is_some()
    );
    assert_eq!(bench.count("SELECT sum(created) FROM jobqueue.tally").await, 2);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.expiry").await, 1);
}

#[tokio::test]
async fn unique_keys_are_shared_with_the_api() {
    let bench = Bench::new().await;
    for key in ["k", "schlüssel 😀", &"x".repeat(255)] {
        let id = enqueue(&bench, &format!("'mail', unique_key => '{key}'"), true).await.unwrap();
        let unique = Some(UniqueDraft { key: key.into(), ..UniqueDraft::default() });
        let draft = JobDraft { kind: "mail".into(), unique, ..JobDraft::default() };
        let parsed = parse(draft.clone());
        let digest = parsed.unique.unwrap().digest(&parsed.queue, &parsed.kind);
        let stored: Uuid = sqlx::query_scalar("SELECT digest FROM jobqueue.unique_claim WHERE job_id = $1")
            .bind(id.as_uuid())
            .fetch_one(&bench.pool)
            .await
            .unwrap();
        assert_eq!(stored, digest);
        assert_eq!(bench.submit(vec![draft.clone()]).await, [Accepted::Existing(id)]);
        let again: Uuid =
            sqlx::query_scalar(&format!("SELECT jobqueue.enqueue('mail', unique_key => '{key}')"))
                .fetch_one(&bench.pool)
                .await
                .unwrap();
        assert_eq!(again, id.as_uuid());
        let leased = bench.lease_one().await;
        assert_eq!(leased.job.unique_key.as_deref(), Some(key));
        bench.end(leased, Outcome::Completed(None)).await;
        crate::bench::created(bench.submit(vec![draft]).await[0]);
        let leased = bench.lease_one().await;
        bench.end(leased, Outcome::Completed(None)).await;
    }
}

#[tokio::test]
async fn what_the_api_rejects_is_rejected() {
    let bench = Bench::new().await;
    for bad in [
        "NULL",
        "''",
        "'a b'",
        "'a/b'",
        "'-a'",
        "repeat('k', 129)",
        "'k', queue => ''",
        "'k', queue => repeat('q', 65)",
        "'k', payload => NULL",
        "'k', payload => to_json(repeat('x', 1048576))",
        "'k', priority => 101",
        "'k', priority => -101",
        "'k', max_attempts => 0",
        "'k', max_attempts => 1001",
        "'k', run_at => now(), delay_seconds => 1",
        "'k', run_at => 'infinity'",
        "'k', run_at => '-infinity'",
        "'k', run_at => '20000-01-01Z'",
        "'k', expires_at => 'infinity'",
        "'k', expires_at => '1900-01-01Z'",
        "'k', delay_seconds => 172800, expires_at => now() + interval '1 day'",
        "'k', timeout_seconds => 0",
        "'k', timeout_seconds => 'NaN'",
        "'k', timeout_seconds => 'Infinity'",
        "'k', retry => '[]'",
        "'k', retry => '1'",
        "'k', retry => '{}'",
        "'k', retry => '{\"strategy\":\"never\"}'",
        "'k', unique_key => ''",
        "'k', unique_key => repeat('x', 256)",
        "'k', tags => '{a,NULL}'",
        "'k', tags => '{\"\"}'",
        "'k', tags => ARRAY[repeat('x', 65)]",
        "'k', tags => '{{a},{b}}'",
        "'k', tags => array_fill('x'::text, ARRAY[21])",
        "'k', metadata => '[]'",
        "'k', metadata => json_build_object('a', repeat('x', 16384))",
        "'k', traceparent => 'x'",
        "'k', delay_seconds => 'NaN'",
        "'k', delay_seconds => '-Infinity'",
        "'k', unique_key => 'a', \"unique\" => '{}'",
        r"'k', unique_key => E'a\u202eb'",
        r"'k', tags => ARRAY[E'a\tb']",
        r#"'k', metadata => '{"a":1,"a":2}'"#,
        r#"'k', metadata => '{"a":"\u0000"}'"#,
    ] {
        assert_eq!(enqueue(&bench, bad, true).await, Err("22023".to_owned()), "{bad}");
    }
    assert_eq!(bench.count("SELECT count(*) FROM jobs").await, 0);
    assert_eq!(bench.count("SELECT count(*) FROM jobqueue.unique_claim").await, 0);
}

/// The documents that `jobqueue_core::json` accepts and rejects.
#[tokio::test]
async fn json_is_as_strict_as_over_rest() {
    let bench = Bench::new().await;
    let long = [1, 5, 9].map(|digit| format!("[{}]", digit.to_string().repeat(309)));
    let nested = [64, 65, 3000].map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    let documents = [
        "null",
        r#"{ "b":1 , "a" : [18446744073709551616, 0.10, 1E5, -0] }"#,
        r#""\ud83d\ude00 😀 \u00e9""#,
        r#"{"a":{"a":1},"b":{"a":2},"c:":"x:{[\" "}"#,
        "[1e308,0e999,-1.7e308]",
        r#""\\u0000""#,
        r#"{"\u0061":1,"b":2}"#,
        "1e400",
        "[1,-1e400]",
        "1e99999",
        r#"{"a":1,"a":2}"#,
        r#"{"x":[{"a":1,"a":2}]}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":"\u003a","b":1,"b":2}"#,
        r#""\u0000""#,
        r#"{"\u0000":1}"#,
        r#""\ud800""#,
        r#""\udc00x""#,
    ];
    for document in documents.into_iter().map(str::to_owned).chain(long).chain(nested) {
        let refused = Json::parse(document.clone()).is_err();
        let stored = enqueue(&bench, &format!("'k', $j${document}$j$"), true).await;
        let verdict = stored.map_or_else(|code| code == "22023", |_| false);
        assert_eq!(verdict, refused, "{document:.60}");
    }
}

#[tokio::test]
async fn retry_policies_are_checked_like_over_rest() {
    let bench = Bench::new().await;
    for policy in [
        r#"{"strategy":"fixed","delay_seconds":1}"#,
        r#"{"strategy":"exponential"}"#,
        r#"{"strategy":"exponential","base_seconds":0.5,"factor":2,"max_seconds":10,"jitter":0}"#,
        r#"{"strategy":"linear","step_seconds":3}"#,
        r#"{"strategy":"list","delays_seconds":[1,2.5]}"#,
        r#"{"strategy":"fixed","delay_seconds":-1}"#,
        r#"{"strategy":"fixed","delay_seconds":604801}"#,
        r#"{"strategy":"fixed","delay_seconds":null}"#,
        r#"{"strategy":"fixed","delay_seconds":"1"}"#,
        r#"{"strategy":"fixed"}"#,
        r#"{"strategy":"fixed","delay":1}"#,
        r#"{"strategy":"exponential","factor":0.5}"#,
        r#"{"strategy":"exponential","jitter":2}"#,
        r#"{"strategy":"linear"}"#,
        r#"{"strategy":"linear","step_seconds":1,"x":1}"#,
        r#"{"strategy":"list"}"#,
        r#"{"strategy":"list","delays_seconds":[]}"#,
        r#"{"strategy":"list","delays_seconds":[1,"2"]}"#,
        r#"{"strategy":"list","delays_seconds":[1],"x":2}"#,
        r#"{"strategy":"never"}"#,
        "{}",
    ] {
        let parsed = serde_json::from_str::<RetryPolicy>(policy);
        let accepted = parsed.is_ok_and(|policy| policy.check().is_empty());
        let stored = enqueue(&bench, &format!("'k', retry => $j${policy}$j$"), true).await;
        match stored {
            Ok(_) => assert!(accepted, "{policy}"),
            Err(code) => assert!(!accepted && code == "22023", "{code} {policy}"),
        }
    }
}
