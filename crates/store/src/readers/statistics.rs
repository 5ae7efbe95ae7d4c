//! Reads the statistics of a range. Each request reads one series, which is one range of the primary key, so the number of rows depends on
//! the range alone.

use chrono::{DateTime, Utc};
use jobqueue_core::statistics::{Counts, Part, Range, Resolution, Series, Statistic};
use jobqueue_core::{KindName, QueueName};

use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::readers::row::to_count;
use crate::upkeep::statistics::{number, statistic};

/// The numbers of each step of a range.
#[derive(Clone, Debug)]
pub struct RangeStatistics {
    /// One entry for each step, in order.
    pub steps: Vec<Statistic>,
    /// What happened until then is contained. `None` before the first census.
    pub counted_until: Option<DateTime<Utc>>,
    /// Whether some events of the range belong to queues or kinds without numbers of their own, so that those of one queue or kind may be
    /// too low. Always false for the numbers of everything.
    pub has_others: bool,
}

impl Store {
    /// The statistics of a range: of everything, or of one queue, one kind, or one kind in one queue. Those of an unknown name are zero.
    pub async fn statistics(
        &self,
        range: &Range,
        queue: Option<&QueueName>,
        kind: Option<&KindName>,
    ) -> Result<RangeStatistics, StoreError> {
        let mut unit = self.begin_snapshot().await?;
        let known = sqlx::query!(
            "-- store.statistics.names
            SELECT (SELECT id FROM jobqueue.queue WHERE name = $1) AS queue_id, (SELECT id FROM jobqueue.kind WHERE name = $2) AS kind_id,
                   (SELECT taken_at FROM jobqueue.census_state) AS taken_at",
            queue.map(QueueName::as_str),
            kind.map(KindName::as_str),
        )
        .fetch_one(&mut *unit)
        .await?;
        let mut read = RangeStatistics {
            steps: vec![Statistic::default(); range.len()],
            counted_until: known.taken_at,
            has_others: false,
        };
        let part = |asked: bool, id: Option<i32>| if asked { id.map(Part::One) } else { Some(Part::All) };
        let queue = part(queue.is_some(), known.queue_id);
        let kind = part(kind.is_some(), known.kind_id);
        if let Some((queue, kind)) = queue.zip(kind) {
            read.add_series(&mut unit, range, Series { queue, kind }).await?;
            read.has_others = has_others(&mut unit, range, Series { queue, kind }).await?;
        }
        unit.commit().await?;
        Ok(read)
    }
}

impl RangeStatistics {
    async fn add_series(&mut self, unit: &mut Unit, range: &Range, series: Series) -> Result<(), StoreError> {
        let rows = sqlx::query!(
            "-- store.statistics.read
            SELECT at, created, completed, failed, retried, cancelled, snoozed, waits, runs FROM jobqueue.statistic
            WHERE hourly = $1 AND queue_id = $2 AND kind_id = $3 AND at >= $4 AND at < $5",
            range.resolution() == Resolution::Hour,
            number(series.queue),
            number(series.kind),
            range.from(),
            range.to(),
        )
        .fetch_all(&mut **unit)
        .await?;
        for row in rows {
            let counts = Counts {
                created: to_count(row.created),
                completed: to_count(row.completed),
                failed: to_count(row.failed),
                retried: to_count(row.retried),
                cancelled: to_count(row.cancelled),
                snoozed: to_count(row.snoozed),
            };
            if let Some(step) = range.step_of(row.at).and_then(|step| self.steps.get_mut(step)) {
                step.add(&statistic(counts, &row.waits, &row.runs));
            }
        }
        Ok(())
    }
}

/// Whether events of the range that may belong to this series were counted with those of others.
async fn has_others(unit: &mut Unit, range: &Range, series: Series) -> Result<bool, StoreError> {
    let all = number(Part::All);
    let others = number(Part::Others);
    let queue = number(series.queue);
    // those of the queue are with other queues; those of the kind with other kinds of the queue, or of all queues
    let places: Vec<(i32, i32)> = match (series.queue, series.kind) {
        (Part::All, Part::All) => return Ok(false),
        (_, Part::All) => vec![(others, all)],
        (Part::All, _) => vec![(all, others)],
        _ => vec![(queue, others), (others, others)],
    };
    let (queues, kinds): (Vec<i32>, Vec<i32>) = places.into_iter().unzip();
    Ok(sqlx::query_scalar!(
        r#"-- store.statistics.others
        SELECT EXISTS (
            SELECT FROM unnest($2::int[], $3::int[]) AS i (queue_id, kind_id)
            CROSS JOIN LATERAL (SELECT FROM jobqueue.statistic WHERE hourly = $1 AND queue_id = i.queue_id AND kind_id = i.kind_id
                                AND at >= $4 AND at < $5 LIMIT 1) s) AS "found!""#,
        range.resolution() == Resolution::Hour,
        &queues,
        &kinds,
        range.from(),
        range.to(),
    )
    .fetch_one(&mut **unit)
    .await?)
}
