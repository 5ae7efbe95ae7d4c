//! The commands of docs/cli.md, docs/audit.md, docs/dead-letters.md and docs/statistics.md run, against an API, a worker and a reaper.

use std::fs;

use jobqueue_testkit::TestDb;
use tokio::task::spawn_blocking;

use super::{PageDir, commands, prepared, read};
use crate::client::KEY;
use crate::cluster::Cluster;

#[tokio::test]
async fn the_commands_of_the_page_of_the_cli_run() {
    run_page("cli", 40).await;
}

#[tokio::test]
async fn the_commands_of_the_page_of_dead_letters_run() {
    let db = run_page("dead-letters", 30).await;
    assert_eq!(db.number("SELECT count(*) FROM jobqueue.dead_letter").await, 0, "they were purged");
    assert_eq!(db.number("SELECT count(*) FROM jobs WHERE status = 'completed'").await, 1, "the replacement");
}

#[tokio::test]
async fn the_commands_of_the_page_of_the_audit_log_run() {
    run_page("audit", 15).await;
}

#[tokio::test]
async fn the_commands_of_the_page_of_statistics_run() {
    run_page("statistics", 15).await;
}

/// Runs at least so many commands of a page. The handlers of the worker are those of the page, or else of docs/cli.md.
async fn run_page(name: &'static str, least: usize) -> TestDb {
    let (page, of_cli) = (read(&format!("docs/{name}.md")), read("docs/cli.md"));
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (_, handlers) = page.split_once("```toml\n").or_else(|| of_cli.split_once("```toml\n")).unwrap();
    fs::write(cluster.work.config(), handlers.split_once("```").unwrap().0).unwrap();
    let (api, _worker, _reaper) =
        tokio::join!(cluster.api(), cluster.worker("of-the-page", 2), cluster.reaper());
    let address = api.address.to_string();
    let wanted: Vec<_> = commands(&page).iter().filter_map(|command| prepared(command, &address)).collect();
    assert!(wanted.len() >= least, "{wanted:?}");
    let url = db.url().to_owned();
    let all = move || {
        let dir = PageDir::new(name);
        let variables = vec![
            ("API_SECRET_KEY", KEY.to_owned()),
            ("DATABASE_URL", url),
            ("HOME", dir.0.display().to_string()),
        ];
        let binaries = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().display().to_string();
        let path = format!("{binaries}:{}", std::env::var("PATH").unwrap());
        dir.run(&wanted, &path, &variables).unwrap_or_else(|failure| panic!("{failure}"));
    };
    spawn_blocking(all).await.unwrap();
    db
}
