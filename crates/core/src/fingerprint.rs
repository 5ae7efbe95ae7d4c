//! What dead letters have in common: error type and message, without what differs from one job to the next.
//!
//! The fingerprint of a group is a hash of the kind and of this [`FailureCause`]. The text of a cause is shown to users, so it stays readable.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::attempt::Failure;

/// Only so much of a message is read. Longer ones differ in their end, if at all, by a trace or a copy of the input.
const MAX_READ: usize = 2048;
/// Maximum length of the message of a cause.
const MAX_MESSAGE: usize = 255;
/// Maximum length of the error type of a cause.
const MAX_TYPE: usize = 128;

/// The cause of a final failure, the same for all failures that a user would call the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureCause {
    /// The error type that the handler reported.
    pub error_type: String,
    /// The message with placeholders instead of numbers, ids, times, paths and quoted texts; at most 255 bytes.
    pub message: String,
}

impl FailureCause {
    /// The cause of this failure.
    pub fn of(failure: &Failure) -> Self {
        Self {
            error_type: cut(&plain(cut(&failure.kind, MAX_TYPE)), MAX_TYPE).to_owned(),
            message: normalised(&failure.message),
        }
    }
}

/// The message with placeholders.
fn normalised(message: &str) -> String {
    let text = plain(cut(message, MAX_READ));
    let text = match &*VARIABLE {
        Some(variable) => variable.replace_all(&text, placeholder),
        None => Cow::Borrowed(&*text),
    };
    cut(&text, MAX_MESSAGE).trim_end().to_owned()
}

/// What differs from one job to the next. The names of the groups say what stands for it. An alternative that needs something before it keeps
/// that in a group `before…`.
static VARIABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`|“[^”]*”|«[^»]*»)"#,
        r#"|(?P<before_quote>^|[\s(\[{=:,])'[^']*'"#,
        r#"|(?P<url>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>)\]]+)"#,
        r#"|(?P<email>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"#,
        r#"|(?P<uuid>\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b)"#,
        r#"|(?P<time>\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d:?\d\d))?)?)"#,
        r#"|(?P<before_path>^|[\s(\[{=:,<>])(?:/[^\s/:,;)\]}"'<>]+)+/?"#,
        r#"|(?P<windows>\b[A-Za-z]:\\[^\s:;,)\]"'<>]+)"#,
        r#"|(?P<relative>\b(?:[\w.-]+/){2,}[\w.-]+)"#,
        r#"|(?P<hex>\b0[xX][0-9a-fA-F]+\b|\b[0-9a-fA-F]{8,}\b)"#,
        r#"|(?P<number>[0-9]+(?:[.,:][0-9]+)*(?:\p{L}{1,3}\b)?(?P<after>[\p{L}\p{N}_]*))"#,
        r#"|(?P<word>\p{L}[\p{L}_]*)(?P<digits>\p{N}[\p{L}\p{N}_]*)"#,
    ))
    .ok()
});

/// What stands in the message instead of this match.
fn placeholder(found: &Captures<'_>) -> String {
    let part = |name: &str| found.name(name).map(|part| part.as_str());
    if let Some(before) = part("before_quote") {
        format!("{before}<text>")
    } else if let Some(before) = part("before_path") {
        format!("{before}<path>")
    } else if let Some(digits) = part("digits") {
        // `user42` is a word with a number; a word with letters after a digit is an id
        if digits.chars().all(char::is_numeric) {
            format!("{}<n>", part("word").unwrap_or_default())
        } else {
            "<id>".to_owned()
        }
    } else if part("hex").is_some_and(|digits| digits.chars().all(|c| c.is_ascii_digit())) {
        "<n>".to_owned()
    } else {
        let of = [
            ("text", "<text>"),
            ("url", "<url>"),
            ("email", "<email>"),
            ("uuid", "<id>"),
            ("time", "<time>"),
            ("windows", "<path>"),
            ("relative", "<path>"),
            ("hex", "<id>"),
        ];
        let named = of.iter().find(|(name, _)| found.name(name).is_some()).map(|(_, stands)| *stands);
        named
            .unwrap_or(if part("after").is_some_and(|rest| !rest.is_empty()) { "<id>" } else { "<n>" })
            .to_owned()
    }
}

/// The text with each run of white space, control and text-direction characters as one space, without any at its ends.
fn plain(text: &str) -> String {
    let is_space = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fffd}')
    };
    let words = text.split(is_space).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// At most the first `max` bytes of a text. A character is never split.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(text: &str) -> String {
        FailureCause::of(&Failure { kind: "x".to_owned(), message: text.to_owned(), details: None }).message
    }

    #[test]
    fn what_differs_from_job_to_job_is_replaced() {
        for (text, expected) in [
            ("user 4711 not found", "user <n> not found"),
            ("user 471147114711 not found", "user <n> not found"),
            ("user42 and user43", "user<n> and user<n>"),
            ("took 1.5s, 30 ms or 12,000ms", "took <n>, <n> ms or <n>"),
            ("-3 of 10:30", "-<n> of <n>"),
            ("no customer cus_9s6XKzkNRiz8i3", "no customer <id>"),
            ("job 0198c1a2-3b4c-7d5e-8f60-718293a4b5c6 is gone", "job <id> is gone"),
            ("at 0xdeadBEEF in 9f86d081884c7d65", "at <id> in <id>"),
            (r#"key "a \" b" is missing"#, "key <text> is missing"),
            ("KeyError: 'name'", "KeyError: <text>"),
            ("can't open it, won't try", "can't open it, won't try"),
            ("`x` and “y” and «z»", "<text> and <text> and <text>"),
            ("open /var/lib/x/y.txt: denied", "open <path>: denied"),
            (r"open C:\data\x.csv failed", "open <path> failed"),
            ("in src/a/main.rs", "in <path>"),
            ("and/or n/a", "and/or n/a"),
            ("GET https://example.com/a/b?c=1 gave 503", "GET <url> gave <n>"),
            ("mail to jane.doe+x@example.com bounced", "mail to <email> bounced"),
            ("at 2026-11-30T12:00:01.5+01:00 and 2026-11-30", "at <time> and <time>"),
            ("a\n\n  b\tc\u{202e}d", "a b c d"),
            ("", ""),
        ] {
            assert_eq!(message(text), expected, "{text}");
        }
    }

    #[test]
    fn words_of_any_language_stay() {
        let text = "Größe überschritten: 数据库 ٣ 💥";
        assert_eq!(message(text), text);
        assert_eq!(message("utilisateur é12 absent"), "utilisateur é<n> absent");
    }

    #[test]
    fn a_huge_message_is_cut_and_costs_little() {
        let huge = "é\u{0}\" '".repeat(2 * 1024 * 1024);
        assert!(message(&huge).len() <= MAX_MESSAGE);
        let cause = FailureCause::of(&Failure { kind: huge, message: String::new(), details: None });
        assert!(cause.error_type.len() <= MAX_TYPE);
    }

    proptest! {
        #[test]
        fn a_cause_is_bounded_and_has_no_control_character(text in ".{0,400}", kind in ".{0,200}") {
            let cause = FailureCause::of(&Failure { kind, message: text, details: None });
            prop_assert!(cause.message.len() <= MAX_MESSAGE && cause.error_type.len() <= MAX_TYPE);
            prop_assert!(!cause.message.chars().chain(cause.error_type.chars()).any(char::is_control));
        }

        #[test]
        fn numbers_and_ids_do_not_matter(a in 0u64.., b in 0u64.., id in any::<u128>(), other in any::<u128>()) {
            let text = |n: u64, id: u128| message(&format!("row {n} of {} at {id:032x}", uuid::Uuid::from_u128(id)));
            prop_assert_eq!(text(a, id), text(b, other));
        }
    }
}
