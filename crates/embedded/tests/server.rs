//! Tests with a real server: start, use, crash, start again, and the end of the process that owns it.

#![expect(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jobqueue_embedded::{Server, ServerError, ServerOptions, StopMode, find_binaries};

fn temporary() -> ServerOptions {
    ServerOptions::temporary(find_binaries().unwrap())
}

fn wait_until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !check() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn starts_crashes_and_starts_again_on_the_same_port() {
    let mut server = Server::start(temporary().set("max_connections", "17")).unwrap();
    let (port, pid) = (server.port(), server.pid().unwrap());
    server.create_database("first").unwrap();
    server.create_database("first").unwrap();
    assert_eq!(server.database_url("first"), format!("postgres://postgres@127.0.0.1:{port}/first"));

    server.stop(StopMode::Immediate).unwrap();
    assert_eq!(server.pid(), None);
    assert!(!is_alive(pid));
    assert!(matches!(server.create_database("second"), Err(ServerError::Io { .. })), "no server may answer");
    let other = Server::start(temporary()).unwrap();
    assert_ne!(other.port(), port, "a stopped server's port is free, and yet not to be had");

    server.resume().unwrap();
    assert_eq!(server.port(), port);
    server.create_database("second").unwrap();
    server.restart().unwrap();
    server.create_database("third").unwrap();
    assert_eq!(server.port(), port);
}

#[test]
fn a_temporary_server_leaves_no_files() {
    let server = Server::start(temporary()).unwrap();
    let (home, pid) = (server.home().to_path_buf(), server.pid().unwrap());
    assert!(home.join("data/PG_VERSION").is_file());
    drop(server);
    assert!(!home.exists());
    assert!(!is_alive(pid));
}

#[test]
fn a_named_server_keeps_its_data_and_is_not_started_twice() {
    let bin = find_binaries().unwrap();
    let home = std::env::temp_dir().join(format!("jobqueue-named-{}", std::process::id()));
    let options = ServerOptions::named(bin, &home);
    let mut server = Server::start(options.clone()).unwrap();
    server.create_database("kept").unwrap();

    let second = Server::start(options.clone()).unwrap_err();
    assert!(second.to_string().contains("postmaster.pid"), "{second}");
    assert!(server.is_running(), "the second start must not end the first server");

    drop(server);
    assert!(home.join("data/PG_VERSION").is_file());
    std::fs::write(home.join("data/PG_VERSION"), "9\n").unwrap();
    let other = Server::start(options).unwrap_err();
    assert!(matches!(other, ServerError::OtherMajor { .. }), "{other}");
    std::fs::remove_dir_all(home).unwrap();
}

#[test]
fn names_that_are_not_plain_are_refused() {
    let server = Server::start(temporary()).unwrap();
    for name in ["", "Upper", "a\"b", "a-b", &"x".repeat(64)] {
        assert!(matches!(server.create_database(name), Err(ServerError::BadName(_))), "{name}");
    }
    let refused = server.create_database("template1");
    assert!(refused.is_ok(), "an existing database is fine");
}

/// The child process of `no_orphan_is_left_by_a_killed_parent`: owns a server until it is killed.
#[test]
#[ignore = "run by another test, as a process to kill"]
fn owner_of_a_server_until_killed() {
    let server = Server::start(temporary()).unwrap();
    println!("\nserver {} {}", server.pid().unwrap(), server.home().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn no_orphan_is_left_by_a_killed_parent() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "owner_of_a_server_until_killed"])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("server ")).unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let (pid, home): (u32, PathBuf) = (words[1].parse().unwrap(), Path::new(words[2]).to_path_buf());
    assert!(is_alive(pid) && home.is_dir());

    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until("the server ends", || !is_alive(pid));
    wait_until("its directory is removed", || !home.exists());
}
