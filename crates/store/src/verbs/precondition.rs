//! Conditions of changes of what is set by name: schedules and routes.

/// On which condition something of a name is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// None.
    #[default]
    Always,
    /// There is none of this name.
    Absent,
    /// There is one of this name.
    Present,
    /// There is one of this name, and its id and version are one of these.
    Version(Vec<(i64, i64)>),
}

impl Precondition {
    /// The condition under which this version, which was read, is replaced by what follows from it. `None` if this condition does not hold for it.
    pub fn of_version(&self, read: (i64, i64)) -> Option<Self> {
        self.holds(Some(read)).then(|| Self::Version(vec![read]))
    }

    /// Whether it holds. `current` is the id and the version of what has the name.
    pub(crate) fn holds(&self, current: Option<(i64, i64)>) -> bool {
        match (self, current) {
            (Self::Always, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Version(accepted), Some(current)) => accepted.contains(&current),
            (Self::Absent, Some(_)) | (Self::Present | Self::Version(_), None) => false,
        }
    }
}
