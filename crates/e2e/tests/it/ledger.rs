//! The handlers of the tests and their ledger: a shell script that appends a line to a file when it starts and when it
//! ends. The file records all executions, in the order of their events, independently of the database.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jobqueue_testkit::eventually;
use serde_json::{Value, json};

/// Returns its input.
pub(crate) const ECHO: &str = "echo";
/// Ends at once.
pub(crate) const QUICK: &str = "ledger.quick";
/// Takes 200 ms.
pub(crate) const NAP: &str = "ledger.nap";
/// Waits until the test opens the gate of its word and attempt.
pub(crate) const GATE: &str = "ledger.gate";
/// Fails twice, then succeeds.
pub(crate) const FLAKY: &str = "ledger.flaky";

const MODES: [&str; 4] = [QUICK, NAP, GATE, FLAKY];
/// Time limit for an expected line; reached only if the test fails.
const LINE_LIMIT: Duration = Duration::from_secs(90);

/// Each line is appended (`>>`) with a single write, so lines of several processes never mix.
const SCRIPT: &str = r#"#!/bin/sh
# ledger.sh DIRECTORY MODE; the payload, a word in quotes, on standard input.
dir=$1 mode=$2
IFS= read -r word
word=${word#\"} word=${word%\"}
note() { echo "$1 $word $JOBQUEUE_JOB_ID $JOBQUEUE_ATTEMPT $$" >>"$dir/ledger"; }
note start
case $mode in
ledger.nap) sleep 0.2 ;;
ledger.gate)
    # at most some minutes, because a script may run longer than its worker and its test
    checks=0
    while [ ! -e "$dir/open-$word-$JOBQUEUE_ATTEMPT" ]; do
        checks=$((checks + 1))
        [ -e "$dir/ledger" ] && [ "$checks" -lt 10000 ] || exit 1
        sleep 0.02
    done ;;
ledger.flaky) if [ "$JOBQUEUE_ATTEMPT" -lt 3 ]; then note fail; exit 1; fi ;;
esac
note end
echo "\"$word by attempt $JOBQUEUE_ATTEMPT\""
"#;

/// Makes the directories of one process unique.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory of one test with the handlers, their ledger and the workers' configuration. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct WorkDir(PathBuf);

/// One execution of a handler, from its lines in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Execution {
    /// The job's payload.
    pub(crate) word: String,
    pub(crate) job_id: String,
    pub(crate) attempt: u32,
    pub(crate) pid: u32,
    /// Whether it ended with success.
    pub(crate) ended: bool,
}

impl WorkDir {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = Self(std::env::temp_dir().join(format!("jobqueue-e2e-{}-{number}", std::process::id())));
        fs::create_dir_all(&dir.0).unwrap();
        fs::write(dir.script(), SCRIPT).unwrap();
        fs::write(dir.path().join("ledger"), "").unwrap();
        fs::write(dir.config(), dir.handlers()).unwrap();
        dir
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The workers' configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("worker.toml")
    }

    fn script(&self) -> PathBuf {
        self.0.join("ledger.sh")
    }

    fn handlers(&self) -> String {
        let (script, dir) = (self.script(), self.path());
        let handler =
            |kind: &str, argv: Value| format!("[handlers.\"{kind}\"]\ntype = \"command\"\nargv = {argv}\n");
        let scripted = |mode| handler(mode, json!(["/bin/sh", script.to_str(), dir.to_str(), mode]));
        MODES.into_iter().map(scripted).chain([handler(ECHO, json!(["/bin/cat"]))]).collect()
    }

    /// Every execution, in the order of their starts.
    pub(crate) fn executions(&self) -> Vec<Execution> {
        let text = fs::read_to_string(self.0.join("ledger")).unwrap();
        let mut executions: Vec<Execution> = Vec::new();
        // an incomplete last line is still being written
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let (what, execution) = parse(line);
            match what {
                "start" => executions.push(execution),
                "end" => {
                    let same = |begun: &&mut Execution| **begun == execution;
                    let begun = executions.iter_mut().rev().find(same);
                    begun.unwrap_or_else(|| panic!("an end without its start: {line}")).ended = true;
                }
                _ => {}
            }
        }
        executions
    }

    /// The executions of one word.
    pub(crate) fn executions_of(&self, word: &str) -> Vec<Execution> {
        self.executions().into_iter().filter(|execution| execution.word == word).collect()
    }

    /// Waits for the execution number `count` of a word to start, and returns it.
    pub(crate) async fn started(&self, word: &str, count: usize) -> Execution {
        eventually(LINE_LIMIT, &format!("execution {count} of {word}"), async || {
            let all = self.executions_of(word);
            all.get(count - 1).cloned().ok_or(all)
        })
        .await
    }

    /// Opens the gate for one attempt of a [`GATE`] job.
    pub(crate) fn open(&self, word: &str, attempt: u32) {
        fs::write(self.0.join(format!("open-{word}-{attempt}")), "").unwrap();
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // a failure does not matter: it is in the system's temporary directory
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A job whose handler records `word`.
pub(crate) fn job(kind: &str, word: &str) -> Value {
    json!({ "kind": kind, "payload": word })
}

fn parse(line: &str) -> (&str, Execution) {
    let mut parts = line.split(' ');
    let mut next = || parts.next().unwrap_or_else(|| panic!("not a line of the ledger: {line}"));
    let (what, word, job_id) = (next(), next().to_owned(), next().to_owned());
    let mut number = || next().parse().unwrap_or_else(|_| panic!("not a line of the ledger: {line}"));
    let (attempt, pid) = (number(), number());
    (what, Execution { word, job_id, attempt, pid, ended: false })
}
