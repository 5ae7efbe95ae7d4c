//! API keys: their text, and what a key may do. Pure: the caller keeps the keys, and gives the time and the random bytes.

mod draft;
mod grant;
mod hide;
mod scope;
mod token;

pub use draft::{ApiKeyDraft, RateDraft};
pub use grant::{Grant, Rate};
pub use hide::{HIDDEN, Hide};
pub use scope::Scope;
pub use token::{KeyId, KeyText, RANDOM_ID_BYTES, RANDOM_SECRET_BYTES};

/// Maximum number of keys that are not revoked. Each process keeps them in memory.
pub const MAX_KEYS: i64 = 10_000;
/// Maximum length of the name of a key, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Maximum number of patterns for queues, of patterns for kinds, and of hidden members.
pub const MAX_PATTERNS: usize = 100;
