//! `get`, `describe`, `logs`, `stats` and `top`: what they print, in each format.

use std::net::SocketAddr;
use std::process::{Child, ChildStdout};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::service::{SOON, Service, command, read_until};
use jobqueue_testkit::{Signal, eventually};

#[tokio::test]
async fn jobs_are_printed_in_every_format() {
    let service = Service::start().await;
    let payload = r#"{"z":0.10,"n":18446744073709551616,"s":"é\u001b[2J"}"#;
    let id = service
        .submit(&["echo", payload, "--queue", "mail", "--tag", "a", "--tag", "b", "--priority", "-3"])
        .await;
    let other = service.submit(&["echo", "--queue", "other"]).await;

    let table = service.ok(&["get", "jobs"]).await;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "STATUS", "QUEUE", "KIND", "ATTEMPT", "AGE"]);
    assert_eq!(lines.len(), 3, "{table}");
    assert!(other.starts_with(lines[1][0]) && id.starts_with(lines[2][0]), "newest first: {table}");
    assert_eq!(lines[2][1..5], ["queued", "mail", "echo", "0/10"], "{table}");
    assert!(!table.contains('\u{1b}'), "no colours without a terminal: {table}");

    let wide = service.ok(&["get", "jobs", "-q", "mail", "-o", "wide", "--no-headers"]).await;
    assert!(wide.contains("a,b") && wide.contains(" -3 ") && wide.lines().count() == 1, "{wide}");
    assert_eq!(service.ok(&["get", "jobs", "-q", "mail", "-o", "name"]).await, format!("{id}\n"));
    assert_eq!(service.ok(&["get", "jobs", "--tag", "a,b", "-o", "jsonpath=.queue"]).await, "mail\n");
    assert_eq!(service.ok(&["get", "job", &id, "-o", "jsonpath={.payload}"]).await, format!("{payload}\n"));
    assert_eq!(service.ok(&["get", &id, "-o", "jsonpath=$.payload.n"]).await, "18446744073709551616\n");

    let list = service.ok(&["get", "jobs", "-o", "json"]).await;
    assert!(list.contains("\"n\": 18446744073709551616") && list.contains("\"z\": 0.10"), "{list}");
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert_eq!((list.len(), &list[1]["id"]), (2, &json!(id)));
    let yaml = service.ok(&["get", "job", &id, "-o", "yaml"]).await;
    assert!(yaml.contains("z: 0.10\n") && yaml.contains("\"n\": 18446744073709551616\n"), "{yaml}");
    assert!(!yaml.contains('\u{1b}'), "{yaml}");
    let read: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(read["tags"], json!(["a", "b"]));
}

#[tokio::test]
async fn limits_and_pages_are_followed() {
    let service = Service::start().await;
    service.db.execute("SELECT jobqueue.enqueue('echo') FROM generate_series(1, 1203)").await;
    let ran = service.ran(&["get", "jobs", "--limit", "2"]).await;
    assert_eq!(ran.stdout.lines().count(), 3, "{ran:?}");
    assert!(ran.stderr.contains("--all"), "{ran:?}");
    assert_eq!(service.ok(&["get", "jobs", "--all", "-o", "name"]).await.lines().count(), 1203);
    assert_eq!(service.ok(&["get", "jobs", "--limit", "1100", "-o", "name"]).await.lines().count(), 1100);
    let none = service.ran(&["get", "jobs", "--status", "failed"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (0, ""), "{none:?}");
    assert_eq!(service.ok(&["get", "jobs", "--status", "failed", "-o", "json"]).await.trim(), "[]");
}

#[tokio::test]
async fn a_job_is_found_by_the_beginning_of_its_id() {
    let service = Service::start().await;
    let id = service.submit(&["echo"]).await;
    for beginning in [&id[..18], &id[..20], &id.replace('-', "")[..14], &id.to_uppercase()] {
        assert_eq!(service.json(&["get", "job", beginning]).await["id"], id, "{beginning}");
    }
    // a second job of the same millisecond
    let mut twin = id.clone();
    twin.replace_range(35.., if id.ends_with('0') { "1" } else { "0" });
    service.db.execute(&format!("CREATE OR REPLACE FUNCTION jobqueue.new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$ SELECT '{twin}'::uuid $$")).await;
    service.db.execute("SELECT jobqueue.enqueue('echo')").await;
    service.ran(&["get", "job", &id[..18]]).await.fails(64, "ambiguous: 2 jobs");
    assert_eq!(service.json(&["get", "job", &twin]).await["id"], twin);
    service.ran(&["get", "job", "0000000000010"]).await.fails(3, "no job's id begins with");
    service.ran(&["get", "job", "abc"]).await.fails(64, "at least 12");
    service.ran(&["get", "job", "zzzzzzzzzzzzzz"]).await.fails(64, "not a job id");
}

#[tokio::test]
async fn everything_about_a_job_is_described() {
    let service = Service::start().await.with_worker();
    let id = service.submit(&["fail", "{\"a\": 1.50}"]).await;
    assert_eq!(service.ran(&["wait", &id, "--timeout", "60"]).await.code, 1);
    let text = service.ok(&["describe", "job", &id]).await;
    for words in ["failed", "{\"a\": 1.50}", "broken: it is broken", "about to fail", "created", "ATTEMPT"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let all = service.json(&["describe", &id]).await;
    assert_eq!((&all["job"]["id"], &all["attempts"][0]["error"]["type"]), (&json!(id), &json!("broken")));
    assert_eq!(service.ok(&["describe", "job", &id, "-o", "jsonpath=.events[0].event"]).await, "created\n");
    assert_eq!(service.ok(&["logs", &id]).await, "about to fail\n");
    assert_eq!(service.ok(&["logs", &id, "--all"]).await, "--- attempt 1 (failed)\nabout to fail\n");
    assert_eq!(service.ok(&["logs", "-f", &id, "--attempt", "1"]).await, "about to fail\n");
    service.ran(&["logs", &id, "--attempt", "7"]).await.fails(3, "no attempt 7");
}

#[tokio::test]
async fn a_log_is_followed_until_the_job_ends() {
    let service = Service::start().await.with_worker();
    let id = service.submit(&["block"]).await;
    let url = format!("http://{}", service.address);
    let variables = [("JOBQUEUE_URL", url.as_str()), ("JOBQUEUE_API_KEY", crate::service::KEY)];
    let mut child = command(&service.home, &["logs", "-f", &id], &variables).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    tokio::task::spawn_blocking(move || read_until(&mut stdout, "started")).await.unwrap();
    service.ok(&["cancel", &id]).await;
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

/// A reverse proxy that serves the API under the prefix `/queue`, one request a connection, as long as its task is kept.
async fn under_a_prefix(api: SocketAddr) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut proxy = JoinSet::new();
    proxy.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            connections.spawn(without_the_prefix(client, api));
        }
    });
    (address, proxy)
}

async fn without_the_prefix(mut client: TcpStream, api: SocketAddr) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_buf(&mut head).await.unwrap() == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let (line, rest) = head.split_once("\r\n").unwrap();
    let line = line.replacen(" /queue/", " /", 1);
    let mut server = TcpStream::connect(api).await.unwrap();
    server.write_all(format!("{line}\r\nConnection: close\r\n{rest}").as_bytes()).await.unwrap();
    let _closed = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test]
async fn streams_work_behind_a_proxy_with_a_prefix() {
    let service = Service::start().await.with_worker();
    let (proxy, _proxy) = under_a_prefix(service.address).await;
    let url = format!("http://{proxy}/queue/");
    let id = service.submit(&["fail"]).await;
    assert_eq!(service.ok(&["logs", "-f", &id, "--url", &url]).await, "about to fail\n");
    let later = service.submit(&["echo", "--delay-seconds", "3600"]).await;
    service.ok(&["wait", &later, "--for", "scheduled", "--url", &url]).await;
    let long = service.submit(&["block", "--delay-seconds", "3600"]).await;
    let wait = ["wait", &long, "--for", "running", "--url", &url, "--timeout", "1m"];
    let promote = ["promote", &long];
    let (waited, _) = tokio::join!(service.ok(&wait), service.ok(&promote));
    assert!(waited.contains("running"), "{waited}");
}

#[tokio::test]
async fn workers_and_queues_are_shown() {
    let service = Service::start().await.with_worker();
    let workers = async || {
        let workers = service.json(&["get", "workers"]).await;
        if workers[0]["name"] == "of-the-test" { Ok(()) } else { Err(workers) }
    };
    eventually(SOON, "the worker is listed", workers).await;
    let id = service.submit(&["block", "--queue", "mail"]).await;
    service.ok(&["wait", &id, "--for", "running", "--timeout", "60"]).await;
    let worker = service.ok(&["describe", "worker", "of-the-test"]).await;
    assert!(worker.contains(&id) && worker.contains("block"), "{worker}");
    let queue = service.ok(&["describe", "queue", "mail"]).await;
    assert!(queue.contains("workers: of-the-test"), "{queue}");
    let wide = service.ok(&["worker", "list", "-o", "wide"]).await;
    assert!(wide.contains("default,mail") && wide.contains("ready"), "{wide}");
    let top = service.ok(&["top", "--interval", "1"]).await;
    assert!(top.contains("IN/S") && top.contains("of-the-test"), "{top}");
    let stats = service.ok(&["stats"]).await;
    assert!(stats.contains("total: ") && stats.contains("workers"), "{stats}");
    assert_eq!(service.ok(&["stats", "-o", "jsonpath=.workers"]).await, "1\n");
    let range = ["stats", "--from", "2h", "--step", "1h", "--queue", "mail", "--kind", "block"];
    let store = jobqueue_store::Store::from_pool(service.db.pool().clone());
    assert!(store.take_census(200).await.unwrap());
    let stats = service.ok(&range).await;
    assert!(stats.contains("\ntotal: 1 created, 0 completed"), "{stats}");
    assert!(stats.starts_with("TIME") && stats.contains("run: p50 -, p95 -"), "{stats}");
    let json = service.json(&range).await;
    assert_eq!((&json["queue"], &json["total"]["created"]), (&"mail".into(), &1.into()));
    let unclear = service.ran(&["stats", "--from", "yesterday"]).await;
    assert!(unclear.code == 64 && unclear.stderr.contains("how long ago"), "{unclear:?}");
    service.ran(&["stats", "--step", "90s"]).await.fails(4, "whole number of minutes");
    service.ran(&["stats", "--from", "500d"]).await.fails(4, "400 days");
    service.ran(&["get", "worker", "missing"]).await.fails(3, "no worker `missing`");
    service.ran(&["get", "queue", "missing"]).await.fails(3, "not found");
}

/// Starts a command that has no end, and returns it when it has printed these words.
async fn started(service: &Service, args: &[&str], words: &'static str) -> (Child, ChildStdout) {
    let url = format!("http://{}", service.address);
    let variables = [("JOBQUEUE_URL", url.as_str()), ("JOBQUEUE_API_KEY", crate::service::KEY)];
    let mut child = command(&service.home, args, &variables).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let read = move || {
        read_until(&mut stdout, words);
        stdout
    };
    let stdout = tokio::task::spawn_blocking(read).await.unwrap();
    (child, stdout)
}

#[tokio::test]
async fn a_watch_follows_the_stream_of_a_job_and_of_queues() {
    let service = Service::start().await;
    let id = service.submit(&["echo", "--queue", "mail", "--delay-seconds", "3600"]).await;
    let (mut job, mut of_job) = started(&service, &["get", "job", &id, "-w"], "scheduled").await;
    let (mut queues, mut of_queues) = started(&service, &["get", "queues", "-w"], "mail").await;
    service.ok(&["queue", "pause", "mail"]).await;
    service.ok(&["cancel", &id]).await;
    let both = move || (read_until(&mut of_job, "cancelled"), read_until(&mut of_queues, "yes"));
    let (_, queue) = tokio::task::spawn_blocking(both).await.unwrap();
    assert!(queue.contains("mail"), "{queue}");
    for child in [&mut job, &mut queues] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_watch_prints_changes_until_ctrl_c() {
    let service = Service::start().await.with_worker();
    let id = service.submit(&["echo", "--delay-seconds", "3600"]).await;
    let url = format!("http://{}", service.address);
    let variables = [("JOBQUEUE_URL", url.as_str()), ("JOBQUEUE_API_KEY", crate::service::KEY)];
    let mut child = command(&service.home, &["get", "jobs", "-w"], &variables).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let first =
        tokio::task::spawn_blocking(move || (read_until(&mut stdout, "scheduled"), stdout)).await.unwrap();
    assert!(first.0.starts_with("ID"), "{}", first.0);
    service.ok(&["promote", &id]).await;
    let mut stdout = first.1;
    let second = tokio::task::spawn_blocking(move || read_until(&mut stdout, "completed")).await.unwrap();
    assert!(!second.contains("STATUS"), "the titles are printed once: {second}");
    let pid = i32::try_from(child.id()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(130));
}
