//! What to do, and with which jobs: the arguments of `cancel`, `retry`, `promote` and `delete`.

use clap::Args;

use crate::connection::ClientArgs;
use crate::output::OutputArgs;
use crate::selector::Selector;

#[derive(Args, Debug)]
pub(crate) struct ActArgs {
    /// Ids of jobs, or their beginnings. `-` reads ids from standard input.
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,

    #[command(flatten)]
    pub(crate) selector: Selector,

    /// Change nothing, and print the ids of the jobs that would be changed.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// With a selector: do not ask.
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,

    /// With a selector: change at most this many jobs.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    #[command(flatten)]
    pub(crate) api: ClientArgs,
}

/// What is done to jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum JobAction {
    Cancel,
    Retry,
    Promote,
    Delete,
}

impl JobAction {
    /// Whether it concerns jobs that have ended.
    pub(crate) const fn is_of_ended(self) -> bool {
        matches!(self, Self::Retry | Self::Delete)
    }

    /// The last part of its path.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry => "retry",
            Self::Promote => "promote",
            Self::Delete => "delete",
        }
    }
}
