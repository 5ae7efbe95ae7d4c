//! vacuum: removes dead rows from the hot tables within seconds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jobqueue_store::{HotTable, Notifier, Store};
use tokio::time::Instant;

use crate::args::DutyArgs;
use crate::duty::{Done, Duty, Step};

/// A table is vacuumed only if at least one in this many of its rows is dead, because each vacuum reads its
/// indexes completely.
const LIVE_SHARE: u64 = 10;
/// After a vacuum, a table is left alone for this many times the duration of the vacuum,
const REST: u32 = 4;
/// and, while a vacuum removes less than half of the dead rows because an old snapshot still needs them, for
/// twice as long each time, up to this.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub struct VacuumDuty {
    interval: Duration,
    dead_rows: u64,
    /// How long each table is left alone, and until when.
    rests: Mutex<HashMap<String, (Duration, Instant)>>,
    logged: AtomicBool,
}

impl VacuumDuty {
    /// With the interval and the threshold of the process's arguments.
    pub fn new(args: &DutyArgs) -> Self {
        Self {
            interval: args.vacuum_interval,
            dead_rows: args.vacuum_dead_rows,
            rests: Mutex::default(),
            logged: AtomicBool::new(false),
        }
    }

    fn is_due(&self, table: &HotTable) -> bool {
        let rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        table.dead >= table.live / LIVE_SHARE
            && rests.get(&table.name).is_none_or(|(_, until)| *until <= Instant::now())
    }

    /// Records the duration of a vacuum of this table and how many dead rows it left.
    fn vacuumed(&self, table: &HotTable, left: u64, took: Duration) {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        let before = rests.get(&table.name).map_or(Duration::ZERO, |(rest, _)| *rest);
        let rest = rest(self.interval, before, left > table.dead / 2, took);
        rests.insert(table.name.clone(), (rest, Instant::now() + rest));
    }
}

/// How long a table is left alone after a vacuum with this duration.
fn rest(interval: Duration, before: Duration, in_vain: bool, took: Duration) -> Duration {
    let by_cost = took * REST;
    if in_vain { by_cost.max((before * 2).clamp(interval, LONGEST_REST)) } else { by_cost }
}

impl Duty for VacuumDuty {
    fn name(&self) -> &'static str {
        "vacuum"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn step<'a>(&'a self, store: &'a Store, _: &'a Notifier) -> Step<'a> {
        Box::pin(async move {
            let mut removed = 0;
            if self.dead_rows == 0 {
                return Ok(Done::default());
            }
            for table in store.upkeep().hot_tables(self.dead_rows).await? {
                if !table.allowed {
                    if !self.logged.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            table = table.name,
                            "this role may not vacuum the tables of the queue, so dead rows wait for autovacuum: make it \
                             their owner or grant MAINTAIN"
                        );
                    }
                } else if self.is_due(&table) {
                    let began = Instant::now();
                    let left = store.upkeep().vacuum(&table).await?;
                    self.vacuumed(&table, left, began.elapsed());
                    removed += table.dead.saturating_sub(left);
                }
            }
            Ok(Done { jobs: removed, more: false })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vacuum_in_vain_is_repeated_less_and_less_often() {
        let second = Duration::from_secs(1);
        let mut now = Duration::ZERO;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            now = rest(second, now, true, Duration::from_millis(1));
            assert_eq!(now, second * expected);
        }
        assert_eq!(rest(second, now, false, second), second * REST, "it helps again");
        assert_eq!(rest(second, now, true, second * 100), second * 400, "a costly one rests for longer");
    }
}
