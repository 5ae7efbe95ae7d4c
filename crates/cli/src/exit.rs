//! The exit codes of the client commands, and the error that ends one. Both are on the page `docs/cli.md`; scripts rely on them, so a code
//! never gets another meaning.

use std::fmt;
use std::io;
use std::process::ExitCode;

use jobqueue_runtime::{ConfigError, EX_USAGE};

/// The table of exit codes in `--help`.
pub(crate) const TABLE: &str = "\
Exit codes:
    0  done
    1  a job failed or was cancelled, `doctor` found an error, or a part of many was not changed
    3  not found
    4  the API refused the request
    5  the API or the database cannot be reached
    6  the time of --timeout is over
   64  the command line or the configuration is invalid
   70  an unexpected answer or a local error
  130  interrupted by Ctrl-C";

/// How a client command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Done,
    /// A job failed or was cancelled, a check found an error, or a part of the request was not carried out.
    Unmet,
    /// The job, queue or worker does not exist.
    NotFound,
    /// The API refused the request.
    Refused,
    /// No answer from the API or the database, or it is overloaded.
    Unreachable,
    /// The time limit of the command line passed.
    TimedOut,
    /// The command line or the configuration is invalid.
    Usage,
    /// An answer of unknown shape, or an error of this machine.
    Internal,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The number that the process exits with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unmet => 1,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
            Self::TimedOut => 6,
            Self::Usage => EX_USAGE,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    /// The more severe of two ends of the parts of one command: the first that is not `Done`.
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Done { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ended early, as one sentence that says what to do, and its exit code.
#[derive(Clone, Debug)]
pub(crate) struct CommandError {
    pub(crate) exit: Exit,
    /// Empty: nothing is printed.
    message: String,
}

/// What a command returns.
pub(crate) type CommandResult<T = Exit> = Result<T, CommandError>;

impl CommandError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(Exit::Internal, message.to_string())
    }

    /// Prints it with what it is about, and returns its exit code: for a part of a command whose other parts are still carried out.
    pub(crate) fn about(self, what: &str) -> Exit {
        eprintln!("jobqueue: {what}: {}", self.message);
        self.exit
    }

    /// Prints the sentence, unless there is none.
    pub(crate) fn report(&self) {
        if !self.message.is_empty() {
            eprintln!("jobqueue: {}", self.message);
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommandError {}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.0)
    }
}

/// An error of stdout. A reader that closed the pipe, such as `head`, has what it wanted: no message, code 0.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Exit::Done, "")
        } else {
            Self::internal(format!("the output cannot be written: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_table() {
        for exit in [
            Exit::Done,
            Exit::Unmet,
            Exit::NotFound,
            Exit::Refused,
            Exit::Unreachable,
            Exit::TimedOut,
            Exit::Usage,
            Exit::Internal,
            Exit::Interrupted,
        ] {
            let line = format!("\n{:>5}  ", exit.code());
            assert!(TABLE.contains(&line), "{exit:?}");
        }
        assert_eq!(Exit::Done.or(Exit::Unmet), Exit::Unmet);
        assert_eq!(Exit::NotFound.or(Exit::Unmet), Exit::NotFound);
    }
}
