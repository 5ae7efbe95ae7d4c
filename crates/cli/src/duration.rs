//! Durations on the command line.

use std::time::Duration;

/// A number of seconds, or a number with one of the units `ms`, `s`, `m`, `h` and `d`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let split = text.find(|char: char| char.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err("use a number of seconds, or for example 500ms, 30s, 5m, 2h, 1d".to_owned()),
    };
    let seconds = number.trim().parse::<f64>().map_err(|_| "it is not a duration such as 30s".to_owned())?;
    Duration::try_from_secs_f64(seconds * factor).map_err(|_| "it is not a duration".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_optional() {
        for (text, millis) in [("0", 0), ("1.5", 1_500), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "-1", "x", "5w", "NaN", "inf", "1e400"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
