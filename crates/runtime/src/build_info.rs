//! Which build this process is. Owns the two compile-time facts; never reads the environment at run time.

/// The version of the workspace, for example `0.1.0`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision, if the build was told one by the variable `JOBQUEUE_REVISION`; otherwise `unknown`.
pub const REVISION: &str = match option_env!("JOBQUEUE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
