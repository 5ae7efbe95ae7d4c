//! `edit`, `delete job`, `count`, and the new selectors.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::service::{KEY, Ran, Service, run};

const LATER: [&str; 2] = ["--delay-seconds", "3600"];

async fn waiting(service: &Service, payload: &str) -> String {
    service.submit(&["echo", payload, LATER[0], LATER[1]]).await
}

async fn job(service: &Service, id: &str) -> Value {
    service.json(&["get", "job", id]).await
}

/// Runs `edit ID` with a shell script as the editor.
async fn edited(service: &Service, id: &str, script: &str) -> Ran {
    let editor = service.home.file("editor", &format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o700)).unwrap();
    let url = format!("http://{}", service.address);
    let path = std::env::var("PATH").unwrap();
    let variables = [
        ("JOBQUEUE_URL", url.as_str()),
        ("JOBQUEUE_API_KEY", KEY),
        ("EDITOR", &editor),
        ("PATH", &path),
        ("TMPDIR", service.home.path().to_str().unwrap()),
    ];
    run(&service.home, &["edit", id], &variables, "").await
}

/// The files that an editor left.
fn left(service: &Service) -> Vec<String> {
    let names = std::fs::read_dir(service.home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with("jobqueue-edit-")).collect()
}

#[tokio::test]
async fn fields_and_patches_change_jobs_that_wait() {
    let service = Service::start().await;
    let id = waiting(&service, r#"{"a": 1.0, "big": 18446744073709551616}"#).await;
    let set = [
        "edit",
        &id,
        "--set",
        "priority=50",
        "--set",
        "queue=mail",
        "--set",
        "payload.b.c=x",
        "--set",
        "tags=[\"t\"]",
    ];
    let shown = service.json(&set).await;
    assert_eq!(
        (&shown["priority"], &shown["queue"], &shown["tags"]),
        (&json!(50), &json!("mail"), &json!(["t"]))
    );
    let payload = service.ok(&["get", "job", &id, "-o", "jsonpath=.payload"]).await;
    assert_eq!(payload.trim(), r#"{"a":1.0,"big":18446744073709551616,"b":{"c":"x"}}"#);
    service.ok(&["edit", &id, "-p", r#"{"payload": {"a": null}, "run_at": null}"#]).await;
    assert_eq!(job(&service, &id).await["status"], "queued");
    let from_stdin = service.fed(&["edit", &id, "-p", "-"], r#"{"priority": -1}"#).await;
    assert_eq!(from_stdin.code, 0, "{from_stdin:?}");
    assert_eq!(job(&service, &id).await["priority"], -1);

    let other = waiting(&service, "{}").await;
    let ids = format!("{id}\n{other}\n");
    let both = service.fed(&["edit", "-", "--set", "priority=7", "-o", "name"], &ids).await;
    assert_eq!((both.code, both.stdout.as_str()), (0, ids.as_str()), "{both:?}");
    let gone = service.submit(&["echo", "{}"]).await;
    service.ok(&["cancel", &gone]).await;
    let part = service.ran(&["edit", &gone, &other, "--set", "priority=8", "-o", "name"]).await;
    assert_eq!(
        (part.code, part.stdout.trim()),
        (4, other.as_str()),
        "the others are still changed: {part:?}"
    );
    assert!(part.stderr.contains("only a scheduled, queued or blocked job can be edited"), "{part:?}");

    service
        .ran(&["edit", &id, "--set", "priority=500"])
        .await
        .fails(4, "priority must be between -100 and 100");
    service.ran(&["edit", &id, "--set", "prioritty=5"]).await.fails(4, "prioritty");
    service.ran(&["edit", &id, "--set", "priority"]).await.fails(64, "FIELD=VALUE");
    service.ran(&["edit", &id, "-p", "{"]).await.fails(64, "not JSON");
    service.ran(&["edit", &id, &other]).await.fails(64, "an editor opens one job");
    service.fed(&["edit", "-", "-p", "-"], &ids).await.fails(64, "standard input cannot have both");
}

#[tokio::test]
async fn the_editor_gets_the_fields_and_its_changes_are_sent() {
    let service = Service::start().await;
    let id = waiting(&service, r#"{"a": 1.0, "old": true}"#).await;
    let script = r#"cp "$1" "$HOME/seen"; stat -c %a "$1" >"$HOME/mode"
        sed -i 's/"priority": 0/"priority": 9/; s/"old": true/"new": [1.50]/' "$1""#;
    let done = edited(&service, &id, script).await;
    assert_eq!(done.code, 0, "{done:?}");
    let seen = std::fs::read_to_string(service.home.path().join("seen")).unwrap();
    for field in ["queue", "priority", "run_at", "payload", "tags", "retry", "timeout_seconds"] {
        assert!(seen.contains(&format!("\"{field}\": ")), "{field}: {seen}");
    }
    assert_eq!(std::fs::read_to_string(service.home.path().join("mode")).unwrap().trim(), "600");
    assert_eq!(job(&service, &id).await["priority"], 9);
    let payload = service.ok(&["get", "job", &id, "-o", "jsonpath=.payload"]).await;
    assert_eq!(payload.trim(), r#"{"a":1.0,"new":[1.50]}"#);
    assert_eq!(left(&service), Vec::<String>::new());

    let same = edited(&service, &id, "true").await;
    assert_eq!((same.code, same.stderr.trim()), (0, "Nothing was changed."), "{same:?}");
    edited(&service, &id, "false").await.fails(64, "the editor");
    assert_eq!(left(&service), Vec::<String>::new());
    edited(&service, &id, r#"echo '{"priority": 500}' >"$1""#).await.fails(4, "your text is in");
    assert_eq!(left(&service).len(), 1, "nothing that was typed is lost");
    // another command changes the job while the editor is open
    let meanwhile = format!(
        r#"sed -i 's/"priority": 9/"priority": 10/' "$1"
        {} edit {id} --set queue=elsewhere >/dev/null"#,
        env!("CARGO_BIN_EXE_jobqueue"),
    );
    edited(&service, &id, &meanwhile).await.fails(4, "changed since");
    assert_eq!(
        (&job(&service, &id).await["priority"], &job(&service, &id).await["queue"]),
        (&json!(9), &json!("elsewhere"))
    );
    let ended = service.submit(&["echo", "{}"]).await;
    service.ok(&["cancel", &ended]).await;
    edited(&service, &ended, "true").await.fails(4, "is cancelled");
}

#[tokio::test]
async fn jobs_are_deleted_by_id_and_by_selector() {
    let service = Service::start().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let id = service.submit(&["echo", "{}", "--metadata", r#"{"team":"billing"}"#]).await;
        ids.push(id);
    }
    service.ok(&["cancel", &ids[0], &ids[1], &ids[2]]).await;
    assert_eq!(service.ok(&["delete", "job", &ids[0]]).await, format!("job {} deleted\n", ids[0]));
    service.ran(&["get", "job", &ids[0]]).await.fails(3, "not found");
    let again = service.ran(&["delete", "job", &ids[0], &ids[3]]).await;
    assert_eq!(again.code, 3, "{again:?}");
    assert!(again.stderr.contains("cancel it first"), "{again:?}");
    let dry = service.ran(&["delete", "job", &ids[1], &ids[3], "--dry-run"]).await;
    assert_eq!((dry.code, dry.stdout.trim()), (1, ids[1].as_str()), "{dry:?}");
    assert!(dry.stderr.contains("1 of 2 jobs would be changed; nothing was changed."), "{dry:?}");
    let selector = ["--metadata", "team=billing", "--error-type", "cancelled"];
    let dry = service.ran(&[&["delete", "jobs"], &selector[..], &["--dry-run"]].concat()).await;
    assert_eq!((dry.code, dry.stdout.lines().count()), (0, 2), "{dry:?}");
    service.ran(&[&["delete", "jobs"], &selector[..]].concat()).await.fails(64, "Delete 2 jobs?");
    let gone = service.ok(&[&["delete", "jobs"], &selector[..], &["--yes"]].concat()).await;
    assert_eq!(gone, "2 jobs changed, 0 refused\n");
    assert_eq!(service.ok(&["get", "jobs", "-o", "name"]).await.trim(), ids[3]);
    service.ran(&["delete", "jobs"]).await.fails(64, "say which jobs");
    service.ran(&["delete", "job", &ids[3], "--force"]).await.fails(64, "--force is for queues");
    service.ran(&["delete", "queue", "x", "--status", "failed"]).await.fails(64, "by its name");
    service.ran(&["delete", "worker", "x"]).await.fails(64, "cannot be deleted");
}

#[tokio::test]
async fn jobs_are_counted() {
    let service = Service::start().await;
    for n in 0..3 {
        let metadata = format!(r#"{{"n":{}}}"#, n % 2);
        service.submit(&["echo", "{}", "--metadata", &metadata, "--unique-key", &format!("k{n}")]).await;
    }
    for (args, count) in [
        (&[][..], "3"),
        (&["--status", "queued,failed"], "3"),
        (&["--metadata", "n=0"], "2"),
        (&["--unique-key", "k1"], "1"),
        (&["--limit", "2"], "more than 2"),
        (&["--finished-after", "2026-01-01T00:00:00Z"], "0"),
    ] {
        assert_eq!(service.ok(&[&["count"], args].concat()).await.trim(), count, "{args:?}");
    }
    assert_eq!(service.json(&["count"]).await, json!({ "count": 3, "exact": true }));
    service.ran(&["count", "--metadata", "n"]).await.fails(4, "metadata");
}

#[tokio::test]
async fn routes_and_schedules_are_edited_by_name() {
    let service = Service::start().await;
    let file = service.home.file(
        "routes.json",
        r#"{"routes": [{"name": "mail", "position": 7, "kind": "mail.*", "queue": "mail", "priority": 3}]}"#,
    );
    service.ok(&["route", "apply", "-f", &file]).await;
    let edited = service.json(&["edit", "route/mail", "--set", "queue=bulk", "--set", "priority=null"]).await;
    assert_eq!(edited["spec"], json!({ "position": 7, "kind": "mail.*", "queue": "bulk" }));
    let file = service
        .home
        .file("s.toml", "[schedules.nightly]\ncron = \"0 2 * * *\"\njob = { kind = \"k\", priority = 1 }\n");
    service.ok(&["schedule", "apply", "-f", &file]).await;
    let patch = r#"{"cron": "30 2 * * *", "job": {"queue": "q"}}"#;
    let edited = service.json(&["edit", "schedule/nightly", "-p", patch]).await;
    assert_eq!(edited["spec"]["job"], json!({ "kind": "k", "priority": 1, "queue": "q" }));
    service.ran(&["edit", "route/none", "--set", "priority=1"]).await.fails(3, "route none");
    service.ran(&["edit", "route/mail", "--set", "priority=500"]).await.fails(4, "priority");
    service.ran(&["edit", "route/mail"]).await.fails(64, "--set");
    service.ran(&["edit", "queue/mail", "--set", "priority=1"]).await.fails(64, "route/NAME");
}
