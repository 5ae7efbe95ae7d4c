//! `submit --lines`: many jobs from a file.

use serde_json::json;

use crate::service::{Service, json_lines};

#[tokio::test]
async fn each_line_is_a_payload_or_a_job() {
    let service = Service::start().await;
    let lines = json_lines((0..1_203).map(|n| json!({ "n": n })));
    let file = service.home.file("payloads.jsonl", &lines);
    let names = service.ok(&["submit", "echo", "--lines", &file, "-q", "mail", "-o", "name"]).await;
    assert_eq!(names.lines().count(), 1_203);
    assert_eq!(
        service.db.number("SELECT count(*) FROM jobs WHERE queue = 'mail' AND kind = 'echo'").await,
        1_203
    );
    let first = service.ok(&["get", "job", names.lines().next().unwrap(), "-o", "jsonpath=.payload"]).await;
    assert_eq!(first, "{\"n\":0}\n");

    let jobs = "{\"kind\": \"a\", \"payload\": 1.50}\n\n  {\"kind\":\"b\",\"queue\":\"other\"}";
    let ran = service.fed(&["submit", "--lines", "-", "-o", "jsonpath=.payload"], jobs).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "1.50\n{}\n"), "{ran:?}");
    let large = json_lines((0..12).map(|_| json!("x".repeat(900_000))));
    let ran = service.fed(&["submit", "echo", "--lines", "-", "-o", "name"], &large).await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 12), "{}", ran.stderr);
}

#[tokio::test]
async fn a_line_that_is_refused_is_reported_with_its_number() {
    let service = Service::start().await;
    let lines = "{\"kind\": \"a\"}\n{\"kind\": \"no spaces\"}\n{\"kind\": \"b\", \"priorty\": 1}\n{\"kind\": \"c\"}\n";
    let ran = service.fed(&["submit", "--lines", "-", "-o", "name"], lines).await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (1, 2), "{ran:?}");
    assert!(ran.stderr.contains("line 2: ") && ran.stderr.contains("line 3: "), "{ran:?}");
    service.fed(&["submit", "k", "--lines", "-"], "1\n{\n").await.fails(64, "line 2 is not JSON");
    service.fed(&["submit", "--lines", "-", "-q", "mail"], "{}").await.fails(64, "without a kind");
}
