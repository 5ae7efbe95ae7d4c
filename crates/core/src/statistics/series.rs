//! Which series have numbers of their own. Users choose queues and kinds, and one of them may put an order number into a kind, so the
//! number of series is bounded. The largest ones have their own numbers; the others are counted together.
//!
//! The choice holds for one hour: a series that has numbers in it keeps them. The largest series of the hour before come next, up to three
//! quarters of the places. The other places go to those that have events first, the most frequent first. So a new series that is large finds a
//! place within two hours, however many small ones there are.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// How many kinds in queues have their own numbers in an hour.
pub const MOST_PAIRS: usize = 200;
/// How many queues have their own numbers in an hour.
pub const MOST_QUEUES: usize = 100;
/// How many kinds have their own numbers, over all queues, in an hour.
pub const MOST_KINDS: usize = 100;
/// Most series in an hour: the chosen ones, for each chosen queue its other kinds, and those of everything and of all others.
pub const MOST_SERIES: usize = MOST_PAIRS + 2 * MOST_QUEUES + MOST_KINDS + 4;

/// Which queues, or which kinds, a series covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// All of them.
    All,
    /// The one of this number.
    One(i32),
    /// Those without numbers of their own, together.
    Others,
}

/// What the numbers of a series cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The queues.
    pub queue: Part,
    /// The kinds.
    pub kind: Part,
}

impl Part {
    /// The number of the one that it covers.
    pub const fn one(self) -> Option<i32> {
        match self {
            Self::One(number) => Some(number),
            Self::All | Self::Others => None,
        }
    }
}

/// The choice for one hour.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    pairs: HashSet<(i32, i32)>,
    queues: HashSet<i32>,
    kinds: HashSet<i32>,
}

impl Chosen {
    /// The choice, from the series that have numbers in this hour, those of the hour before with their events, and the queues and kinds
    /// of new events with their numbers. A queue or kind that is not known counts as one of the others.
    pub fn new(
        present: &[Series],
        before: &[(Series, u64)],
        new: impl IntoIterator<Item = (Option<i32>, Option<i32>, u64)>,
    ) -> Self {
        let new: Vec<_> = new.into_iter().collect();
        let pair = |series: &Series| Some((series.queue.one()?, series.kind.one()?));
        let queue = |series: &Series| series.queue.one().filter(|_| series.kind == Part::All);
        let kind = |series: &Series| series.kind.one().filter(|_| series.queue == Part::All);
        let new_pairs = new.iter().filter_map(|(queue, kind, events)| Some((((*queue)?, (*kind)?), *events)));
        let new_queues = new.iter().filter_map(|(queue, _, events)| Some(((*queue)?, *events)));
        let new_kinds = new.iter().filter_map(|(_, kind, events)| Some(((*kind)?, *events)));
        Self {
            pairs: choose(MOST_PAIRS, keys(present, pair), keys_and_events(before, pair), new_pairs),
            queues: choose(MOST_QUEUES, keys(present, queue), keys_and_events(before, queue), new_queues),
            kinds: choose(MOST_KINDS, keys(present, kind), keys_and_events(before, kind), new_kinds),
        }
    }

    /// The four series to which an event of this queue and kind belongs: one of the queue and kind, one of the queue, one of the kind, and
    /// that of everything.
    pub fn series_of(&self, queue: Option<i32>, kind: Option<i32>) -> [Series; 4] {
        let queue = queue.filter(|queue| self.queues.contains(queue)).map_or(Part::Others, Part::One);
        let pair = queue.one().zip(kind).filter(|pair| self.pairs.contains(pair));
        let in_queue = pair.map_or(Part::Others, |(_, kind)| Part::One(kind));
        let kind = kind.filter(|kind| self.kinds.contains(kind)).map_or(Part::Others, Part::One);
        [
            Series { queue, kind: in_queue },
            Series { queue, kind: Part::All },
            Series { queue: Part::All, kind },
            Series { queue: Part::All, kind: Part::All },
        ]
    }
}

fn keys<K>(series: &[Series], key: impl Fn(&Series) -> Option<K>) -> impl Iterator<Item = K> {
    series.iter().filter_map(key)
}

fn keys_and_events<K>(
    series: &[(Series, u64)],
    key: impl Fn(&Series) -> Option<K>,
) -> impl Iterator<Item = (K, u64)> {
    series.iter().filter_map(move |(series, events)| Some((key(series)?, *events)))
}

fn choose<K: Copy + Ord + Hash>(
    most: usize,
    present: impl Iterator<Item = K>,
    before: impl Iterator<Item = (K, u64)>,
    new: impl Iterator<Item = (K, u64)>,
) -> HashSet<K> {
    let mut chosen: HashSet<K> = present.collect();
    for (ranked, places) in [(ranked(before), most - most / 4), (ranked(new), most)] {
        for key in ranked {
            if chosen.len() >= places {
                break;
            }
            chosen.insert(key);
        }
    }
    chosen
}

/// The keys by the sum of their events, the largest first.
fn ranked<K: Copy + Ord + Hash>(events: impl Iterator<Item = (K, u64)>) -> Vec<K> {
    let mut sums = HashMap::new();
    for (key, events) in events {
        *sums.entry(key).or_insert(0u64) += events;
    }
    let mut ranked: Vec<(u64, K)> = sums.into_iter().map(|(key, events)| (events, key)).collect();
    ranked.sort_unstable_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
    ranked.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(queue: i32, kind: i32) -> Series {
        Series { queue: Part::One(queue), kind: Part::One(kind) }
    }

    fn kind_of_all(kind: i32) -> Series {
        Series { queue: Part::All, kind: Part::One(kind) }
    }

    #[test]
    fn with_room_everything_has_its_own_numbers() {
        let chosen = Chosen::new(&[], &[], [(Some(1), Some(2), 1)]);
        let all = [Part::One(1), Part::One(1), Part::All, Part::All];
        assert_eq!(chosen.series_of(Some(1), Some(2)).map(|series| series.queue), all);
        assert_eq!(chosen.series_of(Some(1), Some(2))[0], one(1, 2));
        assert_eq!(chosen.series_of(Some(1), Some(3))[0], Series { queue: Part::One(1), kind: Part::Others });
        assert_eq!(chosen.series_of(None, None)[0], Series { queue: Part::Others, kind: Part::Others });
    }

    #[test]
    fn ten_thousand_kinds_have_no_more_series_than_stated_and_the_largest_have_theirs() {
        let events =
            || (0..10_000).map(|kind| (Some(kind % 500), Some(kind), if kind == 7_777 { 90 } else { 1 }));
        let chosen = Chosen::new(&[], &[], events());
        let mut series = HashMap::new();
        for (queue, kind, events) in events() {
            for one in chosen.series_of(queue, kind) {
                *series.entry(one).or_insert(0) += events;
            }
        }
        assert!(series.len() <= MOST_SERIES, "{}", series.len());
        assert_eq!(series.get(&one(277, 7_777)), Some(&90));
        let sum = |wanted: fn(&Series) -> bool| -> u64 {
            series.iter().filter(|(series, _)| wanted(series)).map(|(_, events)| events).sum()
        };
        let all = 10_000 + 89;
        assert_eq!(sum(|s| s.queue == Part::All && s.kind == Part::All), all);
        assert_eq!(sum(|s| s.queue == Part::All && s.kind != Part::All), all);
        assert_eq!(sum(|s| s.queue != Part::All && s.kind == Part::All), all);
        assert_eq!(sum(|s| s.queue != Part::All && s.kind != Part::All), all);
    }

    #[test]
    fn the_largest_of_the_hour_before_keep_their_places_and_a_quarter_is_for_new_ones() {
        let before: Vec<_> = (0..200).map(|kind| (kind_of_all(kind), u64::try_from(kind).unwrap())).collect();
        let new = (1_000..2_000).map(|kind| (Some(1), Some(kind), if kind == 1_500 { 2 } else { 1 }));
        let chosen = Chosen::new(&[], &before, new);
        assert_eq!(chosen.kinds.len(), MOST_KINDS);
        assert!((125..200).all(|kind| chosen.kinds.contains(&kind)), "75 of the largest before");
        assert!(!chosen.kinds.contains(&124) && chosen.kinds.contains(&1_500));
    }

    #[test]
    fn what_has_numbers_in_the_hour_keeps_them() {
        let present: Vec<_> = (0..100).map(kind_of_all).collect();
        let chosen = Chosen::new(&present, &[(kind_of_all(500), 9)], [(Some(1), Some(501), 9)]);
        assert!((0..100).all(|kind| chosen.kinds.contains(&kind)) && chosen.kinds.len() == 100);
    }
}
