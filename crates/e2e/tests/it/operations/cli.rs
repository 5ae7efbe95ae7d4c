//! The commands of docs/cli.md run, against an API, a worker and a reaper.

use std::fs;

use jobqueue_testkit::TestDb;
use tokio::task::spawn_blocking;

use super::{PageDir, commands, prepared, read};
use crate::client::KEY;
use crate::cluster::Cluster;

#[tokio::test]
async fn the_commands_of_the_page_of_the_cli_run() {
    let page = read("docs/cli.md");
    let db = TestDb::new().await;
    let cluster = Cluster::quick(db.url()).await;
    let (_, handlers) = page.split_once("```toml\n").unwrap();
    fs::write(cluster.work.config(), handlers.split_once("```").unwrap().0).unwrap();
    let (api, _worker, _reaper) =
        tokio::join!(cluster.api(), cluster.worker("of-the-page", 2), cluster.reaper());
    let address = api.address.to_string();
    let wanted: Vec<_> = commands(&page).iter().filter_map(|command| prepared(command, &address)).collect();
    assert!(wanted.len() >= 40, "{wanted:?}");
    let url = db.url().to_owned();
    let all = move || {
        let dir = PageDir::new("cli");
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
}
