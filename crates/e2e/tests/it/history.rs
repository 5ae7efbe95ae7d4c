//! What clients did and were told, line by line in a file outside of the database. It records; it judges nothing.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Answer, id_of};
use crate::ledger::WorkDir;

/// One line: something that happened to the submission of a word. The word is the payload and the idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A request with this word left (again).
    Sent(String),
    /// It was answered with 2xx and this id.
    Acknowledged(String, String),
    /// It was answered with 4xx.
    Refused(String, u16),
    /// It was answered with 5xx, 429, or not at all.
    Unknown(String),
}

/// The file and a few numbers about it.
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
        self.write(&Said::Sent(word.to_owned()));
    }

    pub(crate) fn unknown(&self, word: &str) {
        self.write(&Said::Unknown(word.to_owned()));
    }

    /// Notes an answer. True if it settles the matter: another request with this word would be pointless.
    pub(crate) fn answered(&self, word: &str, answer: &Answer) -> bool {
        let word = word.to_owned();
        match answer.status {
            200..=299 => {
                self.write(&Said::Acknowledged(word, id_of(&answer.json())));
                self.acknowledged.fetch_add(1, Ordering::SeqCst);
                return true;
            }
            // busy is a refusal for now: nothing was stored, and the same request may come again
            400..=499 if answer.status != 429 => {
                self.write(&Said::Refused(word, answer.status));
                return true;
            }
            503 => {
                self.unavailable.fetch_add(1, Ordering::SeqCst);
                let without = usize::from(answer.retry_after.is_none());
                self.unavailable_without_hint.fetch_add(without, Ordering::SeqCst);
            }
            _ => {}
        }
        self.write(&Said::Unknown(word));
        false
    }

    /// Answers with 2xx so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Answers with 503 so far, and how many of them lacked `Retry-After`.
    pub(crate) fn unavailable(&self) -> (usize, usize) {
        (self.unavailable.load(Ordering::SeqCst), self.unavailable_without_hint.load(Ordering::SeqCst))
    }

    /// Every line.
    pub(crate) fn read(&self) -> Vec<Said> {
        fs::read_to_string(&self.path).unwrap().lines().map(Said::parse).collect()
    }

    fn write(&self, said: &Said) {
        let line = format!("{}\n", said.line());
        self.file.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }
}

impl Said {
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
        Said::Sent(word()),
        Said::Acknowledged(word(), "id".into()),
        Said::Refused(word(), 422),
        Said::Unknown(word()),
    ];
    for said in all {
        assert_eq!(Said::parse(&said.line()), said);
    }
}
