//! Every change of the clocks in every IANA zone from 1970 to 2037, against vectors of Python's zoneinfo (`scripts/zone-vectors`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use chrono::{DateTime, TimeDelta, Utc};
use jobqueue_core::schedule::{Dst, TZDB_RELEASE, Timing, Zone};

/// A change of a zone's offset.
struct Change {
    at: DateTime<Utc>,
    before: TimeDelta,
    after: TimeDelta,
}

/// The names of zones with equal data, and their changes in order.
fn vectors() -> Vec<(Vec<&'static str>, Vec<Change>)> {
    let text = include_str!("zones.txt");
    let (release, lines) = text.split_once('\n').unwrap();
    assert_eq!(release, format!("# IANA {TZDB_RELEASE}"), "run scripts/zone-vectors for the new release");
    lines.lines().map(read).collect()
}

fn read(line: &'static str) -> (Vec<&'static str>, Vec<Change>) {
    let (names, numbers) = line.split_once(' ').unwrap();
    let mut numbers = numbers.split(' ').map(|number| number.parse::<i64>().unwrap());
    let mut before = TimeDelta::seconds(numbers.next().unwrap());
    let mut changes = Vec::new();
    while let (Some(at), Some(after)) = (numbers.next(), numbers.next()) {
        let after = TimeDelta::seconds(after);
        changes.push(Change { at: DateTime::from_timestamp(at, 0).unwrap(), before, after });
        before = after;
    }
    (names.split(',').collect(), changes)
}

/// The ticks of one local date and time of every year that come within two days of a change.
fn ticks(local: DateTime<Utc>, zone: &Zone, dst: Dst, change: &Change) -> Vec<DateTime<Utc>> {
    let cron = local.format("%S %M %H %d %m *").to_string().parse().unwrap();
    let timing = Timing::Cron { cron, zone: zone.clone(), dst };
    let from = change.at - TimeDelta::days(2);
    let next = |at: &DateTime<Utc>| timing.next_after(*at);
    std::iter::successors(next(&from), next).take_while(|at| *at < change.at + TimeDelta::days(2)).collect()
}

#[test]
fn offsets_are_those_of_the_reference() {
    let mut names = 0;
    for (group, changes) in vectors() {
        for name in group {
            let zone = Zone::named(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(Zone::named(&name.to_lowercase()).unwrap(), zone);
            names += 1;
            for change in &changes {
                let Change { at, before, after } = *change;
                assert_eq!(
                    (zone.offset(at - TimeDelta::seconds(1)), zone.offset(at)),
                    (before, after),
                    "{name} {at}"
                );
            }
        }
    }
    assert!(names > 590, "{names}");
    assert!(Zone::named("Europe/Atlantis").is_none() && Zone::named("").is_none());
}

#[test]
fn local_times_that_do_not_exist_or_exist_twice_follow_the_rule_in_every_zone() {
    let (mut gaps, mut folds) = (0, 0);
    for (group, changes) in vectors() {
        let zone = Zone::named(group[0]).unwrap();
        for change in
            changes.iter().filter(|change| (change.after - change.before).abs() >= TimeDelta::minutes(2))
        {
            let half = TimeDelta::seconds((change.after - change.before).num_seconds().abs() / 2);
            let case = format!("{} {}", group[0], change.at);
            let found = |local, dst| ticks(local, &zone, dst, change);
            if change.after > change.before {
                let local = change.at + change.before + half;
                let shifted = [change.at + half];
                assert_eq!(found(local, Dst::Shift), shifted, "{case}");
                assert_eq!(found(local, Dst::Both), shifted, "{case}");
                assert_eq!(found(local, Dst::Skip).len(), 0, "{case}");
                gaps += 1;
            } else {
                let local = change.at + change.after + half;
                let both = [change.at + change.after + half - change.before, change.at + half];
                assert_eq!(found(local, Dst::Both), both, "{case}");
                assert_eq!(found(local, Dst::Shift), both[..1], "{case}");
                assert_eq!(found(local, Dst::Skip), both[..1], "{case}");
                folds += 1;
            }
        }
    }
    assert!(gaps > 7_000 && folds > 7_000, "{gaps} gaps, {folds} folds");
}
