//! Places in the log of a job, and how a kept part of a log is read line by line from such a place.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A place in the log of a job: so many bytes after the beginning of the log of one attempt. It stays valid while the oldest lines are
/// dropped, and it means the same to every process. The default is before the first attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Epoch of the attempt's lease. Later attempts of the job have larger ones.
    pub epoch: i64,
    /// Bytes of the attempt's log before this place, those that are no longer kept included.
    pub bytes: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.bytes)
    }
}

/// The text is not a place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPosition;

impl FromStr for LogPosition {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let (epoch, bytes) = text.split_once('-').ok_or(NotAPosition)?;
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(epoch) || !digits(bytes) {
            return Err(NotAPosition);
        }
        Ok(Self {
            epoch: epoch.parse().map_err(|_| NotAPosition)?,
            bytes: bytes.parse().map_err(|_| NotAPosition)?,
        })
    }
}

/// The kept part of the log of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptLog {
    /// Epoch of the attempt's lease.
    pub epoch: i64,
    /// Number of the attempt; `None` if it is not known.
    pub attempt: Option<u16>,
    /// Bytes that were dropped before `text`.
    pub dropped: u64,
    /// What is kept.
    pub text: String,
    /// Whether the attempt has ended, so that nothing is added any more.
    pub is_complete: bool,
}

/// A line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// Its text, without the line feed.
    pub text: &'a str,
    /// Bytes between the place that was asked for and this line that are no longer kept.
    pub skipped: u64,
    /// The place after the line.
    pub next: LogPosition,
}

impl AttemptLog {
    /// The place after everything that is kept.
    pub fn end(&self) -> LogPosition {
        LogPosition { epoch: self.epoch, bytes: self.dropped.saturating_add(length(&self.text)) }
    }

    /// The first line after `position`; `None` if there is none yet. A line without a line feed counts once nothing is added any more.
    pub fn line_after(&self, position: LogPosition) -> Option<LogLine<'_>> {
        let from = match position.epoch.cmp(&self.epoch) {
            Ordering::Less => 0,
            Ordering::Equal => position.bytes,
            Ordering::Greater => return None,
        };
        let offset = usize::try_from(from.saturating_sub(self.dropped)).ok()?;
        if offset > self.text.len() {
            return None;
        }
        let start = self.text.ceil_char_boundary(offset);
        let rest = self.text.get(start..)?;
        let (text, taken) = match rest.split_once('\n') {
            Some((line, _)) => (line, line.len().saturating_add(1)),
            None if self.is_complete && !rest.is_empty() => (rest, rest.len()),
            None => return None,
        };
        let bytes = self.dropped.saturating_add(length(&self.text[..start.saturating_add(taken)]));
        Some(LogLine {
            text,
            skipped: self.dropped.saturating_sub(from),
            next: LogPosition { epoch: self.epoch, bytes },
        })
    }

    /// Adds what followed, of which the last byte is at `end`, and keeps at most `most` bytes. `added` may begin with what is kept already. If
    /// there is a gap between them, or `end` is before what is kept, only `added` is kept.
    pub fn append(&mut self, added: &str, end: u64, most: usize) {
        let (kept_end, begins) = (self.end().bytes, end.saturating_sub(length(added)));
        let repeated = kept_end.checked_sub(begins).and_then(|bytes| usize::try_from(bytes).ok());
        match repeated.and_then(|bytes| added.get(bytes..)) {
            Some(new) => self.text.push_str(new),
            None => added.clone_into(&mut self.text),
        }
        let excess = self.text.ceil_char_boundary(self.text.len().saturating_sub(most));
        self.text.drain(..excess);
        self.dropped = end.saturating_sub(length(&self.text));
    }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(dropped: u64, text: &str, is_complete: bool) -> AttemptLog {
        AttemptLog { epoch: 7, attempt: Some(1), dropped, text: text.to_owned(), is_complete }
    }

    /// All lines from a position on, and the place after them.
    fn lines(log: &AttemptLog, mut position: LogPosition) -> (Vec<String>, u64, LogPosition) {
        let (mut lines, mut skipped) = (Vec::new(), 0);
        while let Some(line) = log.line_after(position) {
            lines.push(line.text.to_owned());
            skipped += line.skipped;
            position = line.next;
        }
        (lines, skipped, position)
    }

    fn at(epoch: i64, bytes: u64) -> LogPosition {
        LogPosition { epoch, bytes }
    }

    #[test]
    fn a_position_is_read_as_it_is_written() {
        assert_eq!("7-120".parse(), Ok(at(7, 120)));
        assert_eq!(at(7, 120).to_string(), "7-120");
        for wrong in
            ["", "7", "-", "-7-1", "7--1", "+7-1", "7-1-end", "7-1 ", "x-1", "99999999999999999999-1"]
        {
            assert_eq!(wrong.parse::<LogPosition>(), Err(NotAPosition), "{wrong:?}");
        }
        assert!(at(7, 120) > at(7, 9) && at(8, 0) > at(7, 120));
    }

    #[test]
    fn lines_follow_a_position() {
        let running = log(0, "one\n\ntwo\nthr", false);
        assert_eq!(lines(&running, at(0, 0)), (vec!["one".into(), String::new(), "two".into()], 0, at(7, 9)));
        assert_eq!(lines(&running, at(7, 5)), (vec!["two".into()], 0, at(7, 9)));
        assert_eq!(lines(&running, at(7, 9)).0, [""; 0], "an unfinished line is not a line yet");
        assert_eq!(lines(&running, at(8, 0)).0, [""; 0], "of a later attempt");
        assert_eq!(lines(&running, at(7, 500)).0, [""; 0], "a failover has lost lines");
        let ended = log(0, "one\nthr", true);
        assert_eq!(lines(&ended, at(7, 4)), (vec!["thr".into()], 0, at(7, 7)));
    }

    #[test]
    fn dropped_bytes_are_counted() {
        let cut = log(100, "ne\ntwo\n", false);
        assert_eq!(lines(&cut, at(7, 60)), (vec!["ne".into(), "two".into()], 40, at(7, 107)));
        assert_eq!(lines(&cut, at(0, 0)).1, 100);
        assert_eq!(lines(&cut, at(7, 103)), (vec!["two".into()], 0, at(7, 107)));
    }

    #[test]
    fn a_forged_position_splits_no_character() {
        let text = log(0, "äöü\nx\n", false);
        assert_eq!(lines(&text, at(7, 1)).0, ["öü", "x"]);
    }

    #[test]
    fn a_gap_and_a_rewritten_end_replace_what_is_kept() {
        let mut kept = log(0, "one\n", false);
        kept.append("two\n", 8, 100);
        assert_eq!((kept.text.as_str(), kept.dropped), ("one\ntwo\n", 0));
        kept.append("wo\nthree\n", 14, 100);
        assert_eq!((kept.text.as_str(), kept.dropped), ("one\ntwo\nthree\n", 0), "a part comes again");
        kept.append("later\n", 50, 100);
        assert_eq!((kept.text.as_str(), kept.dropped), ("later\n", 44));
        kept.append("again\n", 30, 100);
        assert_eq!((kept.text.as_str(), kept.dropped), ("again\n", 24));
    }

    proptest! {
        /// However the log is stored and read, no line is lost or doubled as long as the reader is no further behind than what is kept.
        #[test]
        fn each_line_is_read_once(
            written in prop::collection::vec("[a-zä€]{0,6}", 1..40),
            cuts in prop::collection::vec(1_usize..9, 1..40),
            most in 40_usize..80,
        ) {
            let whole = written.join("\n") + "\n";
            let mut log = AttemptLog { epoch: 1, ..AttemptLog::default() };
            let (mut read, mut position, mut stored) = (Vec::new(), LogPosition::default(), 0);
            for cut in cuts.iter().cycle() {
                let next = whole.ceil_char_boundary((stored + cut).min(whole.len()));
                log.append(&whole[stored..next], length(&whole[..next]), most);
                stored = next;
                prop_assert!(log.text.len() <= most);
                let (lines, skipped, after) = lines(&log, position);
                prop_assert_eq!(skipped, 0);
                read.extend(lines);
                position = after;
                if stored == whole.len() {
                    break;
                }
            }
            prop_assert_eq!(read, written);
        }
    }
}
