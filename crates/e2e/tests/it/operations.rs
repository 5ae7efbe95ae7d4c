//! Tests of docs/operations.md. Each command of its shell blocks is marked as needing a cluster or a container engine,
//! or is run by a script that the page names, or runs here unchanged, in the order of the page, on a private Postgres
//! and private processes. Commands in the text are checked: paths, tests and routes exist, and SQL runs. Other pages
//! are tested in the same way.

mod cli;
mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use jobqueue_testkit::TestDb;
use serde_json::Value;
use tokio::task::spawn_blocking;

use self::page::{Check, Command, MARKS, Span, commands, spans};
use crate::client::KEY;
use crate::cluster::Cluster;
use crate::restore::tools;

const PAGE: &str = "docs/operations.md";
/// The address of the API in the commands of the page.
const API: &str = "127.0.0.1:8000";
/// The statement of the page that creates a database, whose name already exists on the server of the tests.
const CREATE_DATABASE: &str = "CREATE DATABASE jobqueue ";
/// Time limit for all commands together, in seconds; reached only if a command hangs.
const LIMIT: &str = "180";
/// Variables that the commands of the page use and that the reader has set.
type Variables = Vec<(&'static str, String)>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A directory with the manifests and the scripts in which commands may write. It is removed at the end of the test,
/// unless the test failed.
struct PageDir(PathBuf);

impl PageDir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("jobqueue-page-{}-{name}", std::process::id()));
        let _absent = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("printed")).unwrap();
        Self(dir)
    }

    fn with_manifests(self) -> Self {
        for directory in ["k8s", "k8s-overlays"] {
            let from = root().join(directory);
            assert!(Process::new("cp").arg("-r").arg(from).arg(&self.0).status().unwrap().success());
        }
        // a file of the developer
        let _absent = fs::remove_file(self.0.join("k8s/secret-values.yaml"));
        self
    }

    /// Runs the commands in one shell, as a reader would type them. Returns which one failed or did not print the
    /// expected text.
    fn run(&self, commands: &[Command], path: &str, variables: &Variables) -> Result<(), String> {
        let steps = commands.iter().enumerate().map(|(number, command)| {
            let text = &command.text;
            format!("echo {number} >printed/at\n{{\n{text}\n}} >printed/{number} 2>&1\n")
        });
        fs::write(self.0.join("script"), format!("set -euo pipefail\n{}", steps.collect::<String>()))
            .unwrap();
        let mut shell = Process::new("timeout");
        shell.args([LIMIT, "bash", "script"]).current_dir(&self.0).env("PATH", path);
        let output = shell.envs(variables.iter().cloned()).output().unwrap();
        let printed = |number: usize| {
            let text = fs::read(self.0.join(format!("printed/{number}"))).unwrap_or_default();
            String::from_utf8_lossy(&text).into_owned()
        };
        let failure = |number: usize, what: &str| {
            let Command { line, text, .. } = &commands[number];
            format!("{PAGE}:{line}: {what}: {text}\n{}", printed(number))
        };
        if !output.status.success() {
            let at = fs::read_to_string(self.0.join("printed/at")).unwrap_or_default();
            let Ok(number) = at.trim().parse() else {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            };
            return Err(failure(number, "it fails"));
        }
        for (number, command) in commands.iter().enumerate() {
            if let Check::Runs(Some(words)) = &command.check
                && !printed(number).contains(words)
            {
                return Err(failure(number, "it does not print what it should"));
            }
        }
        Ok(())
    }
}

impl Drop for PageDir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _absent = fs::remove_dir_all(&self.0);
        }
    }
}

/// The programs that the commands need and that are not installed.
fn missing() -> Vec<&'static str> {
    let answers = |program: &str, arguments: &[&str], word: &str| {
        let output = Process::new(program).args(arguments).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(word))
    };
    let mut missing = Vec::new();
    if !answers("curl", &["--help", "all"], "--fail-with-body") {
        missing.push("curl 7.76");
    }
    // 1.27 contains kustomize 5
    if !answers("kubectl", &["version", "--client", "-o", "json"], "\"kustomizeVersion\": \"v5") {
        missing.push("kubectl 1.27");
    }
    let has_all = |dir: PathBuf| ["psql", "createdb"].iter().all(|name| dir.join(name).is_file());
    if !tools().is_some_and(has_all) {
        missing.push("pg_dump, pg_restore, psql, createdb (Debian: postgresql-client)");
    }
    missing
}

/// The search path: the directory of our binaries, then that of the clients of the server's version.
fn path() -> String {
    let binaries = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf();
    let before = std::env::var("PATH").unwrap_or_default();
    format!("{}:{}:{before}", binaries.display(), tools().unwrap().display())
}

/// The command with the names and addresses of this test, if it runs here.
fn prepared(command: &Command, address: &str) -> Option<Command> {
    let Check::Runs(_) = command.check else { return None };
    let text =
        command.text.replace(API, address).replace(CREATE_DATABASE, "CREATE DATABASE jobqueue_managed ");
    Some(Command { text, ..command.clone() })
}

/// The SQL statements in the text, as commands for `psql`.
fn statements(page: &str) -> Vec<Command> {
    let is_statement = |span: &Span<'_>| span.text.starts_with("SELECT ");
    let statement = |span: Span<'_>| Command {
        line: span.line,
        text: format!("psql \"$DATABASE_URL\" -c \"{}\"", span.text),
        check: Check::Runs(None),
    };
    spans(page).into_iter().filter(is_statement).map(statement).collect()
}

#[tokio::test]
async fn every_command_of_the_page_runs_or_is_marked() {
    let missing = missing();
    if !missing.is_empty() {
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        assert!(!ci, "CI is set, and here is no {missing:?}");
        println!("SKIPPED: no {}", missing.join(", no "));
        return;
    }
    let db = TestDb::new().await;
    let cluster = Cluster::new(db.url()).await;
    let smoke = "[handlers.\"jobqueue.smoke\"]\ntype = \"command\"\nargv = [\"/bin/true\"]\n";
    fs::write(cluster.work.config(), smoke).unwrap();
    let (api, _worker) = tokio::join!(cluster.api(), cluster.worker("of-the-page", 1));

    let page = read(PAGE);
    let address = api.address.to_string();
    let mut wanted: Vec<_> =
        commands(&page).iter().filter_map(|command| prepared(command, &address)).collect();
    assert!(wanted.len() >= 12, "{wanted:?}");
    wanted.extend(statements(&page));
    let (server, _) = db.url().rsplit_once('/').unwrap();
    let (_, host) = server.rsplit_once('@').unwrap();
    let variables = vec![
        ("API_SECRET_KEY", KEY.to_owned()),
        ("DATABASE_URL", db.url().to_owned()),
        ("ADMIN_URL", format!("{server}/postgres")),
        ("MANAGED_URL", format!("postgres://jobqueue@{host}/jobqueue_managed")),
        ("RESTORED_URL", format!("{server}/jobqueue_restored")),
    ];
    let all = move || {
        let dir = PageDir::new("all").with_manifests();
        dir.run(&wanted, &path(), &variables).unwrap_or_else(|failure| panic!("{failure}"));
    };
    spawn_blocking(all).await.unwrap();
}

/// The programs of a page: Python blocks whose first line is a comment with the file name.
fn programs(page: &str) -> Vec<(String, String)> {
    let blocks = page.split("```python\n").skip(1).filter_map(|block| Some(block.split_once("```")?.0));
    blocks
        .filter_map(|text| Some((text.strip_prefix("# ")?.lines().next()?.to_owned(), text.to_owned())))
        .collect()
}

/// Runs the commands and the programs of a page that needs only curl and Python, against an API on an empty database.
async fn run_page(name: &'static str, programs_of_page: usize) -> Option<TestDb> {
    let has = |program: &str| {
        Process::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    if !has("curl") || !has("python3") {
        println!("SKIPPED: no curl or no python3");
        return None;
    }
    let db = TestDb::new().await;
    let api = Cluster::new(db.url()).await.api().await;
    let page = read(&format!("docs/{name}.md"));
    let address = api.address.to_string();
    let wanted: Vec<_> = commands(&page).iter().filter_map(|command| prepared(command, &address)).collect();
    assert!(wanted.len() >= 10, "{wanted:?}");
    let all = move || {
        let dir = PageDir::new(name);
        let programs = programs(&page);
        assert_eq!(programs.len(), programs_of_page);
        for (name, text) in programs {
            fs::write(dir.0.join(name), text).unwrap();
        }
        let variables = vec![("API_SECRET_KEY", KEY.to_owned())];
        let path = std::env::var("PATH").unwrap();
        dir.run(&wanted, &path, &variables).unwrap_or_else(|failure| panic!("{failure}"));
    };
    spawn_blocking(all).await.unwrap();
    Some(db)
}

#[tokio::test]
async fn the_commands_and_the_program_of_the_page_of_remote_workers_run() {
    if let Some(db) = run_page("remote-workers", 1).await {
        let completed = "SELECT count(*) FROM jobs WHERE status = 'completed'";
        assert_eq!(db.number(completed).await, 2);
    }
}

#[tokio::test]
async fn the_commands_of_the_page_of_the_api_run() {
    if let Some(db) = run_page("api", 0).await {
        assert_eq!(
            db.number("SELECT count(*) FROM jobs").await,
            9,
            "one was purged with its queue, one was deleted"
        );
    }
}

#[tokio::test]
async fn the_commands_of_the_page_of_schedules_run() {
    if let Some(db) = run_page("schedules", 0).await {
        assert_eq!(db.number("SELECT count(*) FROM jobqueue.schedule").await, 3);
        assert_eq!(db.number("SELECT count(*) FROM jobs").await, 1, "that of `run`");
    }
}

#[tokio::test]
async fn the_commands_of_the_page_of_routes_run() {
    if let Some(db) = run_page("routes", 0).await {
        assert_eq!(db.number("SELECT count(*) FROM jobqueue.route").await, 3);
        assert_eq!(db.number("SELECT count(*) FROM jobs").await, 2, "a test stores nothing");
    }
}

#[tokio::test]
async fn the_commands_of_the_page_of_webhooks_run() {
    if let Some(db) = run_page("webhooks", 0).await {
        assert_eq!(db.number("SELECT count(*) FROM jobs").await, 3, "two jobs and one webhook");
    }
}

#[tokio::test]
async fn the_commands_of_the_page_for_celery_users_run() {
    if let Some(db) = run_page("celery", 0).await {
        assert_eq!(db.number("SELECT count(*) FROM jobqueue.schedule").await, 3);
    }
}

#[tokio::test]
async fn the_commands_of_the_page_of_streams_run() {
    if let Some(db) = run_page("streams", 0).await {
        assert_eq!(db.number("SELECT count(*) FROM jobs WHERE status = 'completed'").await, 1);
    }
}

#[test]
fn the_pages_name_existing_routes() {
    for name in [
        "docs/api.md",
        "docs/audit.md",
        "docs/celery.md",
        "docs/dead-letters.md",
        "docs/routes.md",
        "docs/schedules.md",
        "docs/streams.md",
        "docs/statistics.md",
        "docs/webhooks.md",
    ] {
        let page = read(name);
        let wrong: Vec<_> = spans(&page).iter().filter_map(finding).collect();
        assert!(wrong.is_empty(), "{name}\n{}", wrong.join("\n"));
    }
}

#[test]
fn a_command_that_fails_or_prints_something_else_is_reported() {
    let dir = PageDir::new("failing");
    let path = std::env::var("PATH").unwrap();
    let run = |page: &str| dir.run(&commands(page), &path, &vec![("WORD", "blue".to_owned())]);
    assert_eq!(run("```sh\necho $WORD    # → blue\nid=7\necho $id   # → 7\n```\n"), Ok(()));
    for (page, expected) in [
        ("```sh\ntrue\nno-such-program\n```\n", ":3: it fails: no-such-program"),
        ("```sh\nfalse | cat\n```\n", ":2: it fails"),
        ("```sh\necho $UNKNOWN\n```\n", ":2: it fails"),
        ("```sh\necho $WORD   # → green\n```\n", ":2: it does not print"),
    ] {
        let failure = run(page).unwrap_err();
        assert!(failure.contains(expected), "{page}: {failure}");
    }
}

/// The mistake in a code span, as far as it can be detected without a cluster.
fn finding(span: &Span<'_>) -> Option<String> {
    let words: Vec<_> = span.text.split(' ').collect();
    let marked = |mark: char| span.around.contains(mark);
    let wrong = match words.as_slice() {
        ["kubectl", _, ..] => (!marked(MARKS[0])).then_some("it needs a cluster and has no mark"),
        ["docker", _, ..] => (!marked(MARKS[1])).then_some("it needs a container engine and has no mark"),
        ["cargo", "test", "-p", package, rest @ ..] => {
            (!has_test(package, rest.last())).then_some("there is no such test")
        }
        ["GET" | "POST" | "PUT" | "PATCH" | "DELETE", route] => {
            (!is_route(words[0], route)).then_some("there is no such route")
        }
        [path, rest @ ..] if is_path(path) => {
            let in_a_cluster = Path::new(path).extension().is_some_and(|ending| ending == "sh");
            let needs_mark = in_a_cluster && !rest.is_empty() && !marked(MARKS[0]);
            if !root().join(path).exists() {
                Some("there is no such file")
            } else if unknown_option(&span.text).is_some() {
                Some("it has no such option")
            } else {
                needs_mark.then_some("it needs a cluster and has no mark")
            }
        }
        _ => None,
    };
    wrong.map(|wrong| format!("{PAGE}:{}: {wrong}: {}", span.line, span.text))
}

/// An option in a command that the script of the command does not have.
fn unknown_option(command: &str) -> Option<&str> {
    let before_comment = command.split(" # ").next().unwrap_or_default();
    let words = || before_comment.split_whitespace();
    let script = words().find(|word| is_path(word) && root().join(word).is_file())?;
    let known = fs::read_to_string(root().join(script)).ok()?;
    words().skip_while(|word| *word != script).find(|word| word.starts_with("--") && !known.contains(word))
}

fn is_path(word: &str) -> bool {
    let ours = ["k8s/", "k8s-overlays/", "scripts/", "compose/", "docs/", "crates/"];
    ours.iter().any(|start| word.starts_with(start)) && !word.contains(['*', '{'])
}

/// Whether a package has a test, or a file of tests, whose name contains the filter; without a filter, whether the
/// package exists.
fn has_test(package: &str, filter: Option<&&str>) -> bool {
    let directory = root().join("crates").join(package.trim_start_matches("jobqueue-"));
    let mut directories = vec![directory.clone()];
    let mut names = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if entry.is_dir() {
                directories.push(entry);
            } else if let Ok(text) = fs::read_to_string(&entry)
                && text.contains("test]\n")
            {
                names.push(entry.file_stem().unwrap().to_string_lossy().into_owned());
                let functions = text.split("test]\n").skip(1).filter_map(|after| after.split('(').next());
                names.extend(functions.map(str::to_owned));
            }
        }
    }
    directory.is_dir() && filter.is_none_or(|filter| names.iter().any(|name| name.contains(*filter)))
}

/// Whether docs/openapi.json has the route; words in capitals stand for any value.
fn is_route(method: &str, route: &str) -> bool {
    let openapi: Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let wanted: Vec<_> = route.split('?').next().unwrap().split('/').collect();
    let same = |known: &str, wanted: &str| {
        known == wanted || known.starts_with('{') && wanted.chars().all(|c| c.is_ascii_uppercase())
    };
    let fits = |known: &str| {
        let known: Vec<_> = known.split('/').collect();
        known.len() == wanted.len() && known.iter().zip(&wanted).all(|(known, wanted)| same(known, wanted))
    };
    let paths = openapi["paths"].as_object().unwrap();
    paths.iter().any(|(path, methods)| fits(path) && methods[method.to_ascii_lowercase()].is_object())
}

#[test]
fn names_in_the_text_exist_and_commands_that_cannot_run_are_marked() {
    let page = read(PAGE);
    let findings: Vec<_> = spans(&page).iter().filter_map(finding).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    let languages = page.split("```").skip(1).step_by(2).filter_map(|block| block.lines().next());
    let unknown: Vec<_> = languages.filter(|language| !["sh", "yaml"].contains(language)).collect();
    assert!(unknown.is_empty(), "a block of commands is `sh`: {unknown:?}");
    for command in commands(&page) {
        let option = unknown_option(&command.text);
        assert_eq!(option, None, "{PAGE}:{}: {}", command.line, command.text);
        if let Check::RunBy(script) = &command.check {
            let program = command.text.split_whitespace().find(|word| is_path(word)).unwrap();
            assert!(
                read(script).contains(program),
                "{PAGE}:{}: {script} does not run {program}",
                command.line
            );
        }
    }
    for (text, expected) in [
        ("`kubectl get pods`", "no mark"),
        ("`docker ps` (⎈)", "no mark"),
        ("`k8s/deploy.sh --overlay dev`", "no mark"),
        ("`k8s/deploy.sh --no-such-option` (⎈)", "no such option"),
        ("`scripts/nothing-of-this-name`", "no such file"),
        ("`cargo test -p jobqueue-e2e no_such_test`", "no such test"),
        ("`POST /v1/jobs/ID`", "no such route"),
    ] {
        let found: Vec<_> = spans(text).iter().filter_map(finding).collect();
        assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:?}");
    }
}
