//! The requests and responses of the clients, as lines of a file outside of the database. Only records them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Answer, id_of};
use crate::ledger::WorkDir;

/// One line: an event of the submission of a word. The word is the payload and the idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A request with this word was sent, possibly again.
    Sent(String),
    /// The response was 2xx with this id.
    Acknowledged(String, String),
    /// The response was 4xx.
    Refused(String, u16),
    /// The response was 5xx or 429, or there was none.
    Unknown(String),
}

/// The file, and counts of its events.
#[derive(Debug)]
pub(crate) struct History {
    path: PathBuf,
    file: Mutex<File>,
    acknowledged: AtomicUsize,
    unavailable: AtomicUsize,
    unavailable_without_hint: AtomicUsize,
}

impl History {
    pub(crate) fn new(work: &WorkDir) -> Self {
        let path = work.path().join("history");
        let file = Mutex::new(OpenOptions::new().create(true).append(true).open(&path).unwrap());
        let zero = AtomicUsize::default;
        Self { path, file, acknowledged: zero(), unavailable: zero(), unavailable_without_hint: zero() }
    }

    pub(crate) fn sent(&self, word: &str) {
        self.write(&Event::Sent(word.to_owned()));
    }

    pub(crate) fn unknown(&self, word: &str) {
        self.write(&Event::Unknown(word.to_owned()));
    }

    /// Records a response. Returns true if it is final, so that the request need not be repeated.
    pub(crate) fn answered(&self, word: &str, answer: &Answer) -> bool {
        let word = word.to_owned();
        match answer.status {
            200..=299 => {
                self.write(&Event::Acknowledged(word, id_of(&answer.json())));
                self.acknowledged.fetch_add(1, Ordering::SeqCst);
                return true;
            }
            // 429 is temporary: nothing was stored, and the request may be repeated
            400..=499 if answer.status != 429 => {
                self.write(&Event::Refused(word, answer.status));
                return true;
            }
            503 => {
                self.unavailable.fetch_add(1, Ordering::SeqCst);
                let without = usize::from(answer.retry_after.is_none());
                self.unavailable_without_hint.fetch_add(without, Ordering::SeqCst);
            }
            _ => {}
        }
        self.write(&Event::Unknown(word));
        false
    }

    /// The number of 2xx responses so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// The number of 503 responses so far, and how many of them had no `Retry-After`.
    pub(crate) fn unavailable(&self) -> (usize, usize) {
        (self.unavailable.load(Ordering::SeqCst), self.unavailable_without_hint.load(Ordering::SeqCst))
    }

    /// Every event.
    pub(crate) fn read(&self) -> Vec<Event> {
        fs::read_to_string(&self.path).unwrap().lines().map(Event::parse).collect()
    }

    fn write(&self, event: &Event) {
        let line = format!("{}\n", event.line());
        self.file.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }
}

impl Event {
    fn line(&self) -> String {
        match self {
            Self::Sent(word) => format!("sent {word}"),
            Self::Acknowledged(word, id) => format!("acknowledged {word} {id}"),
            Self::Refused(word, status) => format!("refused {word} {status}"),
            Self::Unknown(word) => format!("unknown {word}"),
        }
    }

    fn parse(line: &str) -> Self {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["sent", word] => Self::Sent(word.to_owned()),
            ["acknowledged", word, id] => Self::Acknowledged(word.to_owned(), id.to_owned()),
            ["refused", word, status] => Self::Refused(word.to_owned(), status.parse().unwrap()),
            ["unknown", word] => Self::Unknown(word.to_owned()),
            _ => panic!("not a line of the history: {line}"),
        }
    }
}

#[test]
fn lines_are_read_back_as_written() {
    let word = || "w-1".to_owned();
    let all = [
        Event::Sent(word()),
        Event::Acknowledged(word(), "id".into()),
        Event::Refused(word(), 422),
        Event::Unknown(word()),
    ];
    for event in all {
        assert_eq!(Event::parse(&event.line()), event);
    }
}
