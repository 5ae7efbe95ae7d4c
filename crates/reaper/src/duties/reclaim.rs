//! reclaim: jobs of dead workers and expired leases run again. Careful after an outage of the database, when every worker
//! looks dead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jobqueue_store::{Notifier, Store, StoreError};

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Outage, Step};

/// Leases that one step takes; each may cover up to 64 jobs.
const LEASES: u32 = 50;

/// See the module.
#[derive(Debug)]
pub struct Reclaim {
    interval: Duration,
    hold_off: Duration,
    outage: Outage,
    begun: AtomicBool,
}

impl Reclaim {
    /// With the rhythm and bounds of the process.
    pub fn new(args: &DutyArgs) -> Self {
        Self {
            interval: args.reclaim_interval,
            hold_off: args.hold_off,
            outage: Outage::default(),
            begun: AtomicBool::new(false),
        }
    }

    /// A reaper that has just started has seen no outage, and a promoted standby has been up for long. If every worker has been
    /// silent, it is taken for one.
    async fn begin(&self, store: &Store) -> Result<(), StoreError> {
        if self.begun.load(Ordering::Relaxed) || self.hold_off.is_zero() {
            return Ok(());
        }
        if let Some(silence) = store.silence().await?.filter(|silence| *silence > self.hold_off / 2) {
            let silence_seconds = silence.as_secs_f64();
            tracing::info!(
                silence_seconds,
                "every worker was silent, as after an outage: nothing is reclaimed for a while"
            );
            self.outage.seen();
        }
        self.begun.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Duty for Reclaim {
    fn name(&self) -> &'static str {
        "reclaim"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn step<'a>(&'a self, store: &'a Store, notifier: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            self.begin(store).await?;
            if self.outage.within(self.hold_off) {
                store.ping().await?;
                return Ok(Done::default());
            }
            let reclaimed = store.reclaim(self.hold_off, LEASES).await?;
            for job_id in &reclaimed.jobs {
                tracing::warn!(%job_id, "lease lost, attempt ended");
            }
            for queue in &reclaimed.queues {
                notifier.wake(queue);
            }
            let jobs = u64::try_from(reclaimed.jobs.len()).unwrap_or(u64::MAX);
            Ok(Done { jobs, more: jobs > 0 })
        })
    }

    fn database_was_away(&self) {
        self.outage.seen();
    }
}
