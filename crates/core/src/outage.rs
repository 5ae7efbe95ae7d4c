//! Outages of the database, and which workers and leases count as dead after one.
//!
//! A live worker sends heartbeats, which renew its leases. It cannot do so while the database is down. So silence counts
//! only while the database was up. After a long outage the count starts again, but only once: further outages pause the
//! count and do not restart it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A period in which no reaper could reach the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When the period begins: a sixth of the hold-off after the last observation before it.
    pub began_at: DateTime<Utc>,
    /// When a reaper reached the database again.
    pub ended_at: DateTime<Utc>,
}

/// What a reaper reads each time that it scans for dead workers. Timestamps are by the database's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The time of this observation.
    pub now: DateTime<Utc>,
    /// The time of the previous observation, by any reaper; `None` if there was none.
    pub seen_at: Option<DateTime<Utc>>,
    /// Since when at least one live worker has sent heartbeats without a gap longer than [`longest_gap`] of its stale
    /// time. `None` if there is no such worker.
    pub steady_since: Option<DateTime<Utc>>,
}

/// How a reaper takes outages into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutagePolicy {
    /// How long the database must have been up after a long outage before the reaper reclaims leases of silent workers.
    /// Zero means that outages are ignored.
    pub hold_off: Duration,
}

/// The longest gap between two heartbeats, or the longest outage, after which a worker can still renew its leases in
/// time: two fifths of the silence after which it counts as dead. A worker sends at least two heartbeats in that
/// silence and repeats a failed one within seconds.
pub fn longest_gap(stale_after: Duration) -> Duration {
    stale_after * 2 / 5
}

impl OutagePolicy {
    /// The longest time between two observations of a reaper, given its configured `interval`. An outage below a sixth
    /// of the hold-off is not noticed, so observations must be more frequent than that.
    pub fn observation_interval(&self, interval: Duration) -> Duration {
        if self.hold_off.is_zero() { interval } else { interval.min(self.hold_off / 10) }
    }

    /// The outage that ends with this observation, if there was one. There was one if too much time has passed since the
    /// previous observation, and no worker sent heartbeats meanwhile. Such a worker would prove that only the reapers
    /// could not reach the database. Each observation covers a sixth of the hold-off after it, so a reaper that scans
    /// slowly still declares workers dead, only later.
    pub fn outage(&self, observation: Observation) -> Option<Outage> {
        if self.hold_off.is_zero() {
            return None;
        }
        let seen_at = observation.seen_at.unwrap_or(DateTime::UNIX_EPOCH);
        let began_at = seen_at + signed(self.hold_off / 6);
        let is_disproved = observation.steady_since.is_some_and(|since| since <= began_at);
        (observation.now > began_at && !is_disproved)
            .then_some(Outage { began_at, ended_at: observation.now })
    }

    /// Whether a worker whose last heartbeat was at `beat_at` counts as dead at `now`. `outages` holds all outages since
    /// then, in order.
    pub fn is_dead(
        &self,
        (beat_at, stale_after): (DateTime<Utc>, Duration),
        now: DateTime<Utc>,
        outages: &[Outage],
    ) -> bool {
        if self.hold_off.is_zero() {
            return now - beat_at > signed(stale_after);
        }
        let (mut from, mut silent, mut needed) = (beat_at, TimeDelta::zero(), signed(stale_after));
        let mut is_long_before = false;
        for outage in outages.iter().filter(|outage| outage.ended_at > beat_at) {
            silent += (outage.began_at - from).max(TimeDelta::zero());
            if silent > needed {
                return true;
            }
            if !is_long_before && outage.ended_at - outage.began_at > signed(longest_gap(stale_after)) {
                is_long_before = true;
                (silent, needed) = (TimeDelta::zero(), needed.max(signed(self.hold_off)));
            }
            from = outage.ended_at.max(from);
        }
        silent + (now - from) > needed
    }

    /// Leases that expired before this timestamp are lost. A lease is not lost while the database is down, nor before
    /// the database was up for the hold-off after its expiry.
    pub fn lost_before(&self, now: DateTime<Utc>, outages: &[Outage]) -> DateTime<Utc> {
        let (mut upto, mut missing) = (now, signed(self.hold_off));
        for outage in outages.iter().rev() {
            let up = (upto - outage.ended_at).max(TimeDelta::zero());
            if up > missing {
                break;
            }
            missing -= up;
            upto = outage.began_at.min(upto);
        }
        upto - missing + signed(self.hold_off)
    }
}

/// The duration as a signed one. If it is too long for that, the result is 100 years.
fn signed(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::days(36_500))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: OutagePolicy = OutagePolicy { hold_off: Duration::from_secs(30) };
    const STALE: Duration = Duration::from_secs(30);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000_000 + second, 0).unwrap()
    }

    fn down(began: i64, ended: i64) -> Outage {
        Outage { began_at: at(began), ended_at: at(ended) }
    }

    /// The second at which a worker whose last heartbeat was at 0 is declared dead.
    fn death(policy: OutagePolicy, outages: &[Outage]) -> i64 {
        let known = |now| outages.iter().copied().take_while(|o| o.ended_at <= at(now)).collect::<Vec<_>>();
        // no reaper scans while the database is down
        let is_down = |now| outages.iter().any(|o| o.began_at < at(now) && at(now) < o.ended_at);
        let mut seconds = (0..100_000).filter(|now| !is_down(*now));
        seconds.find(|now| policy.is_dead((at(0), STALE), at(*now), &known(*now))).unwrap()
    }

    #[test]
    fn silence_counts_while_the_database_is_up() {
        for (outages, dead_at) in [
            (vec![], 31),
            (vec![down(-50, -1)], 31),
            // short ones only pause
            (vec![down(5, 12)], 38),
            (vec![down(5, 12), down(20, 27)], 45),
            // after the first long one the full time runs, and later ones pause it
            (vec![down(10, 70)], 101),
            (vec![down(-10, 50)], 81),
            (vec![down(10, 70), down(80, 140), down(150, 210), down(220, 280)], 281),
            // it was dead before
            (vec![down(40, 100)], 31),
        ] {
            assert_eq!(death(POLICY, &outages), dead_at, "{outages:?}");
        }
        let long_hold_off = OutagePolicy { hold_off: Duration::from_secs(100) };
        assert_eq!(
            death(long_hold_off, &[down(10, 70)]),
            171,
            "the hold-off is the least time after a long outage"
        );
        assert_eq!(death(long_hold_off, &[down(10, 17)]), 38, "and does not matter otherwise");
        assert_eq!(death(OutagePolicy { hold_off: Duration::ZERO }, &[down(10, 20)]), 31, "switched off");
    }

    #[test]
    fn an_outage_is_a_gap_in_which_no_worker_sent_heartbeats() {
        let outage = |seen: i64, now: i64, steady: Option<i64>| {
            let observation =
                Observation { now: at(now), seen_at: Some(at(seen)), steady_since: steady.map(at) };
            POLICY.outage(observation)
        };
        assert_eq!(outage(0, 5, None), None, "the usual time between two observations");
        assert_eq!(outage(0, 6, None), Some(down(5, 6)));
        assert_eq!(outage(0, 600, Some(-100)), None, "workers sent heartbeats all the time");
        assert_eq!(outage(0, 600, Some(590)), Some(down(5, 600)), "workers could not reach it either");
        assert_eq!(outage(0, -600, None), None, "the clock was set back");
        let first = Observation { now: at(0), seen_at: None, steady_since: Some(at(-60)) };
        assert!(POLICY.outage(first).is_some(), "nothing is known of the time before the first observation");
    }

    /// Outages of seconds, in ascending order.
    fn outages() -> impl Strategy<Value = Vec<Outage>> {
        prop::collection::vec((1i64..40, 1i64..90), 0..12).prop_map(|lengths| {
            let mut clock = 0;
            let outage = |(up, length): (i64, i64)| {
                let began = clock + up;
                clock = began + length;
                down(began, clock)
            };
            lengths.into_iter().map(outage).collect()
        })
    }

    fn up_between(from: i64, upto: i64, outages: &[Outage]) -> i64 {
        let is_up =
            |second: &i64| !outages.iter().any(|o| o.began_at <= at(*second) && at(*second) < o.ended_at);
        (from..upto).filter(is_up).count().try_into().unwrap()
    }

    #[test]
    fn a_lease_that_expires_in_an_outage_has_the_whole_hold_off_after_it() {
        let lost = |now| at(56) < POLICY.lost_before(at(now), &[down(26, 110)]);
        assert_eq!((lost(140), lost(141)), (false, true));
    }

    proptest! {
        #[test]
        fn a_worker_is_declared_dead_neither_too_early_nor_too_late(outages in outages()) {
            let dead_at = death(POLICY, &outages);
            let up = up_between(0, dead_at, &outages);
            prop_assert!(up > 30, "the worker had only {up} s to send a heartbeat");
            prop_assert!(up <= 61, "the database was up for {up} s before the worker was declared dead");
        }

        #[test]
        fn after_a_long_outage_a_worker_has_the_full_time_again(began in 1i64..30, length in 13i64..1000) {
            prop_assert_eq!(death(POLICY, &[down(began, began + length)]), began + length + 31);
        }

        #[test]
        fn a_lease_is_lost_only_while_the_database_is_up(outages in outages(), ends in 0i64..600, now in 0i64..2000) {
            let known: Vec<_> = outages.into_iter().filter(|o| o.ended_at <= at(now)).collect();
            let is_lost = at(ends) < POLICY.lost_before(at(now), &known);
            let up = up_between(ends - 30, now, &known);
            prop_assert_eq!(is_lost, up > 30 && ends < now, "{} s up", up);
        }
    }
}
