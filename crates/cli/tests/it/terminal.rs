//! What only a terminal shows: the question before a change, progress and colours. `script` runs the command on a terminal of its own.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::service::{KEY, Service, command};

/// Starts a command on a terminal.
fn started(service: &Service, args: &[&str], variables: &[(&str, &str)]) -> (Child, ChildStdin) {
    let quoted = args.iter().map(|arg| format!("'{arg}'")).collect::<Vec<_>>().join(" ");
    let line = format!("{} {quoted}", env!("CARGO_BIN_EXE_jobqueue"));
    let url = format!("http://{}", service.address);
    let own = [("JOBQUEUE_URL", url.as_str()), ("JOBQUEUE_API_KEY", KEY), ("TERM", "xterm")];
    let mut script = std::process::Command::new("/usr/bin/script");
    let copied: Vec<(String, String)> = command(&service.home, &[], &[&own[..], variables].concat())
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())))
        .collect();
    script.args(["-qec", &line, "/dev/null"]).env_clear().env("SHELL", "/bin/sh").envs(copied);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = script.spawn().unwrap();
    let input = child.stdin.take().unwrap();
    (child, input)
}

/// The exit code and the rest of the output.
fn ended(mut child: Child, input: ChildStdin) -> (i32, String) {
    let mut text = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut text).unwrap();
    // `script` reads its input until the command has ended
    drop(input);
    (child.wait().unwrap().code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// What a command prints on a terminal, and its exit code. `typed` is what the user types.
async fn on_a_terminal(
    service: &Service,
    args: &[&str],
    variables: &[(&str, &str)],
    typed: &str,
) -> (i32, String) {
    let (child, mut input) = started(service, args, variables);
    input.write_all(typed.as_bytes()).unwrap();
    spawn_blocking(move || ended(child, input)).await.unwrap()
}

/// Runs a command that asks, does something before the answer, and says yes. Returns the question and what came after it.
async fn agreed(service: &Service, args: &[&str], meanwhile: impl AsyncFnOnce()) -> (String, String) {
    let (mut child, mut input) = started(service, args, &[]);
    let (question, child) = spawn_blocking(move || {
        let (mut text, mut byte) = (Vec::new(), [0]);
        let output = child.stdout.as_mut().unwrap();
        while !text.ends_with(b"[y/N] ") && output.read(&mut byte).unwrap() == 1 {
            text.push(byte[0]);
        }
        (String::from_utf8_lossy(&text).into_owned(), child)
    })
    .await
    .unwrap();
    meanwhile().await;
    input.write_all(b"y\n").unwrap();
    let (code, rest) = spawn_blocking(move || ended(child, input)).await.unwrap();
    assert_eq!(code, 0, "{question}{rest}");
    (question, rest)
}

#[tokio::test]
async fn a_change_by_selector_asks_first() {
    let service = Service::start().await;
    for _ in 0..2 {
        service.submit(&["echo", "{}", "--queue", "asked"]).await;
    }
    let cancel = ["cancel", "--queue", "asked"];
    for typed in ["n\n", "\n", "nonsense\n"] {
        let (code, text) = on_a_terminal(&service, &cancel, &[], typed).await;
        assert_eq!(code, 64, "{text}");
        assert!(text.contains("Cancel 2 jobs? [y/N]") && text.contains("nothing was changed"), "{text}");
    }
    assert_eq!(service.ok(&["count", "--status", "queued"]).await.trim(), "2");
    let (code, text) = on_a_terminal(&service, &cancel, &[], "y\n").await;
    assert!(code == 0 && text.contains("2 jobs changed, 0 refused"), "{code} {text}");
    assert_eq!(service.ok(&["count", "--status", "cancelled"]).await.trim(), "2");
}

#[tokio::test]
async fn the_answer_does_not_concern_what_came_after_the_question() {
    let service = Service::start().await;
    let waiting = async || service.ok(&["count", "--status", "queued"]).await.trim().to_owned();
    let args = ["echo", "{}", "--queue", "asked"];
    for command in [&["queue", "purge", "asked"][..], &["cancel", "--queue", "asked"]] {
        service.submit(&args).await;
        let before = waiting().await;
        let later = async || drop(service.submit(&args).await);
        let (question, _) = agreed(&service, command, later).await;
        assert!(question.contains(&format!(" {before} ")), "{question}");
        assert_eq!(waiting().await, "1", "{command:?}");
    }
}

#[tokio::test]
async fn a_drain_does_not_concern_workers_that_came_after_the_question() {
    let service = Service::start().await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}/v1/{path}", service.address);
    let register = async |name: &str| {
        let body = json!({ "worker": name, "queues": ["asked"] }).to_string();
        let request = client.post(url("leases")).bearer_auth(KEY).header("content-type", "application/json");
        request.body(body).send().await.unwrap().error_for_status().unwrap();
    };
    register("before").await;
    let drain = ["worker", "drain", "--queue", "asked", "--timeout", "0s"];
    let (question, rest) = agreed(&service, &drain, async || register("later").await).await;
    assert!(question.contains("drain 1 workers?"), "{question}");
    assert!(rest.contains("before") && !rest.contains("later"), "{rest}");
    let workers = service.json(&["get", "workers"]).await;
    let commands = async |worker: &Value| {
        let path = url(&format!("workers/{}/commands", worker["id"].as_str().unwrap()));
        let answer = client.get(path).bearer_auth(KEY).send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()["commands"].as_array().unwrap().len()
    };
    for worker in workers.as_array().unwrap() {
        let expected = usize::from(worker["name"] == "before");
        assert_eq!(commands(worker).await, expected, "{worker}");
    }
    assert_eq!(workers.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn progress_and_colours_are_for_a_terminal() {
    let service = Service::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(service.submit(&["echo", "{}"]).await);
    }
    let cancel: Vec<&str> = ["cancel"].into_iter().chain(ids.iter().map(String::as_str)).collect();
    let (code, text) = on_a_terminal(&service, &cancel, &[], "").await;
    assert!(code == 0 && text.contains("/3") && text.contains("cancel "), "a bar: {text:?}");
    let (_, coloured) = on_a_terminal(&service, &["get", "jobs"], &[], "").await;
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    for variables in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let (_, plain) = on_a_terminal(&service, &["get", "jobs"], &variables, "").await;
        assert!(!plain.contains("\u{1b}[") && plain.contains("cancelled"), "{variables:?}: {plain:?}");
    }
    let piped = service.ran(&["get", "jobs"]).await;
    assert!(!piped.stdout.contains('\u{1b}') && piped.stderr.is_empty(), "{piped:?}");
    let piped = service.ran(&cancel).await;
    assert!(!piped.stderr.contains("/3"), "{piped:?}");
}
