//! What a job holds or is part of: a plain job has none of it.

/// What a job holds that its end may free, and what its end starts. A lease carries it, so that no body is read when the attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ties {
    /// Whether the submitter gave the job a unique key.
    pub unique_key: bool,
    /// Whether a webhook announces the end of the job.
    pub on_end: bool,
}

impl Ties {
    /// The job holds nothing.
    pub const NONE: Self = Self { unique_key: false, on_end: false };
    /// The job may hold anything. For a lease whose body was not read: the store then does what it finds.
    pub const UNKNOWN: Self = Self { unique_key: true, on_end: true };

    /// The rest, if another job takes over the unique key.
    #[must_use]
    pub const fn without_unique_key(mut self) -> Self {
        self.unique_key = false;
        self
    }

    /// Whether the job is plain: storing it claims nothing and its end frees nothing.
    pub fn is_plain(self) -> bool {
        self == Self::NONE
    }
}
