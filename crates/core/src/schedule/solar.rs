//! Times of the sun at a place, such as sunrise.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sunrise::{Coordinates, DawnType, SolarDay, SolarEvent};

/// How many days are searched. Near the poles an event may not happen for half a year.
const MAX_DAYS: u64 = 400;

/// An event of the sun that happens at most once a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solar {
    /// The sun is 18 degrees below the horizon, in the morning.
    DawnAstronomical,
    /// The sun is 12 degrees below the horizon, in the morning.
    DawnNautical,
    /// The sun is 6 degrees below the horizon, in the morning.
    DawnCivil,
    /// The upper rim of the sun appears.
    Sunrise,
    /// The middle between sunrise and sunset.
    SolarNoon,
    /// The upper rim of the sun disappears.
    Sunset,
    /// The sun is 6 degrees below the horizon, in the evening.
    DuskCivil,
    /// The sun is 12 degrees below the horizon, in the evening.
    DuskNautical,
    /// The sun is 18 degrees below the horizon, in the evening.
    DuskAstronomical,
}

/// A place on earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place(Coordinates);

impl Place {
    /// The place of these degrees, north and east positive. `None` if they are out of range.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        Coordinates::new(latitude, longitude).map(Self)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.0.lat(), self.0.lon())
    }
}

impl fmt::Display for Solar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DawnAstronomical => "Astronomical dawn",
            Self::DawnNautical => "Nautical dawn",
            Self::DawnCivil => "Civil dawn",
            Self::Sunrise => "Sunrise",
            Self::SolarNoon => "Solar noon",
            Self::Sunset => "Sunset",
            Self::DuskCivil => "Civil dusk",
            Self::DuskNautical => "Nautical dusk",
            Self::DuskAstronomical => "Astronomical dusk",
        })
    }
}

impl Solar {
    /// The first time after `after`; `None` if there is none within 400 days.
    pub(super) fn next_after(self, place: Place, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // an event of a local day may be on the day before or after in UTC
        let first = after.date_naive().checked_sub_days(chrono::Days::new(2))?;
        let days = first.iter_days().take(usize::try_from(MAX_DAYS).unwrap_or(usize::MAX));
        days.filter_map(|day| self.on(place, day)).find(|at| *at > after)
    }

    /// The time on a day, to the minute, which is as exact as the computation.
    fn on(self, place: Place, day: NaiveDate) -> Option<DateTime<Utc>> {
        let day = SolarDay::new(place.0, day);
        let at = match self {
            Self::DawnAstronomical => day.event_time(SolarEvent::Dawn(DawnType::Astronomical)),
            Self::DawnNautical => day.event_time(SolarEvent::Dawn(DawnType::Nautical)),
            Self::DawnCivil => day.event_time(SolarEvent::Dawn(DawnType::Civil)),
            Self::Sunrise => day.event_time(SolarEvent::Sunrise),
            Self::Sunset => day.event_time(SolarEvent::Sunset),
            Self::DuskCivil => day.event_time(SolarEvent::Dusk(DawnType::Civil)),
            Self::DuskNautical => day.event_time(SolarEvent::Dusk(DawnType::Nautical)),
            Self::DuskAstronomical => day.event_time(SolarEvent::Dusk(DawnType::Astronomical)),
            Self::SolarNoon => {
                let (rises, sets) =
                    (day.event_time(SolarEvent::Sunrise)?, day.event_time(SolarEvent::Sunset)?);
                Some(rises + (sets - rises) / 2)
            }
        };
        DateTime::from_timestamp((at?.timestamp() + 30).div_euclid(60) * 60, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(event: Solar, place: (f64, f64), after: &str) -> Option<DateTime<Utc>> {
        let place = Place::new(place.0, place.1).unwrap();
        event.next_after(place, crate::time::timestamp(after).unwrap())
    }

    /// Times of almanacs, in UTC.
    #[test]
    fn events_are_within_two_minutes_of_almanacs() {
        let (london, new_york, sydney) = ((51.5074, -0.1278), (40.7128, -74.0060), (-33.8688, 151.2093));
        for (event, place, after, expected) in [
            (Solar::Sunrise, london, "2026-06-21T00:00:00Z", "2026-06-21T03:43:00Z"),
            (Solar::Sunset, london, "2026-06-21T00:00:00Z", "2026-06-21T20:21:00Z"),
            (Solar::Sunrise, new_york, "2026-12-21T00:00:00Z", "2026-12-21T12:16:00Z"),
            (Solar::Sunset, new_york, "2026-12-21T12:00:00Z", "2026-12-21T21:31:00Z"),
            (Solar::Sunrise, sydney, "2026-12-21T12:00:00Z", "2026-12-21T18:41:00Z"),
            (Solar::SolarNoon, london, "2026-06-21T00:00:00Z", "2026-06-21T12:02:00Z"),
        ] {
            let (found, expected) =
                (next(event, place, after).unwrap(), crate::time::timestamp(expected).unwrap());
            assert!(
                (found - expected).num_minutes().abs() <= 2,
                "{event} at {place:?}: {found}, not {expected}"
            );
        }
    }

    #[test]
    fn the_events_of_a_day_are_in_order_and_each_comes_once_a_day() {
        let order = [
            Solar::DawnAstronomical,
            Solar::DawnNautical,
            Solar::DawnCivil,
            Solar::Sunrise,
            Solar::SolarNoon,
            Solar::Sunset,
            Solar::DuskCivil,
            Solar::DuskNautical,
            Solar::DuskAstronomical,
        ];
        let times = order.map(|event| next(event, (40.0, -3.7), "2026-03-20T00:00:00Z").unwrap());
        assert!(times.is_sorted(), "{times:?}");
        for place in [(0.0, 179.9), (0.0, -179.9), (45.0, 90.0)] {
            for event in order {
                let mut at = next(event, place, "2026-01-01T00:00:00Z").unwrap();
                for _ in 0..400 {
                    let following = next(event, place, &at.to_rfc3339()).unwrap();
                    let minutes = (following - at).num_minutes();
                    assert!(
                        (23 * 60..=25 * 60).contains(&minutes),
                        "{event} at {place:?}: {at}, then {following}"
                    );
                    at = following;
                }
            }
        }
    }

    #[test]
    fn near_the_poles_an_event_may_not_happen_for_months() {
        let tromso = (69.6492, 18.9553);
        let sunrise = next(Solar::Sunrise, tromso, "2026-12-01T00:00:00Z").unwrap();
        assert!(sunrise.to_rfc3339().starts_with("2027-01-1"), "{sunrise}");
        assert_eq!(next(Solar::DawnAstronomical, (90.0, 0.0), "2026-06-01T00:00:00Z"), None);
        assert!(Place::new(91.0, 0.0).is_none() && Place::new(0.0, f64::NAN).is_none());
    }
}
