//! The rule for local times that do not exist or exist twice.

use serde::{Deserialize, Serialize};

/// What happens to a tick whose local time does not exist, or exists twice, because the clocks of its time zone are set.
///
/// It applies to times of day. An expression that names every hour of the day fires in each hour that passes: such a schedule has
/// neither a pause nor a double when clocks are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dst {
    /// A time that does not exist has no tick. Of a time that exists twice, the first is taken.
    Skip,
    /// A time that does not exist is moved by the length of the gap: 02:30 becomes 03:30. Of a time that exists twice, the first is
    /// taken. Each day has exactly one tick.
    #[default]
    Shift,
    /// As `shift`, but a time that exists twice has two ticks.
    Both,
}
