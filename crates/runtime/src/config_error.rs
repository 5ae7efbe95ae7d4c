//! The error for an invalid setting, and its exit code. Owns both; does not check any setting.

/// The exit code for an invalid configuration (`EX_USAGE` of sysexits.h): a restart will not help.
pub const EX_USAGE: u8 = 64;

/// An invalid setting, as one sentence that says what to change. [`boot`](crate::boot) prints it on stderr and exits with
/// [`EX_USAGE`], wherever it occurs in an error's chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);
