//! When a schedule fires. Pure: the caller gives the time and the state, and stores what is decided.
//!
//! A **tick** is one nominal time of a schedule. The times of a cron expression are local times of its time zone. Rules for local
//! times that do not exist, or exist twice, are in [`Dst`]; rules for ticks that could not fire in time in [`Missed`].

mod check;
mod cron;
mod decide;
mod definition;
mod draft;
mod dst;
mod due;
mod overlap;
mod solar;
#[cfg(test)]
mod tests;
mod zone;

pub use cron::Cron;
pub use decide::{Fate, Pass, Progress, ScheduleStatus};
pub use definition::Schedule;
pub use draft::ScheduleDraft;
pub use dst::Dst;
pub use due::{Action, Decision, Missed, Plan, due};
pub use overlap::Overlap;
pub use solar::{Place, Solar};
pub use zone::{TZDB_RELEASE, Zone};

use chrono::{DateTime, TimeDelta, Utc};

/// At which times a schedule fires.
#[derive(Clone, Debug, PartialEq)]
pub enum Timing {
    /// At the local times that a cron expression names.
    Cron {
        /// The expression.
        cron: Cron,
        /// The time zone of the local times.
        zone: Zone,
        /// The rule for local times that do not exist or exist twice.
        dst: Dst,
    },
    /// At `anchor` and every multiple of `every` before and after it. A restart does not shift it.
    Every {
        /// The interval, at least a second.
        every: TimeDelta,
        /// One of the ticks.
        anchor: DateTime<Utc>,
    },
    /// At an event of the sun.
    Sun {
        /// The event.
        event: Solar,
        /// Where.
        place: Place,
    },
    /// Once.
    Once(DateTime<Utc>),
}

impl Timing {
    /// The first tick after `after`; `None` if there is none until the year 5000.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Cron { cron, zone, dst } => cron::next_after(cron, zone, *dst, after),
            Self::Every { every, anchor } => next_multiple(*every, *anchor, after),
            Self::Sun { event, place } => event.next_after(*place, after),
            Self::Once(at) => (*at > after).then_some(*at),
        }
    }
}

fn next_multiple(every: TimeDelta, anchor: DateTime<Utc>, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let step = i128::from(every.num_nanoseconds()?);
    let since = after - anchor;
    let since = i128::from(since.num_seconds()) * 1_000_000_000 + i128::from(since.subsec_nanos());
    let next = (since.div_euclid(step) + 1).checked_mul(step)?;
    let seconds = i64::try_from(next.div_euclid(1_000_000_000)).ok()?;
    let nanos = u32::try_from(next.rem_euclid(1_000_000_000)).ok()?;
    anchor.checked_add_signed(TimeDelta::new(seconds, nanos)?)
}
