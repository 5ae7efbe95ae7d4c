//! docs/operations.md keeps its word: each command of its shell blocks is marked as needing what is not here, or is run by a script
//! that it names, or runs here as it stands, in the order of the page, on a Postgres and processes of its own. The commands in its text
//! are looked at as far as they can be: paths, tests and routes exist, SQL runs.

mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use jobqueue_testkit::TestDb;
use serde_json::Value;
use tokio::task::spawn_blocking;

use self::page::{Command, MARKS, Span, Way, commands, spans};
use crate::client::KEY;
use crate::cluster::Cluster;
use crate::restore::tools;

const PAGE: &str = "docs/operations.md";
/// Where the page's commands find the API.
const API: &str = "127.0.0.1:8000";
/// How they make a database, whose name is taken on the server of the tests.
const MAKES: &str = "CREATE DATABASE jobqueue ";
/// For all commands together, in seconds; for broken ones.
const LIMIT: &str = "180";
/// Variables that the page's commands read and their reader has set.
type Variables = Vec<(&'static str, String)>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A directory with the manifests and the scripts, where commands may write. Gone with the test, unless that failed.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("jobqueue-page-{}-{name}", std::process::id()));
        let _absent = fs::remove_dir_all(&place);
        fs::create_dir_all(place.join("printed")).unwrap();
        Self(place)
    }

    fn with_manifests(self) -> Self {
        for directory in ["k8s", "k8s-overlays"] {
            let from = root().join(directory);
            assert!(Process::new("cp").arg("-r").arg(from).arg(&self.0).status().unwrap().success());
        }
        // a developer's own
        let _absent = fs::remove_file(self.0.join("k8s/secret-values.yaml"));
        self
    }

    /// Runs commands in one shell, as one who types them does, and says which one failed or did not print what it should.
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
        let told = |number: usize, what: &str| {
            let Command { line, text, .. } = &commands[number];
            format!("{PAGE}:{line}: {what}: {text}\n{}", printed(number))
        };
        if !output.status.success() {
            let at = fs::read_to_string(self.0.join("printed/at")).unwrap_or_default();
            let Ok(number) = at.trim().parse() else {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            };
            return Err(told(number, "it fails"));
        }
        for (number, command) in commands.iter().enumerate() {
            if let Way::Here(Some(words)) = &command.way
                && !printed(number).contains(words)
            {
                return Err(told(number, "it does not print what it should"));
            }
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _absent = fs::remove_dir_all(&self.0);
        }
    }
}

/// What the page's commands need besides our binaries and is not here.
fn missing() -> Vec<&'static str> {
    let answers = |program: &str, arguments: &[&str], word: &str| {
        let output = Process::new(program).args(arguments).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(word))
    };
    let mut missing = Vec::new();
    if !answers("curl", &["--help", "all"], "--fail-with-body") {
        missing.push("curl 7.76");
    }
    // 1.27 comes with kustomize 5
    if !answers("kubectl", &["version", "--client", "-o", "json"], "\"kustomizeVersion\": \"v5") {
        missing.push("kubectl 1.27");
    }
    let has_all = |dir: PathBuf| ["psql", "createdb"].iter().all(|name| dir.join(name).is_file());
    if !tools().is_some_and(has_all) {
        missing.push("pg_dump, pg_restore, psql, createdb (Debian: postgresql-client)");
    }
    missing
}

/// Finds our binaries, then the clients of the server's version.
fn path() -> String {
    let binaries = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf();
    let before = std::env::var("PATH").unwrap_or_default();
    format!("{}:{}:{before}", binaries.display(), tools().unwrap().display())
}

/// A command that runs here, with the names and addresses of this test.
fn here(command: &Command, address: &str) -> Option<Command> {
    let Way::Here(_) = command.way else { return None };
    let text = command.text.replace(API, address).replace(MAKES, "CREATE DATABASE jobqueue_managed ");
    Some(Command { text, ..command.clone() })
}

/// The statements in the text, for `psql`.
fn statements(page: &str) -> Vec<Command> {
    let is_statement = |span: &Span<'_>| span.text.starts_with("SELECT ");
    let statement = |span: Span<'_>| Command {
        line: span.line,
        text: format!("psql \"$DATABASE_URL\" -c \"{}\"", span.text),
        way: Way::Here(None),
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
    let mut wanted: Vec<_> = commands(&page).iter().filter_map(|command| here(command, &address)).collect();
    assert!(wanted.len() >= 12, "{wanted:?}");
    wanted.extend(statements(&page));
    let (server, _) = db.url().rsplit_once('/').unwrap();
    let (_, place) = server.rsplit_once('@').unwrap();
    let variables = vec![
        ("API_SECRET_KEY", KEY.to_owned()),
        ("DATABASE_URL", db.url().to_owned()),
        ("ADMIN_URL", format!("{server}/postgres")),
        ("MANAGED_URL", format!("postgres://jobqueue@{place}/jobqueue_managed")),
        ("RESTORED_URL", format!("{server}/jobqueue_restored")),
    ];
    let all = move || {
        let place = Place::new("all").with_manifests();
        place.run(&wanted, &path(), &variables).unwrap_or_else(|failure| panic!("{failure}"));
    };
    spawn_blocking(all).await.unwrap();
}

#[test]
fn a_command_that_fails_or_prints_something_else_is_told() {
    let place = Place::new("failing");
    let path = std::env::var("PATH").unwrap();
    let run = |page: &str| place.run(&commands(page), &path, &vec![("WORD", "blue".to_owned())]);
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

/// What is wrong with a code span, as far as can be said without a cluster.
fn finding(span: &Span<'_>) -> Option<String> {
    let words: Vec<_> = span.text.split(' ').collect();
    let marked = |mark: char| span.around.contains(mark);
    let wrong = match words.as_slice() {
        ["kubectl", _, ..] => (!marked(MARKS[0])).then_some("it needs a cluster and has no mark"),
        ["docker", _, ..] => (!marked(MARKS[1])).then_some("it needs a container engine and has no mark"),
        ["cargo", "test", "-p", package, rest @ ..] => {
            (!has_test(package, rest.last())).then_some("there is no such test")
        }
        ["GET" | "POST" | "PATCH", route] => (!is_route(words[0], route)).then_some("there is no such route"),
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

/// An option of a script of ours that the script does not know.
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

/// Whether a package has a test, or a file of tests, with this in its name; without one, whether there is such a package.
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

/// Whether docs/openapi.json has it; capitals stand for any value.
fn is_route(method: &str, route: &str) -> bool {
    let openapi: Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let asked: Vec<_> = route.split('?').next().unwrap().split('/').collect();
    let same = |known: &str, asked: &str| {
        known == asked || known.starts_with('{') && asked.chars().all(|c| c.is_ascii_uppercase())
    };
    let fits = |known: &str| {
        let known: Vec<_> = known.split('/').collect();
        known.len() == asked.len() && known.iter().zip(&asked).all(|(known, asked)| same(known, asked))
    };
    let paths = openapi["paths"].as_object().unwrap();
    paths.iter().any(|(path, methods)| fits(path) && methods[method.to_ascii_lowercase()].is_object())
}

#[test]
fn what_the_text_names_exists_and_what_it_cannot_run_is_marked() {
    let page = read(PAGE);
    let findings: Vec<_> = spans(&page).iter().filter_map(finding).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    let languages = page.split("```").skip(1).step_by(2).filter_map(|block| block.lines().next());
    let unknown: Vec<_> = languages.filter(|language| !["sh", "yaml"].contains(language)).collect();
    assert!(unknown.is_empty(), "a block of commands is `sh`: {unknown:?}");
    for command in commands(&page) {
        let option = unknown_option(&command.text);
        assert_eq!(option, None, "{PAGE}:{}: {}", command.line, command.text);
        if let Way::By(script) = &command.way {
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
