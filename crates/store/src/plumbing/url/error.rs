//! The error for a connection URL that cannot be used.

/// How special characters are written in a user name or a password.
pub(super) const ESCAPES: &str = "in a user name or password write `#` as %23, `/` as %2F, `?` as %3F, `@` as %40, `%` as %25 and a space as %20";

/// Why a connection URL is refused, and what to do, in one sentence. It contains no part of the URL but the names of parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(pub(super) String);

impl UrlError {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    pub(super) fn unescaped(found: &str) -> Self {
        Self(format!("the URL has an unescaped {found}; {ESCAPES}"))
    }
}
