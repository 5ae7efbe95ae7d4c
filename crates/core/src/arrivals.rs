//! When workers must be notified of jobs that were enqueued in SQL. `jobqueue.enqueue` counts its calls in a sequence, which
//! changes at the call and not at the commit. So the reaper reads the sequence together with the transactions in progress:
//! the job becomes visible when one of these ends.

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

/// The pause between two checks is the time since the last change divided by this.
const QUIET_TIME_PER_PAUSE: u32 = 50;
/// The shortest pause between two checks: about the duration of a commit.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// The shortest pause after a notification, so that jobs that arrive fast share one.
const PAUSE_AFTER_NOTIFICATION: Duration = Duration::from_millis(5);
/// After this number of checks the workers are notified of a call although no transaction has ended. Also the least number of
/// checks between two such notifications.
const UNCONFIRMED_AFTER: u8 = 8;

/// The transactions with writes that are in progress at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InProgress {
    /// Those below `recent`.
    older: BTreeSet<u64>,
    /// From the first that is younger than all ended ones, to the next that will begin.
    recent: Range<u64>,
}

impl InProgress {
    /// From a snapshot as `pg_current_snapshot()` writes it, and the lower half of the number of the next transaction.
    ///
    /// # Errors
    /// The text is not a snapshot.
    pub fn parse(snapshot: &str, next: u32) -> Result<Self, String> {
        let fields = snapshot.split(':').collect::<Vec<_>>();
        let [_, ended, older] = fields[..] else { return Err(format!("not a snapshot: {snapshot}")) };
        let number =
            |text| u64::from_str(text).map_err(|error| format!("not a snapshot: {snapshot}: {error}"));
        let from = number(ended)?;
        let older = older.split(',').filter(|text| !text.is_empty());
        let older = older.map(number).collect::<Result<_, _>>()?;
        let lower_half = u32::try_from(from % (1 << 32)).unwrap_or_default();
        Ok(Self { older, recent: from..from + u64::from(next.wrapping_sub(lower_half)) })
    }

    fn is_empty(&self) -> bool {
        self.older.is_empty() && self.recent.is_empty()
    }

    /// How many began at `from` or later.
    fn began_since(&self, from: u64) -> u64 {
        let recent = self.recent.end - self.recent.start.max(from).min(self.recent.end);
        recent + self.older.range(from..).fold(0, |count, _| count + 1)
    }

    /// Removes those that have ended in a later snapshot. Returns whether there were any.
    fn drop_ended(&mut self, later: &Self) -> bool {
        let known = self.older.len();
        self.older.retain(|transaction| later.older.contains(transaction));
        let any_older = self.older.len() < known;
        // of the recent ones, these are no longer younger than all that have ended
        let to = later.recent.start.min(self.recent.end).max(self.recent.start);
        let passed = self.recent.start..to;
        self.recent.start = to;
        let open: Vec<u64> = later.older.range(passed.clone()).copied().collect();
        let any_recent = passed.end - passed.start > open.iter().fold(0, |count, _| count + 1);
        self.older.extend(open);
        any_older || any_recent
    }
}

/// What one check reads from the database.
#[derive(Clone, Debug)]
pub struct ArrivalCheck {
    /// The number of calls so far.
    pub calls: i64,
    /// The transactions that were in progress when the check began, or began during it.
    pub in_progress: InProgress,
}

/// The state between two checks.
#[derive(Debug, Default)]
pub struct Arrivals {
    last: Option<Last>,
    /// The transactions that may have enqueued jobs and had not ended at the last check.
    open: InProgress,
    /// The number of checks after which the workers are notified of a call although no transaction has ended. `None` if
    /// there is no such call.
    unconfirmed_in: Option<u8>,
    /// The number of checks since the last such notification.
    unconfirmed_ago: u8,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    calls: i64,
    /// The first transaction that began after the check.
    next: u64,
}

impl Arrivals {
    /// Whether to notify the workers now. The first check does, because earlier calls are not known.
    pub fn check(&mut self, check: ArrivalCheck) -> bool {
        let ArrivalCheck { calls, in_progress } = check;
        let this = Last { calls, next: in_progress.recent.end };
        let Some(last) = self.last.replace(this) else {
            self.open = in_progress;
            return true;
        };
        let called = calls.abs_diff(last.calls);
        // each call may belong to a transaction that began since the last check and has not ended
        let all_open = called <= in_progress.began_since(last.next);
        let all_ended = called > 0 && in_progress.is_empty();
        let one_ended = self.open.drop_ended(&in_progress);
        if called > 0 {
            self.open = in_progress;
        }
        self.unconfirmed_ago = self.unconfirmed_ago.saturating_add(1);
        if one_ended || all_ended {
            self.unconfirmed_in = None;
            return true;
        }
        if called > 0 {
            let wait = if all_open {
                UNCONFIRMED_AFTER
            } else {
                UNCONFIRMED_AFTER.saturating_sub(self.unconfirmed_ago)
            };
            self.unconfirmed_in = Some(self.unconfirmed_in.map_or(wait, |due| due.min(wait)));
        }
        let is_due = self.unconfirmed_in == Some(0);
        self.unconfirmed_in = self.unconfirmed_in.and_then(|checks| checks.checked_sub(1));
        if is_due {
            self.unconfirmed_ago = 0;
        }
        is_due
    }

    /// Whether a call was seen and the workers were not notified of it.
    pub fn is_waiting(&self) -> bool {
        self.unconfirmed_in.is_some()
    }
}

/// The pause before the next check, when the last change was `quiet` ago.
pub fn pause(notified: bool, quiet: Duration, longest: Duration) -> Duration {
    let shortest = if notified { PAUSE_AFTER_NOTIFICATION } else { SHORTEST_PAUSE };
    (quiet / QUIET_TIME_PER_PAUSE).max(shortest).min(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_millis(20);

    /// A database as far as a check reads it. Transactions are numbered from 10.
    #[derive(Debug, Default)]
    struct Database {
        calls: i64,
        begun: u64,
        open: BTreeSet<u64>,
        ended: u64,
    }

    impl Database {
        fn begin(&mut self) -> u64 {
            self.begun += 1;
            self.open.insert(self.begun + 9);
            self.begun + 9
        }

        fn enqueue(&mut self) -> u64 {
            self.calls += 1;
            self.begin()
        }

        fn end(&mut self, transaction: u64) {
            self.open.remove(&transaction);
            self.ended = self.ended.max(transaction);
        }

        fn check(&self) -> ArrivalCheck {
            let ended = self.ended.max(9) + 1;
            let listed: Vec<String> = self.open.range(..ended).map(u64::to_string).collect();
            let snapshot = format!("{}:{ended}:{}", self.open.first().unwrap_or(&ended), listed.join(","));
            let next = u32::try_from(self.begun + 10).unwrap();
            ArrivalCheck { calls: self.calls, in_progress: InProgress::parse(&snapshot, next).unwrap() }
        }
    }

    fn followed(database: &Database) -> Arrivals {
        let mut arrivals = Arrivals::default();
        assert!(arrivals.check(database.check()), "earlier calls are not known");
        assert!(!arrivals.check(database.check()));
        arrivals
    }

    #[test]
    fn a_lone_job_is_announced_when_its_transaction_has_ended_and_once() {
        let mut database = Database::default();
        let mut arrivals = followed(&database);
        let job = database.enqueue();
        for _ in 0..UNCONFIRMED_AFTER {
            assert!(!arrivals.check(database.check()), "it is not visible");
            assert!(arrivals.is_waiting());
        }
        database.end(job);
        assert!(arrivals.check(database.check()));
        assert!(!arrivals.is_waiting());
        assert!(!arrivals.check(database.check()), "once");
        let job = database.enqueue();
        database.end(job);
        assert!(arrivals.check(database.check()), "between two checks");
        assert!(!arrivals.check(database.check()));
    }

    #[test]
    fn a_job_of_a_long_transaction_is_announced_at_its_end() {
        let mut database = Database::default();
        let mut arrivals = followed(&database);
        let job = database.enqueue();
        let checks: Vec<bool> = (0..1000).map(|_| arrivals.check(database.check())).collect();
        assert_eq!(
            checks.iter().filter(|notify| **notify).count(),
            1,
            "the call could be of another transaction"
        );
        database.end(job);
        assert!(arrivals.check(database.check()));
        // others, which do not enqueue
        for _ in 0..3 {
            let other = database.begin();
            database.end(other);
            assert!(!arrivals.check(database.check()));
        }
    }

    #[test]
    fn a_job_is_announced_at_once_beside_a_transaction_that_stays_open() {
        let mut database = Database::default();
        database.begin();
        let mut arrivals = followed(&database);
        for _ in 0..UNCONFIRMED_AFTER {
            arrivals.check(database.check());
        }
        let job = database.enqueue();
        database.end(job);
        assert!(arrivals.check(database.check()));
    }

    #[test]
    fn a_transaction_that_enqueues_for_long_does_not_cause_a_notification_at_every_check() {
        let mut database = Database::default();
        let mut arrivals = followed(&database);
        database.begin();
        let mut notified = 0;
        for _ in 0..100 {
            database.calls += 3;
            notified += u32::from(arrivals.check(database.check()));
        }
        assert!((5..=100 / u32::from(UNCONFIRMED_AFTER) + 1).contains(&notified), "{notified}");
    }

    #[test]
    fn numbers_of_transactions_that_do_not_fit_into_half_are_read() {
        let past = (7_u64 << 32) + 5;
        let read = InProgress::parse(&format!("{}:{past}:{}", past - 9, past - 9), 8).unwrap();
        assert_eq!(read.older, BTreeSet::from([past - 9]));
        assert_eq!(read.recent, past..past + 3);
        let before_the_turn = (8_u64 << 32) - 1;
        let read = InProgress::parse(&format!("{before_the_turn}:{before_the_turn}:"), 2).unwrap();
        assert_eq!(read.recent, before_the_turn..before_the_turn + 3);
        for wrong in ["", "1:2", "1:x:", "1:2:x", "1:2:3:4"] {
            assert!(InProgress::parse(wrong, 3).is_err(), "{wrong}");
        }
    }

    #[test]
    fn checks_become_rare_when_nothing_happens() {
        let pause_after = |ms| pause(false, Duration::from_millis(ms), LONGEST).as_millis();
        assert_eq!([0, 100, 500, 1000, 5000].map(pause_after), [2, 2, 10, 20, 20]);
        assert_eq!(pause(true, Duration::ZERO, LONGEST), PAUSE_AFTER_NOTIFICATION);
    }

    proptest! {
        /// With any sequence of transactions, one of the next checks after the end of a transaction that has enqueued notifies.
        #[test]
        fn no_job_stays_unannounced(steps in prop::collection::vec((0..6_u8, any::<prop::sample::Index>()), 1..80)) {
            let mut database = Database::default();
            let mut arrivals = followed(&database);
            let mut enqueued = BTreeSet::new();
            let mut visible_for = None;
            for (step, which) in steps {
                match step {
                    0 => { database.begin(); }
                    1 => { enqueued.insert(database.enqueue()); }
                    5 if !database.open.is_empty() => {
                        let open: Vec<u64> = database.open.iter().copied().collect();
                        enqueued.insert(*which.get(&open));
                        database.calls += 1;
                    }
                    2 if !database.open.is_empty() => {
                        let open: Vec<u64> = database.open.iter().copied().collect();
                        let transaction = *which.get(&open);
                        database.end(transaction);
                        if enqueued.remove(&transaction) {
                            visible_for.get_or_insert(0_u8);
                        }
                    }
                    _ => {
                        let notified = arrivals.check(database.check());
                        visible_for = visible_for.filter(|_| !notified).map(|checks| checks + 1);
                        prop_assert!(visible_for.is_none_or(|checks| checks <= UNCONFIRMED_AFTER), "{database:?}");
                    }
                }
            }
        }
    }
}
