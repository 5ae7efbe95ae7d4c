//! `audit`: who changed what.

use crate::service::{KEY, Service, command, read_until};

#[tokio::test]
async fn changes_are_listed_filtered_and_printed_in_every_format() {
    let service = Service::start().await;
    service.ok(&["queue", "set", "mail", "--keep-completed", "1d", "--create"]).await;
    service.ok(&["queue", "pause", "mail"]).await;
    service.ok(&["kind", "pause", "words", "--create"]).await;
    let table = service.ok(&["audit"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("TIME") && lines[0].contains("ACTION"), "{table}");
    assert!(
        lines[1].contains("kind.pause") && lines[1].contains("root") && lines[1].contains("words"),
        "{table}"
    );
    let json = service.json(&["audit", "--target", "mail", "--action", "queue.", "--actor", "root"]).await;
    let actions: Vec<&str> = json.as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["queue.pause", "queue.configure", "queue.create"]);
    let request = json[0]["request_id"].as_str().unwrap();
    assert!(service.ok(&["audit", "--request", request, "-o", "yaml"]).await.contains("action: queue.pause"));
    assert_eq!(service.ok(&["audit", "--limit", "2", "-o", "name"]).await.lines().count(), 2);
    service.ran(&["audit", "--since", "yesterday"]).await.fails(4, "since");
    assert_eq!(service.json(&["audit", "--until", "2020-01-01T00:00:00Z"]).await, serde_json::json!([]));
}

#[tokio::test]
async fn a_watch_prints_each_new_change_once() {
    let service = Service::start().await;
    service.ok(&["queue", "pause", "mail", "--create"]).await;
    let url = format!("http://{}", service.address);
    let variables = [("JOBQUEUE_URL", url.as_str()), ("JOBQUEUE_API_KEY", KEY)];
    let mut child = command(&service.home, &["audit", "-w", "--limit", "1"], &variables).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let read = move || (read_until(&mut stdout, "queue.pause"), stdout);
    let (first, mut stdout) = tokio::task::spawn_blocking(read).await.unwrap();
    assert!(first.starts_with("TIME") && !first.contains("queue.create"), "{first}");
    for action in ["resume", "pause", "resume"] {
        service.ok(&["queue", action, "mail"]).await;
    }
    service.ok(&["kind", "pause", "words", "--create"]).await;
    let read = move || read_until(&mut stdout, "kind.pause");
    let rest = tokio::task::spawn_blocking(read).await.unwrap();
    let times = |action: &str| rest.matches(action).count();
    assert_eq!((times("queue.resume"), times("queue.pause"), times("TIME")), (2, 1, 0), "{rest}");
    child.kill().unwrap();
    child.wait().unwrap();
}
