//! Steady load: clients that submit one job after another, and repeat each request until it has a final response. The
//! history records the requests and responses.

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

/// Pause between two submissions of one client.
const PAUSE: Duration = Duration::from_millis(80);
/// Pause before a request without a final response is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(100);
/// One in this many jobs takes 200 ms.
const NAP_EVERY: usize = 4;

/// The running clients.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
    history: Arc<History>,
}

impl Load {
    /// Starts this many clients, each with its own words.
    pub(crate) fn start(clients: usize, client: &Client, history: &Arc<History>) -> Self {
        let stop = watch::Sender::new(false);
        let mut load = Self { stop, clients: JoinSet::new(), history: history.clone() };
        for name in 0..clients {
            let (client, history, stop) = (client.clone(), history.clone(), load.stop.subscribe());
            load.clients.spawn(async move {
                let mut number = 0;
                while !*stop.borrow() {
                    number += 1;
                    submit_until_final(&client, &history, &format!("c{name}-{number}"), number).await;
                    sleep(PAUSE).await;
                }
            });
        }
        load
    }

    /// Waits until this many more submissions are acknowledged.
    pub(crate) async fn more(&self, count: usize) {
        let goal = self.history.acknowledged() + count;
        eventually(LIMIT, &format!("{count} more acknowledgements"), async || {
            let now = self.history.acknowledged();
            if now >= goal { Ok(()) } else { Err((now, goal)) }
        })
        .await;
    }

    /// Stops submitting, and waits until every request has a final response. Returns how many were acknowledged.
    pub(crate) async fn finish(mut self) -> usize {
        self.stop.send_replace(true);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.history.acknowledged()
    }
}

/// Submits a word with its own idempotency key, and repeats the request until the response is final.
async fn submit_until_final(client: &Client, history: &History, word: &str, number: usize) {
    let kind = if number.is_multiple_of(NAP_EVERY) { NAP } else { QUICK };
    let body = job(kind, word).to_string();
    let deadline = Instant::now() + LIMIT;
    loop {
        history.sent(word);
        let answered = client.try_post("/v1/jobs", body.clone(), Some(word)).await;
        match &answered {
            Ok(answer) if history.answered(word, answer) => return,
            Ok(_) => {}
            Err(_) => history.unknown(word),
        }
        assert!(Instant::now() < deadline, "{word} has no clear answer within {LIMIT:?}: {answered:?}");
        sleep(REPEAT_AFTER).await;
    }
}
