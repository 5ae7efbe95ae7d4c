//! The help of the top level is committed, and completion scripts know the commands.

use std::path::Path;

use crate::service::{Home, run};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/help.txt");

#[tokio::test]
async fn the_help_is_the_committed_one() {
    let ran = run(&Home::new(), &["--help"], &[("COLUMNS", "120")], "").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    if std::env::var_os("JOBQUEUE_UPDATE_DOCS").is_some() {
        std::fs::write(SNAPSHOT, &ran.stdout).unwrap();
    }
    let committed = std::fs::read_to_string(Path::new(SNAPSHOT)).unwrap_or_default();
    assert!(
        committed == ran.stdout,
        "run this test with JOBQUEUE_UPDATE_DOCS=1 and read the diff:\n{}",
        ran.stdout
    );
}

#[tokio::test]
async fn scripts_for_shells_know_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&home, &["completion", shell], &[], "").await;
        assert_eq!(ran.code, 0, "{ran:?}");
        for command in ["describe", "promote", "--dry-run", "completion"] {
            let word = if shell == "fish" { command.trim_start_matches('-') } else { command };
            assert!(ran.stdout.contains(word), "{shell}: {command}");
        }
    }
}
