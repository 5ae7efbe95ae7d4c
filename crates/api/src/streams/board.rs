//! The state of the queues, workers and groups of dead letters as a sequence of changes. Owns the numbers of the changes; each object has only its latest one, so the
//! board is as large as the state, however slow its listeners are.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::json;

use super::topic::Topic;

/// Deletions that are kept. A listener that missed more gets a new snapshot.
const DELETIONS_KEPT: usize = 1_000;

/// What changed, as the name and the data of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BoardChange {
    pub(crate) name: &'static str,
    pub(crate) json: Arc<str>,
}

/// What follows a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Following {
    /// The next change and its number.
    Next(u64, BoardChange),
    /// Nothing; this is the number of the last change.
    Nothing(u64),
    /// Deletions after it are no longer known: begin again.
    Unknown,
}

type Key = (Topic, String);

/// See the module. Changes are numbered from 1.
#[derive(Debug, Default)]
pub(crate) struct Board {
    last: u64,
    changes: BTreeMap<u64, BoardChange>,
    /// Number of the latest change of each object that exists.
    objects: HashMap<Key, u64>,
    deletions: VecDeque<u64>,
    /// Number of the last deletion that is no longer known.
    dropped: u64,
}

impl Board {
    /// Replaces all objects of a topic, given by name. Returns whether anything has changed.
    pub(crate) fn replace(&mut self, topic: Topic, objects: BTreeMap<String, String>) -> bool {
        let before = self.last;
        let gone: BTreeSet<String> = self
            .objects
            .keys()
            .filter(|(of, name)| *of == topic && !objects.contains_key(name))
            .map(|(_, name)| name.clone())
            .collect();
        for name in gone {
            self.delete(topic, name);
        }
        for (name, json) in objects {
            self.set((topic, name), json);
        }
        self.last > before
    }

    /// What follows the change with this number; 0 is before all. The listener has a snapshot that it began after the change `floor`, so
    /// deletions up to there do not matter to it.
    pub(crate) fn after(&self, number: u64, floor: u64) -> Following {
        if number > self.last || number > 0 && number.max(floor) < self.dropped {
            return Following::Unknown;
        }
        // a snapshot has no deletions
        let mut changes = self.changes.range(number.saturating_add(1)..);
        match changes.next() {
            Some((number, change)) => Following::Next(*number, change.clone()),
            None => Following::Nothing(self.last),
        }
    }

    /// Number of the last change.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    fn set(&mut self, key: Key, json: String) {
        let before = self.objects.get(&key).copied();
        if before.and_then(|number| self.changes.get(&number)).is_some_and(|change| *change.json == *json) {
            return;
        }
        if let Some(number) = before {
            self.changes.remove(&number);
        }
        let number = self.add(key.0.changed(), json);
        self.objects.insert(key, number);
    }

    fn delete(&mut self, topic: Topic, name: String) {
        let json = json!({ topic.key(): name }).to_string();
        if let Some(number) = self.objects.remove(&(topic, name)) {
            self.changes.remove(&number);
        }
        let number = self.add(topic.removed(), json);
        self.deletions.push_back(number);
        if self.deletions.len() > DELETIONS_KEPT
            && let Some(oldest) = self.deletions.pop_front()
        {
            self.changes.remove(&oldest);
            self.dropped = oldest;
        }
    }

    fn add(&mut self, name: &'static str, json: String) -> u64 {
        self.last = self.last.saturating_add(1);
        self.changes.insert(self.last, BoardChange { name, json: json.into() });
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(pairs: &[(&str, u32)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
    }

    /// The state that a listener has after it has received everything after `number`.
    fn follow(board: &Board, state: &mut BTreeMap<String, String>, mut number: u64) -> u64 {
        loop {
            match board.after(number, 0) {
                Following::Next(next, change) if change.name == "queue" => {
                    state.insert(format!("q{}", change.json), change.json.to_string());
                    number = next;
                }
                Following::Next(next, change) => {
                    state.insert(change.json.to_string(), "deleted".to_owned());
                    number = next;
                }
                Following::Nothing(last) => return last,
                Following::Unknown => panic!("nothing was dropped"),
            }
        }
    }

    #[test]
    fn a_listener_gets_each_object_once_with_its_latest_value() {
        let mut board = Board::default();
        assert!(board.replace(Topic::Queues, objects(&[("a", 1), ("b", 2)])));
        assert!(!board.replace(Topic::Queues, objects(&[("a", 1), ("b", 2)])));
        for value in 3..1_000 {
            assert!(board.replace(Topic::Queues, objects(&[("a", value), ("b", 2)])));
        }
        assert_eq!(board.changes.len(), 2, "a slow listener keeps nothing");
        let mut state = BTreeMap::new();
        let last = follow(&board, &mut state, 1);
        assert_eq!(state.into_keys().collect::<Vec<_>>(), ["q2", "q999"]);
        assert_eq!(board.after(last, 0), Following::Nothing(last));
        let mut state = BTreeMap::new();
        assert!(board.replace(Topic::Queues, objects(&[("b", 2)])));
        follow(&board, &mut state, last);
        assert_eq!(state.into_keys().collect::<Vec<_>>(), [r#"{"queue":"a"}"#]);
    }

    #[test]
    fn topics_do_not_delete_each_others_objects() {
        let mut board = Board::default();
        board.replace(Topic::Queues, objects(&[("a", 1)]));
        board.replace(Topic::Workers, objects(&[("w", 1)]));
        assert!(!board.replace(Topic::Queues, objects(&[("a", 1)])));
        assert!(board.replace(Topic::Workers, objects(&[])));
        assert!(matches!(board.after(2, 0), Following::Next(3, change) if change.name == "worker_removed"));
    }

    #[test]
    fn old_deletions_do_not_interrupt_a_snapshot() {
        let mut board = Board::default();
        board.replace(Topic::Queues, objects(&[("old", 1)]));
        for _ in 0..=DELETIONS_KEPT {
            board.replace(Topic::Queues, objects(&[("old", 1), ("a", 1)]));
            board.replace(Topic::Queues, objects(&[("old", 1)]));
        }
        assert!(matches!(board.after(0, board.last), Following::Next(1, _)));
        assert_ne!(board.after(1, board.last), Following::Unknown);
    }

    #[test]
    fn a_listener_that_missed_more_deletions_than_are_kept_begins_again() {
        let mut board = Board::default();
        board.replace(Topic::Queues, objects(&[("a", 1)]));
        for _ in 0..=DELETIONS_KEPT {
            board.replace(Topic::Queues, objects(&[]));
            board.replace(Topic::Queues, objects(&[("a", 1)]));
        }
        assert_eq!(board.after(1, 0), Following::Unknown);
        assert_eq!(board.after(board.last + 1, 0), Following::Unknown);
        assert!(matches!(board.after(0, 0), Following::Next(..)), "a snapshot is always possible");
        assert!(board.changes.len() <= DELETIONS_KEPT + 1);
    }
}
