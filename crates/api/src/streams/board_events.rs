//! The events of one listener of queues, workers and groups of dead letters. Owns which change it has received last; makes an event only when the connection can take
//! one, so a slow listener needs no memory and skips values that were replaced meanwhile.

use axum::response::sse::Event;
use tokio::sync::watch;

use super::board::Following;
use super::board_watch::{BoardState, BoardWatch};
use super::outage_event::{available, unavailable};

/// The id of an event: which process sent it, and the number of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BoardEventId {
    process: u32,
    number: u64,
}

impl BoardEventId {
    /// Reads an id that a [`BoardEvents`] of any process has sent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (process, number) = text.split_once('-')?;
        let is_hex = process.len() == 8 && process.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let process = u32::from_str_radix(process, 16).ok().filter(|_| is_hex)?;
        Some(Self { process, number: number.parse().ok().filter(|_| is_number)? })
    }
}

/// See the module.
pub(crate) struct BoardEvents {
    board: BoardWatch,
    state: watch::Receiver<BoardState>,
    /// Number of the last change that was sent.
    number: u64,
    /// Number of the last change when the snapshot began.
    floor: u64,
    /// Whether a snapshot has to be announced.
    must_begin: bool,
    /// Whether the end of the snapshot, or of what was missed, has to be announced.
    must_complete: bool,
    /// Whether the last event about the database was `unavailable`.
    is_unavailable: bool,
}

impl BoardEvents {
    /// The changes after `last` if this process has sent it, otherwise a snapshot and all changes after it.
    pub(crate) fn new(
        board: BoardWatch,
        state: watch::Receiver<BoardState>,
        last: Option<BoardEventId>,
    ) -> Self {
        let number = last.filter(|last| last.process == board.process()).map_or(0, |last| last.number);
        Self {
            board,
            state,
            number,
            floor: 0,
            must_begin: number == 0,
            must_complete: true,
            is_unavailable: false,
        }
    }

    /// The next event, as soon as there is one.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let state = *self.state.borrow_and_update();
            if !self.must_begin && state.is_unavailable != self.is_unavailable {
                self.is_unavailable = state.is_unavailable;
                let reason = "the database is unavailable";
                return Some(if state.is_unavailable { unavailable(reason) } else { available() });
            }
            if state.is_current
                && let Some(event) = self.step()
            {
                return Some(event);
            }
            // an error means that the process shuts down
            self.state.changed().await.ok()?;
        }
    }

    fn step(&mut self) -> Option<Event> {
        let following = self.board.after(self.number, self.floor);
        if following == Following::Unknown {
            (self.number, self.must_complete) = (0, true);
        }
        if std::mem::take(&mut self.must_begin) || following == Following::Unknown {
            self.floor = self.board.last();
            return Some(self.event("snapshot", "{}"));
        }
        match following {
            Following::Next(number, change) => {
                self.number = number;
                Some(self.event(change.name, &change.json))
            }
            Following::Nothing(last) if self.must_complete => {
                (self.number, self.must_complete) = (last, false);
                Some(self.event("ready", "{}"))
            }
            Following::Nothing(_) | Following::Unknown => None,
        }
    }

    fn event(&self, name: &str, json: &str) -> Event {
        Event::default().event(name).id(format!("{:08x}-{}", self.board.process(), self.number)).data(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_strictly() {
        assert_eq!(BoardEventId::parse("0000c0de-12"), Some(BoardEventId { process: 0xc0de, number: 12 }));
        for wrong in ["", "c0de-12", "0000c0de", "0000c0de-", "+000c0de-1", "0000c0de--1", "0000c0de-1x"] {
            assert_eq!(BoardEventId::parse(wrong), None, "{wrong:?}");
        }
    }
}
