//! What the exit of a program means for its job. Owns the mapping of exit codes.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use jobqueue_core::Failure;

use crate::durations::snooze_delay;
use crate::handler::HandlerError;

/// The configured meanings of exit codes other than 0.
#[derive(Clone, Debug, Default)]
pub(super) struct ExitCodes(BTreeMap<i32, Meaning>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Meaning {
    Retry,
    Discard,
    Snooze(Duration),
}

impl ExitCodes {
    /// Parses `{ "75" = "retry", "65" = "discard", "80" = "snooze:30" }`.
    pub(super) fn parse(codes: &BTreeMap<String, String>) -> Result<Self, String> {
        let parsed = codes.iter().map(|(code, meaning)| {
            let number = code.parse().ok().filter(|code| (1..=255).contains(code));
            let number =
                number.ok_or_else(|| format!("exit_codes: `{code}` must be a number from 1 to 255"))?;
            Ok((number, parse_meaning(meaning)?))
        });
        parsed.collect::<Result<_, String>>().map(Self)
    }

    /// The error of a program that failed; `tail` is the end of its stderr.
    pub(super) fn error(&self, status: ExitStatus, tail: &str) -> HandlerError {
        let (kind, what) = match (status.code(), status.signal()) {
            (Some(code), _) => (format!("exit_{code}"), format!("exit code {code}")),
            (None, Some(signal)) => (format!("signal_{signal}"), format!("killed by signal {signal}")),
            (None, None) => ("exit_unknown".to_owned(), "ended in an unknown way".to_owned()),
        };
        let message = if tail.is_empty() { what } else { format!("{what}: {tail}") };
        let meaning = status.code().and_then(|code| self.0.get(&code).copied()).unwrap_or(Meaning::Retry);
        match meaning {
            Meaning::Retry => HandlerError::retry(kind, message),
            Meaning::Discard => HandlerError::Discard(Failure::new(kind, message)),
            Meaning::Snooze(delay) => HandlerError::Snooze(delay),
        }
    }
}

fn parse_meaning(text: &str) -> Result<Meaning, String> {
    match text.split_once(':') {
        None if text == "retry" => Ok(Meaning::Retry),
        None if text == "discard" => Ok(Meaning::Discard),
        Some(("snooze", seconds)) => snooze_delay(seconds)
            .map(Meaning::Snooze)
            .map_err(|error| format!("exit_codes: `{text}`: snooze {error}")),
        _ => Err(format!("exit_codes: `{text}` must be `retry`, `discard` or `snooze:<seconds>`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_is_configured_and_signals_are_named() {
        let codes =
            [("65", "discard"), ("80", "snooze:30")].map(|(code, meaning)| (code.into(), meaning.into()));
        let codes = ExitCodes::parse(&BTreeMap::from(codes)).unwrap();
        let exited = |code: i32| codes.error(ExitStatus::from_raw(code << 8), "no space left");
        assert_eq!(exited(80), HandlerError::Snooze(Duration::from_secs(30)));
        assert_eq!(exited(65), HandlerError::discard("exit_65", "exit code 65: no space left"));
        assert_eq!(exited(1), HandlerError::retry("exit_1", "exit code 1: no space left"));
        assert_eq!(
            codes.error(ExitStatus::from_raw(9), ""),
            HandlerError::retry("signal_9", "killed by signal 9")
        );
    }
}
