//! What to do about the ticks of a schedule that are due.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Timing;

/// A tick that fires later than this after its time counts as missed.
const LATE: TimeDelta = TimeDelta::seconds(60);
/// How many ticks one decision covers at most.
const MAX_TICKS: usize = 1000;

/// What happens to ticks that could not fire in time, because no reaper ran or the database was unreachable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// None of them fires.
    Skip,
    /// The newest fires.
    #[default]
    One,
    /// The newest fire, up to the schedule's limit.
    All,
}

/// What a decision needs to know of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its times.
    pub timing: Timing,
    /// The rule for missed ticks.
    pub missed: Missed,
    /// How many missed ticks `Missed::All` fires at most.
    pub missed_limit: usize,
    /// No tick is later than this.
    pub end: Option<DateTime<Utc>>,
    /// Ticks fire up to so much later, each by its own part of it. A tick fires before the next tick's time.
    pub jitter: TimeDelta,
    /// Makes the jitter of this schedule differ from that of others.
    pub seed: u64,
}

/// What happens to a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A job is enqueued.
    Fire,
    /// No job, because the tick was missed.
    Miss,
}

/// The outcome of [`due`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The ticks that are due, in order. At most 1000; then the next decision continues with the newest 1000 or more. Those between
    /// are left out: no history would keep them.
    pub ticks: Vec<(DateTime<Utc>, Action)>,
    /// The tick after them; `None` if the schedule has ended.
    pub next: Option<DateTime<Utc>>,
}

/// Decides about the ticks from `first` on that are due at `now`. `first` is the tick that the last decision named as next.
pub fn due(plan: &Plan, first: DateTime<Utc>, now: DateTime<Utc>) -> Decision {
    let mut decision = Decision { ticks: Vec::new(), next: Some(first) };
    // the due ticks after the one that is looked at, as far as the rule needs to know them
    let mut ahead = std::collections::VecDeque::new();
    let wanted = match plan.missed {
        Missed::Skip => 0,
        Missed::One => 1,
        Missed::All => plan.missed_limit,
    };
    let mut newest = Some(first);
    while let Some(tick) = decision.next.filter(|tick| plan.fires_at(*tick) <= now && plan.is_inside(*tick)) {
        if decision.ticks.len() == MAX_TICKS {
            decision.next = Some(plan.newest(tick, now));
            return decision;
        }
        while ahead.len() < wanted.max(1)
            && let Some(next) = newest.and_then(|newest| plan.timing.next_after(newest))
        {
            newest = Some(next);
            ahead.push_back(next);
        }
        let is_due = |next: &&DateTime<Utc>| plan.fires_at(**next) <= now && plan.is_inside(**next);
        let due_after = ahead.iter().take_while(is_due).count();
        let late = now - plan.fires_at(tick) > LATE;
        let action = if !late || due_after < wanted { Action::Fire } else { Action::Miss };
        decision.ticks.push((tick, action));
        decision.next = ahead.pop_front();
    }
    decision.next = decision.next.filter(|next| plan.is_inside(*next));
    decision
}

impl Plan {
    /// The first tick after `after`; `None` if the schedule has ended by then.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.timing.next_after(after).filter(|tick| self.is_inside(*tick))
    }

    /// When a tick fires: at its nominal time, plus its part of the jitter.
    pub fn fires_at(&self, tick: DateTime<Utc>) -> DateTime<Utc> {
        if self.jitter <= TimeDelta::zero() {
            return tick;
        }
        let gap = self.timing.next_after(tick).map_or(self.jitter, |next| next - tick);
        let span = self.jitter.min(gap).num_milliseconds();
        // splitmix64: the same tick always gets the same part
        let mut mixed = (tick.timestamp().cast_unsigned() ^ self.seed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = (mixed ^ (mixed >> 31)) % span.cast_unsigned().max(1);
        tick + TimeDelta::milliseconds(part.cast_signed())
    }

    /// Where to continue after a long outage: at `next`, or at a later tick with at least `MAX_TICKS` due ones after it.
    fn newest(&self, next: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut span = TimeDelta::minutes(1);
        loop {
            let from = now - span;
            if from <= next {
                return next;
            }
            let ticks =
                std::iter::successors(self.timing.next_after(from), |tick| self.timing.next_after(*tick));
            let is_due = |tick: &DateTime<Utc>| self.fires_at(*tick) <= now && self.is_inside(*tick);
            let mut due = ticks.take_while(is_due);
            if let Some(first) = due.next()
                && due.take(MAX_TICKS).count() == MAX_TICKS
            {
                return first;
            }
            span += span;
        }
    }

    fn is_inside(&self, tick: DateTime<Utc>) -> bool {
        self.end.is_none_or(|end| tick <= end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn every_minute(missed: Missed) -> Plan {
        Plan {
            timing: Timing::Every { every: TimeDelta::seconds(60), anchor: at(0) },
            missed,
            missed_limit: 3,
            end: None,
            jitter: TimeDelta::zero(),
            seed: 7,
        }
    }

    /// The seconds of the ticks that fire, of those that are missed, and of the next.
    fn decide(plan: &Plan, first: i64, now: i64) -> (Vec<i64>, Vec<i64>, Option<i64>) {
        let decision = due(plan, at(first), at(now));
        let seconds = |tick: DateTime<Utc>| (tick - at(0)).num_seconds();
        let of = |wanted: Action| {
            decision
                .ticks
                .iter()
                .filter(|(_, action)| *action == wanted)
                .map(|(tick, _)| seconds(*tick))
                .collect()
        };
        (of(Action::Fire), of(Action::Miss), decision.next.map(seconds))
    }

    #[test]
    fn a_tick_fires_at_its_time_and_names_the_next() {
        for missed in [Missed::Skip, Missed::One, Missed::All] {
            let plan = every_minute(missed);
            assert_eq!(decide(&plan, 60, 59), (vec![], vec![], Some(60)));
            assert_eq!(decide(&plan, 60, 60), (vec![60], vec![], Some(120)));
            assert_eq!(decide(&plan, 60, 119), (vec![60], vec![], Some(120)));
        }
    }

    #[test]
    fn missed_ticks_follow_the_rule() {
        let all = [60, 120, 180, 240, 300];
        assert_eq!(decide(&every_minute(Missed::Skip), 60, 330), (vec![300], all[..4].to_vec(), Some(360)));
        assert_eq!(decide(&every_minute(Missed::One), 60, 330), (vec![300], all[..4].to_vec(), Some(360)));
        assert_eq!(
            decide(&every_minute(Missed::All), 60, 330),
            (all[2..].to_vec(), all[..2].to_vec(), Some(360))
        );
        let daily = |missed| Plan {
            timing: Timing::Every { every: TimeDelta::days(1), anchor: at(0) },
            ..every_minute(missed)
        };
        assert_eq!(decide(&daily(Missed::Skip), 86_400, 90_000), (vec![], vec![86_400], Some(172_800)));
        assert_eq!(decide(&daily(Missed::One), 86_400, 90_000), (vec![86_400], vec![], Some(172_800)));
    }

    #[test]
    fn it_ends_after_its_end() {
        let until = Plan { end: Some(at(120)), ..every_minute(Missed::All) };
        assert_eq!(decide(&until, 60, 1000), (vec![60, 120], vec![], None));
        assert_eq!(decide(&until, 60, 60), (vec![60], vec![], Some(120)));
        let once = Plan { timing: Timing::Once(at(60)), ..every_minute(Missed::One) };
        assert_eq!(decide(&once, 60, 5000), (vec![60], vec![], None));
    }

    proptest! {
        /// However often and when it is asked, each tick is decided once, in order, and none is left out.
        #[test]
        fn no_tick_is_lost_or_doubled(steps in prop::collection::vec(0_i64..400, 1..30), jitter in 0_i64..90) {
            let plan = Plan { jitter: TimeDelta::seconds(jitter), ..every_minute(Missed::One) };
            let (mut now, mut next, mut seen) = (0, at(60), Vec::new());
            for step in steps {
                now += step;
                let decision = due(&plan, next, at(now));
                seen.extend(decision.ticks.iter().map(|(tick, _)| *tick));
                next = decision.next.unwrap();
            }
            let expected: Vec<_> = (1..).map(|n| at(60 * n)).take(seen.len()).collect();
            prop_assert_eq!(&seen, &expected);
            prop_assert!(plan.fires_at(next) > at(now));
            prop_assert_eq!(next, at(60 * (i64::try_from(seen.len()).unwrap() + 1)));
        }

        #[test]
        fn jitter_is_stable_and_inside_its_bound(second in 0_i64..1_000_000, jitter in 1_i64..100_000) {
            let plan = Plan { jitter: TimeDelta::seconds(jitter), ..every_minute(Missed::One) };
            let fires = plan.fires_at(at(second));
            prop_assert!(fires >= at(second) && fires < at(second) + TimeDelta::seconds(jitter));
            prop_assert_eq!(fires, plan.fires_at(at(second)));
        }

        /// A backlog larger than one decision is worked off by several. Of a very long one, only the oldest and the newest are decided.
        #[test]
        fn a_long_outage_is_decided_in_steps(minutes in 1_i64..50_000) {
            for missed in [Missed::Skip, Missed::One, Missed::All] {
                let plan = every_minute(missed);
                let (mut next, mut fired, mut seen) = (at(60), 0, Vec::new());
                let now = at(60 * minutes + 59);
                loop {
                    let decision = due(&plan, next, now);
                    fired += decision.ticks.iter().filter(|(_, action)| *action == Action::Fire).count();
                    seen.extend(decision.ticks.iter().map(|(tick, _)| *tick));
                    next = decision.next.unwrap();
                    if decision.ticks.len() < MAX_TICKS { break; }
                }
                let count = usize::try_from(minutes).unwrap();
                prop_assert!(seen.is_sorted() && seen.len() <= count.min(4 * MAX_TICKS));
                prop_assert_eq!(*seen.last().unwrap(), at(60 * minutes));
                let newest = seen.iter().rev().take(MAX_TICKS.min(count));
                prop_assert!(newest.clone().zip(newest.skip(1)).all(|(a, b)| *a - *b == TimeDelta::minutes(1)));
                let most = if missed == Missed::All { 3 } else { 1 };
                prop_assert!((1..=most).contains(&fired), "{} of {}", fired, count);
            }
        }

        /// The order of ticks is the order in which they fire, even if the jitter is longer than the interval.
        #[test]
        fn jitter_never_reorders_ticks(second in 0_i64..100_000, jitter in 1_i64..1000, seed: u64) {
            let plan = Plan { jitter: TimeDelta::seconds(jitter), seed, ..every_minute(Missed::One) };
            let first = plan.timing.next_after(at(second)).unwrap();
            let second = plan.timing.next_after(first).unwrap();
            prop_assert!(plan.fires_at(first) < second);
        }
    }
}
