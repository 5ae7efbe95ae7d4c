//! Steady load: clients that submit one job after the other and insist until they are answered. It judges nothing; what it
//! saw is in the history.

use std::sync::Arc;
use std::time::Duration;

use jobqueue_testkit::eventually;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::cluster::LIMIT;
use crate::history::History;
use crate::ledger::{NAP, QUICK, job};

/// Between two submissions of one client: the rate of the load.
const PAUSE: Duration = Duration::from_millis(80);
/// Before an unanswered request is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(100);
/// Every so many jobs is one that takes a while.
const NAP_EVERY: usize = 4;

/// Clients at work.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
    history: Arc<History>,
}

impl Load {
    /// Starts so many clients, each with words of its own.
    pub(crate) fn start(clients: usize, client: &Client, history: &Arc<History>) -> Self {
        let stop = watch::Sender::new(false);
        let mut load = Self { stop, clients: JoinSet::new(), history: history.clone() };
        for name in 0..clients {
            let (client, history, stop) = (client.clone(), history.clone(), load.stop.subscribe());
            load.clients.spawn(async move {
                let mut number = 0;
                while !*stop.borrow() {
                    number += 1;
                    submit_surely(&client, &history, &format!("c{name}-{number}"), number).await;
                    sleep(PAUSE).await;
                }
            });
        }
        load
    }

    /// Waits until so many more submissions are acknowledged.
    pub(crate) async fn more(&self, count: usize) {
        let goal = self.history.acknowledged() + count;
        eventually(LIMIT, &format!("{count} more acknowledgements"), async || {
            let now = self.history.acknowledged();
            if now >= goal { Ok(()) } else { Err((now, goal)) }
        })
        .await;
    }

    /// No further submission; every one that was begun is answered. Returns how many were acknowledged.
    pub(crate) async fn finish(mut self) -> usize {
        self.stop.send_replace(true);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.history.acknowledged()
    }
}

/// Submits a word under its own idempotency key, again and again until the answer is clear.
async fn submit_surely(client: &Client, history: &History, word: &str, number: usize) {
    let kind = if number.is_multiple_of(NAP_EVERY) { NAP } else { QUICK };
    let body = job(kind, word).to_string();
    let deadline = Instant::now() + LIMIT;
    loop {
        history.sent(word);
        let said = client.try_post("/v1/jobs", body.clone(), Some(word)).await;
        match &said {
            Ok(answer) if history.answered(word, answer) => return,
            Ok(_) => {}
            Err(_) => history.unknown(word),
        }
        assert!(Instant::now() < deadline, "{word} has no clear answer within {LIMIT:?}: {said:?}");
        sleep(REPEAT_AFTER).await;
    }
}
