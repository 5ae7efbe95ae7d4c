//! The version and revision of this build. Both are set at compile time; never reads the environment at run
//! time.

/// The version of the workspace, for example `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision from the variable `JOBQUEUE_REVISION` at build time; `unknown` if it was not set.
pub const REVISION: &str = match option_env!("JOBQUEUE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
