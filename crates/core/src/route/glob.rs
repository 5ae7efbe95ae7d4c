//! Patterns for kinds.

use std::fmt;

use crate::name::MAX_KIND_BYTES;

/// A pattern for kinds: `*` stands for any characters, also for none, and `?` for exactly one. All others stand for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pattern that matches everything.
    pub fn everything() -> Self {
        Self("*".to_owned())
    }

    /// Whether the pattern is `*`.
    pub fn is_everything(&self) -> bool {
        self.0 == "*"
    }

    /// Whether the kind matches.
    pub fn matches(&self, kind: &str) -> bool {
        self.walk(kind, |_| true)
    }

    /// Whether everything that `other` matches also matches this pattern. A `*` of `other` must fall to a `*` of this one, and a `?` to a `*` or
    /// a `?`. Never true by mistake; false for some patterns that are written unlike but mean the same.
    pub fn covers(&self, other: &Self) -> bool {
        self.walk(&other.0, |byte| byte != b'*')
    }

    /// Compares with a text. `one` says for which of its bytes a `?` may stand. Takes time in proportion to the product of the two lengths:
    /// only the last `*` is ever tried again, because an earlier one that matches as little as possible leaves the most for the rest.
    fn walk(&self, text: &str, one: impl Fn(u8) -> bool) -> bool {
        let (pattern, kind) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut k) = (0, 0);
        // the place after the last `*`, and the place in the kind up to which that `*` matches
        let mut star: Option<(usize, usize)> = None;
        while k < kind.len() {
            match (pattern.get(p), star) {
                (Some(b'*'), _) => {
                    p += 1;
                    star = Some((p, k));
                }
                (Some(byte), _) if *byte == b'?' && one(kind[k]) || *byte == kind[k] => {
                    p += 1;
                    k += 1;
                }
                (_, Some((after, matched))) => {
                    star = Some((after, matched + 1));
                    p = after;
                    k = matched + 1;
                }
                (_, None) => return false,
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

impl TryFrom<String> for Glob {
    type Error = (&'static str, String);

    /// Fails with the code and the message of a field error.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-.:*?".contains(&b);
        if text.is_empty() {
            Err(("required", "must not be empty; `*` matches every kind".to_owned()))
        } else if text.len() > MAX_KIND_BYTES {
            Err(("too_long", format!("must have at most {MAX_KIND_BYTES} characters")))
        } else if text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            let message =
                "must hold only letters, digits, '_', '-', '.' and ':', and the wildcards '*' and '?'";
            Err(("invalid", message.to_owned()))
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
