//! A duration as users write it in a variable: a positive number of seconds, with an optional fraction.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A positive duration that an option sets in seconds, for example `1.0`, `0.25` or `300`.
///
/// clap parses a field of this type by itself. For a field of type `Duration` use `value_parser =
/// Seconds::parse_duration`. Zero, negative numbers, NaN, less than a millisecond and more than 366 days are
/// rejected: each of them is a mistake, and most would make a loop spin or never run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(Duration);

/// Why a text is not a [`Seconds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecondsError {
    /// The text is not a decimal number.
    #[error("not a number of seconds (write for example 1.0 or 300, without a unit)")]
    NotANumber,
    /// The number is outside 0.001 ..= 31,622,400.
    #[error("out of range: use 0.001 to 31622400 seconds (366 days)")]
    OutOfRange,
}

impl Seconds {
    const MIN: Duration = Duration::from_millis(1);
    const MAX: Duration = Duration::from_hours(366 * 24);

    /// Parses a decimal number of seconds.
    pub fn parse(text: &str) -> Result<Self, SecondsError> {
        let number: f64 = text.trim().parse().map_err(|_| SecondsError::NotANumber)?;
        if number.is_nan() {
            return Err(SecondsError::NotANumber);
        }
        let span = Duration::try_from_secs_f64(number).map_err(|_| SecondsError::OutOfRange)?;
        if (Self::MIN..=Self::MAX).contains(&span) { Ok(Self(span)) } else { Err(SecondsError::OutOfRange) }
    }

    /// The same, for a `Duration` field: `#[arg(value_parser = Seconds::parse_duration)]`.
    pub fn parse_duration(text: &str) -> Result<Duration, SecondsError> {
        Self::parse(text).map(Self::get)
    }

    /// The same, where zero switches something off.
    pub fn parse_duration_or_zero(text: &str) -> Result<Duration, SecondsError> {
        if text.trim().parse() == Ok(0.0_f64) { Ok(Duration::ZERO) } else { Self::parse_duration(text) }
    }

    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Seconds {
    type Err = SecondsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Self {
        seconds.0
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_seconds_are_parsed() {
        for (text, millis) in
            [("1.0", 1_000), ("300", 300_000), ("0.25", 250), (" 2 ", 2_000), ("1e1", 10_000)]
        {
            assert_eq!(Seconds::parse(text).map(Seconds::get), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(Seconds::parse("1.5").unwrap().to_string(), "1.5");
        assert_eq!("300".parse::<Seconds>().unwrap().to_string(), "300");
    }

    #[test]
    fn invalid_durations_are_rejected() {
        for text in ["", "1s", "one", "NaN", "nan", "1,5", "0x10"] {
            assert_eq!(Seconds::parse(text), Err(SecondsError::NotANumber), "{text}");
        }
        for text in ["0", "-1", "-0.0", "1e-9", "inf", "-inf", "1e400", "31622401", "1e18"] {
            assert_eq!(Seconds::parse(text), Err(SecondsError::OutOfRange), "{text}");
        }
    }
}
