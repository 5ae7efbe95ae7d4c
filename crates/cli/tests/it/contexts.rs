//! `context`: servers by name. The file is private, and its key goes to its own server only.

use std::os::unix::fs::PermissionsExt as _;

use crate::service::{Home, KEY, Service, run};

#[tokio::test]
async fn a_context_replaces_the_variables() {
    let service = Service::start().await;
    let url = format!("http://{}", service.address);
    let key = service.home.file("key", &format!("{KEY}\n"));
    let cli = async |args: &[&str]| run(&service.home, args, &[], "").await;
    let set = cli(&["context", "set", "here", "--url", &url, "--key-file", &key]).await;
    assert_eq!(set.code, 0, "{set:?}");
    let path = service.home.path().join(".config/jobqueue/config.toml");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&path).unwrap().contains(KEY));
    assert_eq!(cli(&["get", "queues"]).await.code, 0);

    cli(&["context", "set", "there", "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(cli(&["get", "queues"]).await.code, 0, "the first context stays in use");
    cli(&["get", "queues", "--context", "there"]).await.fails(5, "127.0.0.1:1");
    let listed = cli(&["context", "list"]).await.stdout;
    assert!(listed.contains("*   here") && listed.contains("there"), "{listed}");
    assert_eq!(cli(&["context", "use", "there"]).await.code, 0);
    cli(&["get", "queues"]).await.fails(5, "cannot be reached");
    assert_eq!(cli(&["context", "delete", "there"]).await.code, 0);
    cli(&["context", "use", "there"]).await.fails(3, "no context `there`");
    cli(&["get", "queues", "--context", "there"]).await.fails(64, "no context `there`");
}

#[tokio::test]
async fn the_key_of_a_context_is_not_sent_to_another_url() {
    let service = Service::start().await;
    let url = format!("http://{}", service.address);
    let key = service.home.file("key", KEY);
    run(
        &service.home,
        &["context", "set", "other", "--url", "http://127.0.0.1:1", "--key-file", &key],
        &[],
        "",
    )
    .await;
    let ran = run(&service.home, &["get", "queues"], &[("JOBQUEUE_URL", &url)], "").await;
    ran.fails(4, "does not accept the key");
}

#[tokio::test]
async fn a_broken_file_is_reported() {
    let home = Home::new();
    std::fs::create_dir_all(home.path().join(".config/jobqueue")).unwrap();
    let cli = async |args: &[&str]| run(&home, args, &[], "").await;
    for text in ["current = 1", "[contexts.a]\nurl = \"x\"\nkey = \"secret\"", "?"] {
        home.file(".config/jobqueue/config.toml", text);
        let ran = cli(&["get", "queues"]).await;
        ran.fails(64, "config.toml is invalid");
        assert!(!ran.stderr.contains("secret"), "{ran:?}");
    }
    home.file(".config/jobqueue/config.toml", "");
    cli(&["context", "set", "a", "--url", "ftp://x"]).await.fails(64, "must look like");
    cli(&["context", "set", "a", "--url", "http://x", "--key-file", "missing"])
        .await
        .fails(64, "cannot be read");
}
