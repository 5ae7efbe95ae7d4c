//! Tests of the systemd units of `docs/one-machine.md`: systemd accepts them, and their command lines and environment
//! files work, from an empty database to a finished job. The test starts the command lines itself, because systemd does
//! not run in the test environment.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use jobqueue_testkit::{Binary, Process, Signal, TestDb};
use serde_json::json;

use crate::client::{Client, KEY};
use crate::cluster::{Cluster, LIMIT};
use crate::ledger::WorkDir;

const UNITS: [&str; 4] = ["jobqueue-migrate", "jobqueue-api", "jobqueue-worker", "jobqueue-reaper"];

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd")
}

fn unit(name: &str) -> String {
    fs::read_to_string(shipped().join(format!("{name}.service"))).unwrap()
}

fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// The directory of the binaries of this test run.
fn built() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf()
}

/// Starts a service with the command line of its unit, on this database, on free ports, with a key.
fn service(name: &str, url: &str) -> Process {
    let unit = unit(name);
    let line = values(&unit, "ExecStart")[0].strip_prefix("/usr/local/bin/").unwrap().to_owned();
    let mut words = line.split(' ');
    let mut binary = Binary::named(words.next().unwrap());
    for word in words {
        binary = binary.arg(word);
    }
    for file in values(&unit, "EnvironmentFile") {
        let file = shipped().join(file.strip_prefix("/etc/jobqueue/").unwrap());
        for line in fs::read_to_string(file).unwrap().lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once('=').unwrap();
            let value = match name {
                "DATABASE_URL" => url.to_owned(),
                "API_SECRET_KEY" => KEY.to_owned(),
                "API_ADDR" | "ADMIN_ADDR" => format!("{}:0", value.rsplit_once(':').unwrap().0),
                "WORKER_CONFIG" => {
                    shipped().join(Path::new(value).file_name().unwrap()).display().to_string()
                }
                _ => value.to_owned(),
            };
            binary = binary.env(name, value);
        }
    }
    binary.spawn()
}

#[tokio::test]
async fn the_command_lines_of_the_units_take_an_empty_database_to_a_finished_job() {
    let _built = Cluster::new("unused").await;
    let db = TestDb::empty().await;
    let mut migrate = service("jobqueue-migrate", db.url());
    assert!(migrate.wait_exit(LIMIT).await.success(), "{:#?}", migrate.lines());
    let mut services: Vec<_> = UNITS[1..].iter().map(|name| service(name, db.url())).collect();
    let client = Client::new(services[0].listening("API requests", LIMIT).await);
    let id = client.submit(&json!({ "kind": "text.words", "payload": "three little words" })).await;
    assert_eq!(client.finished(&id).await["result"], 3);
    for service in &mut services {
        service.signal(Signal::TERM);
        assert!(service.wait_exit(LIMIT).await.success(), "{:#?}", service.lines());
    }
}

#[tokio::test]
async fn systemd_accepts_the_units() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("SKIPPED: systemd-analyze is not installed (Debian: apt-get install systemd)");
        return;
    };
    assert!(version.status.success());
    let _built = Cluster::new("unused").await;
    let work = WorkDir::new();
    let files: Vec<_> = UNITS
        .iter()
        .map(|name| {
            let file = work.path().join(format!("{name}.service"));
            // systemd-analyze checks that the programs exist
            let here = unit(name).replace("/usr/local/bin", built().to_str().unwrap());
            fs::write(&file, here).unwrap();
            file
        })
        .collect();
    let verified =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&files).output().unwrap();
    let output = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && output.is_empty(), "{output}");
}

#[tokio::test]
async fn the_processes_of_one_host_choose_different_admin_ports_by_themselves() {
    let _built = Cluster::new("unused").await;
    let db = TestDb::new().await;
    let work = WorkDir::new();
    let start = |name: &str| {
        Binary::named(name)
            .env("DATABASE_URL", db.url())
            .env("API_SECRET_KEY", KEY)
            .env("API_ADDR", "127.0.0.1:0")
            .env("WORKER_CONFIG", work.config())
            .spawn()
    };
    let processes = ["jobqueue-api", "jobqueue-worker", "jobqueue-reaper"].map(start);
    let mut ports = BTreeSet::new();
    for process in &processes {
        let admin = process.listening("admin port", LIMIT).await;
        assert!((9090..=9109).contains(&admin.port()), "{admin}");
        let admin_port = admin.port();
        ports.insert(admin_port);
        let admin = Client::new((Ipv4Addr::LOCALHOST, admin_port).into());
        assert_eq!(admin.get("/health").await.status, 200);
        let explained =
            process.lines().iter().any(|line| line.contains("another process uses the default admin port"));
        assert_eq!(explained, admin_port != 9090, "{:#?}", process.lines());
    }
    assert_eq!(ports.len(), 3, "{ports:?}");
}
