//! Tests of processes, with a shell instead of a binary.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use jobqueue_testkit::{Binary, Process, Signal};

const LIMIT: Duration = Duration::from_secs(30);

fn shell(script: &str) -> Process {
    Binary::at("/bin/sh").arg("-c").arg(script).env("GREETING", "hello").spawn()
}

#[tokio::test]
async fn lines_the_address_and_a_clean_end_are_seen() {
    let script = "trap 'echo bye; exit 7' TERM; echo \"$GREETING$HOME\" >&2; \
        echo 'admin listening on 127.0.0.1:9'; echo 'http listening on 127.0.0.1:4711'; while :; do sleep 0.02; done";
    let mut process = Binary::at("/bin/sh")
        .arg("-c")
        .arg(script)
        .env("GREETING", "hello")
        .env("PATH", "/bin:/usr/bin")
        .spawn();
    // the test's environment is not inherited: HOME is empty
    process.wait_for_line("the greeting", |line| line == "hello", LIMIT).await;
    assert_eq!(process.listening("http", LIMIT).await, "127.0.0.1:4711".parse().unwrap());
    assert!(process.is_running());
    process.signal(Signal::TERM);
    assert_eq!(process.wait_exit(LIMIT).await.code(), Some(7));
    process.wait_for_line("the goodbye", |line| line == "bye", LIMIT).await;
}

#[tokio::test]
#[should_panic(expected = "ended without a miracle:\nhello")]
async fn waiting_for_a_line_ends_with_the_output() {
    let process = shell("echo $GREETING");
    process.wait_for_line("a miracle", |line| line == "miracle", LIMIT).await;
}

#[tokio::test]
async fn a_killed_process_has_ended() {
    let mut process = shell("read forever < /dev/zero");
    process.kill();
    assert_eq!(process.wait_exit(LIMIT).await.signal(), Some(9));
}

#[test]
fn a_binary_is_built_beside_the_test() {
    Binary::build(&["jobqueue-reaper"]);
}

#[test]
#[should_panic(expected = "building [\"--bin\", \"jobqueue-nonsense\"] failed")]
fn a_binary_that_does_not_build_ends_the_test() {
    Binary::build(&["jobqueue-nonsense"]);
}
