//! `submit`: the fields, and where a payload comes from.

use serde_json::json;

use crate::service::Service;

#[tokio::test]
async fn every_field_arrives() {
    let service = Service::start().await;
    let args = [
        "submit",
        "echo",
        "[1.0]",
        "-q",
        "mail",
        "--priority",
        "-5",
        "--run-at",
        "2099-01-01T00:00:00Z",
        "--expires-at",
        "2099-02-01T00:00:00Z",
        "--max-attempts",
        "7",
        "--timeout-seconds",
        "1.5",
        "-t",
        "x",
        "--tag",
        "y",
        "--metadata",
        "{\"m\": 1}",
        "--unique-key",
        "k\"1",
        "--on-conflict",
        "reject",
    ];
    let job = service.json(&args).await;
    let expected = json!({
        "kind": "echo", "queue": "mail", "priority": -5, "max_attempts": 7, "timeout_seconds": 1.5, "tags": ["x", "y"],
        "metadata": {"m": 1}, "unique_key": "k\"1", "status": "scheduled", "payload": [1.0],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&job[name], value, "{name}: {job}");
    }
    assert!(job["run_at"].as_str().unwrap().starts_with("2099-01-01"), "{job}");
    service.ran(&args).await.fails(4, "unique");
    service.ran(&["submit", "echo", "--priority", "500"]).await.fails(4, "priority must be");
    service.ran(&["submit", "no spaces"]).await.fails(4, "kind");
}

#[tokio::test]
async fn a_payload_comes_from_an_argument_a_file_or_standard_input() {
    let service = Service::start().await;
    let file = service.home.file("payload.json", "{\"from\": \"file\"}\n");
    let payload = "jsonpath=.payload";
    assert_eq!(
        service.ok(&["submit", "echo", "--payload-file", &file, "-o", payload]).await,
        "{\"from\": \"file\"}\n"
    );
    assert_eq!(service.fed(&["submit", "echo", "-", "-o", payload], " [1 ]").await.stdout, "[1 ]\n");
    assert_eq!(service.ok(&["submit", "echo", "-o", payload]).await, "{}\n");
    service.ran(&["submit", "echo", "--payload-file", "/no/such/file"]).await.fails(64, "cannot be read");
    let ran = service.ran(&["submit", "echo", "{}", "--payload-file", &file]).await;
    assert_eq!(ran.code, 64, "{ran:?}");
    assert_eq!(service.ran(&["submit"]).await.code, 64);
}

#[tokio::test]
async fn a_webhook_takes_its_secrets_from_a_file() {
    let service = Service::start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let file = service.home.file("secret", &format!("{secret}\n{secret}\n"));
    let submit = ["submit", "echo", "--delay-seconds", "600", "--on-end", "https://hooks.example.com/jobs"];
    let with = |more: &[&'static str]| [&submit, more].concat();
    let job = service
        .json(&[&submit[..], &["--on-end-secret-file", &file, "--on-end-queue", "hooks"]].concat())
        .await;
    assert_eq!(job["webhook_url"], "https://hooks.example.com/jobs");
    let stored = format!(
        "SELECT count(*) FROM jobqueue.body WHERE on_end_secret = '{secret} {secret}' AND on_end->>'queue' = 'hooks'"
    );
    assert_eq!(service.db.number(&stored).await, 1);
    let ran = service.fed(&with(&["--on-end-secret-file", "-"]), "hunter2").await;
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    ran.fails(4, "secret");
    assert_eq!(service.ran(&with(&[])).await.code, 64, "a webhook is always signed");
}
