//! Writes the statistics of minutes and hours, and deletes old ones. A minute and its hour are written in one transaction, together with the
//! deletion of the tallies that they come from. `core::statistics` decides which series have numbers of their own.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_core::statistics::{
    Chosen, Counts, HOURS_KEPT, Histogram, MINUTES_KEPT, Part, Series, Statistic,
};

use crate::handles::Upkeep;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::census::drain::{MinuteKey, MinuteNumbers};
use crate::readers::row::{to_count, to_ms};

/// The number that stands for all queues or kinds in a row.
const ALL: i32 = 0;
/// The number of those without rows of their own.
const OTHERS: i32 = -1;
const MINUTES_OF_HOUR: i64 = 60;
/// How many rows one statement deletes.
const AT_ONCE: i64 = 10_000;
/// How many of these statements one prune runs.
const PRUNE_CALLS: u32 = 100;

/// The key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    hourly: bool,
    queue_id: i32,
    kind_id: i32,
    /// Begin of the minute or hour.
    at: DateTime<Utc>,
}

/// The number of a part in a row.
pub(crate) const fn number(part: Part) -> i32 {
    match part {
        Part::All => ALL,
        Part::One(number) => number,
        Part::Others => OTHERS,
    }
}

const fn part(number: i32) -> Part {
    match number {
        ALL => Part::All,
        OTHERS => Part::Others,
        number => Part::One(number),
    }
}

/// The statistic of the columns of a row.
pub(crate) fn statistic(counts: Counts, waits: &[u8], runs: &[u8]) -> Statistic {
    let histogram = |bytes: &[u8], column| {
        Histogram::from_bytes(bytes).unwrap_or_else(|error| {
            tracing::error!(column, %error, "a statistic cannot be read; its durations are left out");
            Histogram::default()
        })
    };
    Statistic { counts, wait: histogram(waits, "waits"), run: histogram(runs, "runs") }
}

/// Adds these numbers to the rows of their minutes and hours. The caller holds the lock of the census, so no other session writes rows.
pub(crate) async fn add(unit: &mut Unit, numbers: &MinuteNumbers) -> Result<(), StoreError> {
    let mut hours: BTreeMap<i64, Vec<(&MinuteKey, &Statistic)>> = BTreeMap::new();
    for (key, statistic) in numbers {
        hours.entry(key.minute.div_euclid(MINUTES_OF_HOUR)).or_default().push((key, statistic));
    }
    let mut rows: HashMap<Key, Statistic> = HashMap::new();
    for (hour, numbers) in hours {
        let chosen = choose(unit, begin(hour * MINUTES_OF_HOUR), &numbers).await?;
        for (key, statistic) in numbers {
            // queues have numbers from 1; the others are deleted or unknown
            let queue = Some(key.queue_id).filter(|queue| *queue > 0);
            for series in chosen.series_of(queue, key.kind_id.filter(|kind| *kind > 0)) {
                for (hourly, minute) in [(false, key.minute), (true, hour * MINUTES_OF_HOUR)] {
                    let (queue_id, kind_id) = (number(series.queue), number(series.kind));
                    let key = Key { hourly, queue_id, kind_id, at: begin(minute) };
                    rows.entry(key).or_default().add(statistic);
                }
            }
        }
    }
    read(unit, &mut rows).await?;
    write(unit, &rows).await
}

fn begin(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(minute.saturating_mul(60), 0).unwrap_or_default()
}

/// Chooses the series of an hour.
async fn choose(
    unit: &mut Unit,
    hour: DateTime<Utc>,
    numbers: &[(&MinuteKey, &Statistic)],
) -> Result<Chosen, StoreError> {
    let rows = sqlx::query!(
        r#"-- store.statistics.series
        SELECT queue_id, kind_id, at = $1 AS "present!",
               created + completed + failed + retried + cancelled + snoozed AS "events!"
        FROM jobqueue.statistic WHERE hourly AND at = ANY (ARRAY[$1, $1 - interval '1 hour'])"#,
        hour,
    )
    .fetch_all(&mut **unit)
    .await?;
    let (mut present, mut before) = (Vec::new(), Vec::new());
    for row in rows {
        let series = Series { queue: part(row.queue_id), kind: part(row.kind_id) };
        if row.present {
            present.push(series);
        } else {
            before.push((series, to_count(row.events)));
        }
    }
    let new = numbers.iter().map(|(key, statistic)| {
        let queue = Some(key.queue_id).filter(|queue| *queue > 0);
        (queue, key.kind_id, statistic.counts.events())
    });
    Ok(Chosen::new(&present, &before, new))
}

/// Adds what these rows have already.
async fn read(unit: &mut Unit, rows: &mut HashMap<Key, Statistic>) -> Result<(), StoreError> {
    let keys = Keys::of(rows.keys());
    // looked up by key, because a join may be planned as a scan of the table
    let stored = sqlx::query!(
        r#"-- store.statistics.present
        SELECT i.place AS "place!", s.created, s.completed, s.failed, s.retried, s.cancelled, s.snoozed, s.waits, s.runs
        FROM unnest($1::boolean[], $2::int[], $3::int[], $4::timestamptz[]) WITH ORDINALITY AS i (hourly, queue_id, kind_id, at, place)
        CROSS JOIN LATERAL (SELECT * FROM jobqueue.statistic WHERE hourly = i.hourly AND queue_id = i.queue_id
                            AND kind_id = i.kind_id AND at = i.at LIMIT 1) s"#,
        &keys.hourly,
        &keys.queue_ids,
        &keys.kind_ids,
        &keys.at,
    )
    .fetch_all(&mut **unit)
    .await?;
    for row in stored {
        let counts = Counts {
            created: to_count(row.created),
            completed: to_count(row.completed),
            failed: to_count(row.failed),
            retried: to_count(row.retried),
            cancelled: to_count(row.cancelled),
            snoozed: to_count(row.snoozed),
        };
        let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
        if let Some(statistic) = keys.get(place).and_then(|key| rows.get_mut(&key)) {
            statistic.add(&self::statistic(counts, &row.waits, &row.runs));
        }
    }
    Ok(())
}

async fn write(unit: &mut Unit, rows: &HashMap<Key, Statistic>) -> Result<(), StoreError> {
    let keys = Keys::of(rows.keys());
    let of = |number: fn(&Counts) -> u64| -> Vec<i64> {
        rows.values().map(|row| i64::try_from(number(&row.counts)).unwrap_or(i64::MAX)).collect()
    };
    let waits: Vec<Vec<u8>> = rows.values().map(|row| row.wait.to_bytes()).collect();
    let runs: Vec<Vec<u8>> = rows.values().map(|row| row.run.to_bytes()).collect();
    sqlx::query!(
        "-- store.statistics.write
        INSERT INTO jobqueue.statistic (hourly, queue_id, kind_id, at, created, completed, failed, retried, cancelled, snoozed, waits, runs)
        SELECT * FROM unnest($1::boolean[], $2::int[], $3::int[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[],
                             $8::bigint[], $9::bigint[], $10::bigint[], $11::bytea[], $12::bytea[])
        ON CONFLICT (hourly, queue_id, kind_id, at) DO UPDATE SET
            created = excluded.created, completed = excluded.completed, failed = excluded.failed, retried = excluded.retried,
            cancelled = excluded.cancelled, snoozed = excluded.snoozed, waits = excluded.waits, runs = excluded.runs",
        &keys.hourly,
        &keys.queue_ids,
        &keys.kind_ids,
        &keys.at,
        &of(|counts| counts.created),
        &of(|counts| counts.completed),
        &of(|counts| counts.failed),
        &of(|counts| counts.retried),
        &of(|counts| counts.cancelled),
        &of(|counts| counts.snoozed),
        &waits,
        &runs,
    )
    .execute(&mut **unit)
    .await?;
    Ok(())
}

/// Keys as columns.
#[derive(Default)]
struct Keys {
    hourly: Vec<bool>,
    queue_ids: Vec<i32>,
    kind_ids: Vec<i32>,
    at: Vec<DateTime<Utc>>,
}

impl Keys {
    fn of<'a>(keys: impl Iterator<Item = &'a Key>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.hourly.push(key.hourly);
            columns.queue_ids.push(key.queue_id);
            columns.kind_ids.push(key.kind_id);
            columns.at.push(key.at);
        }
        columns
    }

    fn get(&self, place: usize) -> Option<Key> {
        Some(Key {
            hourly: *self.hourly.get(place)?,
            queue_id: *self.queue_ids.get(place)?,
            kind_id: *self.kind_ids.get(place)?,
            at: *self.at.get(place)?,
        })
    }
}

impl Upkeep<'_> {
    /// Deletes the rows of minutes and hours that are no longer kept.
    pub(super) async fn prune_statistics(&self) -> Result<(), StoreError> {
        for (hourly, kept) in [(false, MINUTES_KEPT), (true, HOURS_KEPT)] {
            for _ in 0..PRUNE_CALLS {
                if self.prune_statistics_once(hourly, kept).await? < to_count(AT_ONCE) {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn prune_statistics_once(&self, hourly: bool, kept: Duration) -> Result<u64, StoreError> {
        let mut unit = self.0.one().await?;
        let gone = sqlx::query!(
            "-- store.prune.statistics
            DELETE FROM jobqueue.statistic WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM jobqueue.statistic WHERE hourly = $1 AND at < jobqueue.now() - $2::bigint * interval '1 ms'
                ORDER BY at LIMIT $3))",
            hourly,
            to_ms(kept),
            AT_ONCE,
        )
        .execute(&mut *unit)
        .await?;
        unit.commit().await?;
        Ok(gone.rows_affected())
    }
}
