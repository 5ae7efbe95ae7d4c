//! What goes wrong is one sentence on stderr and an exit code.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;

use crate::service::{Home, KEY, Service, command, run};

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let service = Service::start().await;
    let url = format!("http://{}", service.address);
    for key in ["", "wrong-key-of-at-least-thirty-two-chars"] {
        let ran =
            run(&service.home, &["get", "jobs"], &[("JOBQUEUE_URL", &url), ("JOBQUEUE_API_KEY", key)], "")
                .await;
        ran.fails(4, "JOBQUEUE_API_KEY");
        assert!(key.is_empty() || !ran.stderr.contains(key), "{ran:?}");
    }
}

#[tokio::test]
async fn the_key_is_read_from_a_file() {
    let service = Service::start().await;
    let url = format!("http://{}", service.address);
    let key = service.home.file("key", &format!("{KEY}\n"));
    let empty = service.home.file("empty", "\n");
    let cli = async |args: &[&str], variables: &[(&str, &str)]| {
        let variables = [&[("JOBQUEUE_URL", url.as_str())], variables].concat();
        run(&service.home, &[&["get", "queues"], args].concat(), &variables, "").await
    };
    for (args, variables) in [
        (&[][..], &[("JOBQUEUE_API_KEY_FILE", key.as_str())][..]),
        (&["--api-key-file", &key], &[]),
        (&["--api-key-file", &key], &[("JOBQUEUE_API_KEY_FILE", "/no/such/file")]),
        (&[], &[("JOBQUEUE_API_KEY_FILE", &key), ("JOBQUEUE_API_KEY", "")]),
        (&[], &[("JOBQUEUE_API_KEY_FILE", ""), ("JOBQUEUE_API_KEY", KEY)]),
    ] {
        let ran = cli(args, variables).await;
        assert_eq!(ran.code, 0, "{args:?} {variables:?}: {ran:?}");
    }
    cli(&["--api-key-file", "/no/such/file"], &[]).await.fails(64, "/no/such/file cannot be read");
    cli(&[], &[("JOBQUEUE_API_KEY_FILE", &empty)]).await.fails(64, "is empty");
    cli(&["--api-key", KEY], &[("JOBQUEUE_API_KEY_FILE", &key)]).await.fails(64, "not both");
}

#[tokio::test]
async fn a_server_that_is_unreachable_has_its_own_code() {
    let home = Home::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://user:hunter2@127.0.0.1:{port}");
    for args in
        [&["get", "jobs"][..], &["submit", "k"], &["wait", "0198c1a2-3b4c-7d5e-8f60-718293a4b5c6"], &["top"]]
    {
        let ran = run(&home, args, &[("JOBQUEUE_URL", &url)], "").await;
        ran.fails(5, "is it running?");
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_the_api_is_reported() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<html>hi</html>";
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        }
    });
    run(&home, &["get", "jobs"], &[("JOBQUEUE_URL", &url)], "")
        .await
        .fails(5, "is it the address of the API?");
}

#[tokio::test]
async fn invalid_arguments_are_refused_before_a_request() {
    let home = Home::new();
    let variables = [("JOBQUEUE_URL", "http://127.0.0.1:1")];
    for (args, words) in [
        (&["get", "pods"][..], "use one of: jobs, queues, kinds, workers, schedules, routes"),
        (&["get", "queues", "--status", "failed"], "selectors are for jobs"),
        (&["get", "queues", ".."], "not a name"),
        (&["get", "queue", ""], "not a name"),
        (&["describe", "queue"], "say which queue"),
        (&["describe", "pods", "x"], "use job, queue, worker, schedule or route"),
        (&["submit", "k", "{"], "not JSON"),
        (&["submit", "k", "--metadata", "{"], "the metadata is not JSON"),
    ] {
        run(&home, args, &variables, "").await.fails(64, words);
    }
    for args in [
        &["get", "jobs", "-o", "xml"][..],
        &["get", "jobs", "-o", "jsonpath=]["],
        &["get", "jobs", "--limit", "-1"],
        &["wait"],
        &["wait", "x", "--timeout", "soon"],
        &["wait", "x", "--for", "sleeping"],
        &["frobnicate"],
        &["queue"],
        &["completion", "tcl"],
        &["get", "jobs", "--interval", "0"],
    ] {
        let ran = run(&home, args, &variables, "").await;
        assert_eq!(ran.code, 64, "{args:?}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    }
    run(&home, &["get", "jobs"], &[("JOBQUEUE_URL", "nonsense")], "").await.fails(64, "must look like");
}

#[tokio::test]
async fn a_closed_pipe_ends_it_quietly() {
    let service = Service::start().await;
    service.db.execute("SELECT jobqueue.enqueue('echo') FROM generate_series(1, 3000)").await;
    let url = format!("http://{}", service.address);
    let variables = [("JOBQUEUE_URL", url.as_str()), ("JOBQUEUE_API_KEY", KEY)];
    for args in
        [&["get", "jobs", "--all"][..], &["get", "jobs", "--all", "-o", "json"], &["completion", "bash"]]
    {
        let mut child = command(&service.home, args, &variables).spawn().unwrap();
        drop(child.stdout.take());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}
