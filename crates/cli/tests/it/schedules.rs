//! `schedule`: from a file to jobs.

use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::service::{Home, KEY, Service, run};

/// The component of the manifests that applies a file.
const COMPONENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../k8s/components/schedules");

const FILE: &str = r#"
owner = "shop"

[schedules.nightly]
cron = "0 2 * * *"
time_zone = "Europe/Berlin"
job = { kind = "report.build", payload = { days = 1 } }

[schedules.often]
interval_seconds = 60
job.kind = "sync"
"#;

#[tokio::test]
async fn a_file_is_applied_and_what_it_owns_is_pruned() {
    let service = Service::start().await;
    let file = service.home.file("schedules.toml", FILE);
    let apply = ["schedule", "apply", "-f", file.as_str()];
    let with = |more: &[&'static str]| [&apply[..], more].concat();
    let planned = service.ok(&with(&["--dry-run"])).await;
    assert_eq!(planned, "schedule nightly would be created\nschedule often would be created\n");
    assert_eq!(service.ok(&["schedule", "list", "-o", "name"]).await, "");
    assert_eq!(service.ok(&apply).await, "schedule nightly created\nschedule often created\n");
    assert_eq!(service.ok(&apply).await, "schedule nightly unchanged\nschedule often unchanged\n");

    let changed = FILE.replace("0 2 *", "0 3 *").replace("[schedules.often]", "[schedules.seldom]");
    service.home.file("schedules.toml", &changed);
    let planned = service.ok(&with(&["--dry-run", "--prune"])).await;
    assert!(planned.contains("cron: \"0 2 * * *\" → \"0 3 * * *\""), "{planned}");
    assert!(
        planned.contains("often would be deleted") && planned.contains("seldom would be created"),
        "{planned}"
    );
    service.ran(&with(&["--prune"])).await.fails(64, "--yes");
    service.ok(&with(&["--prune", "--yes"])).await;
    assert_eq!(service.ok(&["get", "schedules", "-o", "name"]).await, "nightly\nseldom\n");
    let table = service.ok(&["schedule", "list", "--owner", "shop"]).await;
    assert!(table.contains("0 3 * * * (Europe/Berlin)") && table.contains("every 60"), "{table}");
    service.ran(&with(&["--owner", "other"])).await.fails(4, "belongs to shop");
}

#[tokio::test]
async fn a_schedule_is_shown_paused_run_and_deleted() {
    let service = Service::start().await;
    let file = service.home.file(
        "schedules.json",
        r#"{"schedules": {"nightly": {"cron": "0 2 * * *", "job": {"kind": "k", "payload": {"z": 1}}}}}"#,
    );
    service.ok(&["schedule", "apply", "-f", &file]).await;
    let preview =
        service.json(&["schedule", "preview", "nightly", "-n", "3", "--from", "2027-01-31T00:00:00Z"]).await;
    assert_eq!(
        (preview.as_array().unwrap().len(), &preview[0]["tick_at"]),
        (3, &json!("2027-01-31T02:00:00Z"))
    );
    assert_eq!(service.json(&["schedule", "pause", "nightly"]).await["status"], "paused");
    assert_eq!(service.json(&["schedule", "resume", "nightly"]).await["status"], "active");
    let job = service.json(&["schedule", "run", "nightly"]).await;
    assert_eq!((&job["kind"], &job["status"]), (&json!("k"), &json!("queued")));
    let text = service.ok(&["describe", "schedule", "nightly"]).await;
    assert!(text.contains("next ticks:") && text.contains("0 2 * * *"), "{text}");
    let _ticks = service.json(&["schedule", "ticks", "nightly"]).await;
    service.ran(&["schedule", "pause", "missing"]).await.fails(3, "schedule missing");
    assert_eq!(service.ok(&["schedule", "delete", "nightly", "--yes"]).await, "schedule nightly deleted\n");
    service.ran(&["schedule", "delete", "nightly", "--yes"]).await.fails(3, "no such schedule");
}

#[tokio::test]
async fn an_invalid_file_is_refused() {
    let service = Service::start().await;
    for (name, text, code, words) in [
        ("a.toml", "[schedules.x", 64, "line 1"),
        ("b.toml", "owners = 1", 64, "owners"),
        ("c.json", "{", 64, "is invalid"),
        ("d.toml", "[schedules.x]\nowner = \"a\"", 64, "once"),
        ("e.toml", "[schedules.x]\ncron = \"61 * * * *\"\njob.kind = \"k\"", 4, "schedule x"),
        ("f.toml", "[schedules.x]\ncorn = \"1 * * * *\"\njob.kind = \"k\"", 4, "corn"),
    ] {
        let file = service.home.file(name, text);
        service.ran(&["schedule", "apply", "-f", &file]).await.fails(code, words);
    }
    let file = service.home.file("g.toml", "[schedules.x]\ncron = \"1 * * * *\"\njob.kind = \"k\"");
    service.ran(&["schedule", "apply", "-f", &file, "--prune"]).await.fails(64, "needs an owner");
    service.ran(&["schedule", "apply", "-f", "/no/such/file"]).await.fails(64, "cannot be read");
}

/// The command of the Job in the manifests, with its file and its key file.
#[tokio::test]
async fn the_job_of_the_manifests_applies_its_file_however_often_it_runs() {
    let service = Service::start().await;
    let job = std::fs::read_to_string(Path::new(COMPONENT).join("job.yaml")).unwrap();
    let job: Value = serde_saphyr::from_str(&job).unwrap();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["command"], json!(["/usr/local/bin/jobqueue"]));
    let file = format!("{COMPONENT}/schedules.toml");
    let args: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let mounted = args.iter().position(|word| *word == "/etc/jobqueue/schedules.toml").unwrap();
    let args = [&args[..mounted], &[file.as_str()], &args[mounted + 1..]].concat();
    let (url, key) = (format!("http://{}", service.address), service.home.file("key", &format!("{KEY}\n")));
    let variables: Vec<&str> =
        container["env"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["JOBQUEUE_URL", "JOBQUEUE_API_KEY_FILE"]);
    let of_the_pod = [("JOBQUEUE_URL", url.as_str()), ("JOBQUEUE_API_KEY_FILE", key.as_str())];

    for (name, owner) in [("of-another", "shop"), ("of-an-earlier-file", "kubernetes")] {
        let text = format!("owner = \"{owner}\"\n[schedules.{name}]\ncron = \"0 1 * * *\"\njob.kind = \"k\"");
        service.ok(&["schedule", "apply", "-f", &service.home.file("before.toml", &text)]).await;
    }
    for said in ["created", "unchanged"] {
        let ran = run(&service.home, &args, &of_the_pod, "").await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(&format!("schedule jobqueue-smoke {said}\n")), "{ran:?}");
        assert_eq!(ran.stdout.contains("of-an-earlier-file deleted"), said == "created", "{ran:?}");
    }
    assert_eq!(service.ok(&["get", "schedules", "-o", "name"]).await, "jobqueue-smoke\nof-another\n");
}

#[tokio::test]
async fn apply_waits_for_an_api_that_starts() {
    let home = Home::new();
    let file = home.file("schedules.toml", FILE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}");
    let args = ["schedule", "apply", "-f", &file, "--wait-for-api"];
    let variables = [("JOBQUEUE_URL", url.as_str()), ("JOBQUEUE_API_KEY", KEY)];
    let patient = [&args[..], &["2m"]].concat();
    let start = async {
        // its first question is not answered
        spawn_blocking(move || drop(listener.accept().unwrap())).await.unwrap();
        Service::start_at(address).await
    };
    let (ran, service) = tokio::join!(run(&home, &patient, &variables, ""), start);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 2), "{ran:?}");
    drop(service);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    run(&home, &[&args[..], &["10ms"]].concat(), &[("JOBQUEUE_URL", &url)], "")
        .await
        .fails(5, "is it running?");
}

#[tokio::test]
async fn numbers_of_a_file_keep_their_digits() {
    let service = Service::start().await;
    let text = "[schedules.a]\ncron = \"0 0 1 1 *\"\njob = { kind = \"k\", payload = { price = 1.50, at = 2027-01-01T00:00:00Z } }\n";
    let file = service.home.file("schedules.toml", text);
    let apply = ["schedule", "apply", "-f", file.as_str()];
    assert_eq!(service.ok(&apply).await, "schedule a created\n");
    let payload = service.ok(&["get", "schedule", "a", "-o", "jsonpath=.spec.job.payload"]).await;
    assert_eq!(payload.trim(), r#"{"at":"2027-01-01T00:00:00Z","price":1.50}"#);
    assert_eq!(service.ok(&apply).await, "schedule a unchanged\n");
}
