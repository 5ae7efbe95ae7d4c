//! The parts of a filter that no index answers: error type, time of the end, unique key, metadata, payload, whether it waits for a retry. The search looks at the jobs that the
//! other parts leave over, newest first, and stops after a bounded number of them. An index for each part would cost every submission or
//! every settle.

use jobqueue_core::{JobId, MetadataTerm, Status};
use serde_json::json;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::filter::{JobFilter, Matches, some};
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;

/// How many jobs one statement looks at.
const STEP: u32 = 2_000;
/// How many jobs one call looks at.
const MOST: u32 = 20_000;
/// After this time no further step starts. With the time limit of one statement, a call ends within the time limit of a request.
const LAST_STEP_AFTER: Duration = Duration::from_secs(3);

impl JobFilter {
    /// Whether a part of it needs a look at each job.
    pub(super) fn needs_a_look(&self) -> bool {
        self.ends()
            || self.retrying
            || !self.unique_keys.is_empty()
            || !self.metadata.is_empty()
            || !self.payload.is_empty()
    }

    /// Whether only jobs that are final can match.
    fn ends(&self) -> bool {
        self.finished_after.is_some() || self.finished_before.is_some() || !self.error_types.is_empty()
    }

    /// The part that indexes answer, as narrow as the other parts allow; `None` if no job can match.
    fn indexed_part(&self) -> Option<Self> {
        let mut part = self.clone();
        if self.retrying {
            if !(part.statuses.is_empty() || part.statuses.contains(&Status::Scheduled)) {
                return None;
            }
            part.statuses = vec![Status::Scheduled];
        }
        if self.ends() {
            let has_error = !self.error_types.is_empty();
            let can_match =
                |status: &Status| status.is_final() && !(has_error && *status == Status::Completed);
            if part.statuses.is_empty() {
                part.statuses = Status::ALL.to_vec();
            }
            part.statuses.retain(can_match);
            if part.statuses.is_empty() {
                return None;
            }
        }
        // a job is submitted before it ends
        if let Some(ended) = self.finished_before {
            part.created_before = Some(self.created_before.map_or(ended, |created| created.min(ended)));
        }
        Some(part)
    }
}

/// Up to `limit` jobs that match the whole filter.
pub(super) async fn search(
    unit: &mut Unit,
    filter: &JobFilter,
    after: Option<JobId>,
    limit: u32,
) -> Result<Matches, StoreError> {
    let Some(part) = filter.indexed_part() else { return Ok(Matches::default()) };
    let last_step = Instant::now() + LAST_STEP_AFTER;
    let one_more = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let (mut ids, mut seen, mut looked) = (Vec::new(), after, 0);
    loop {
        let some = Store::indexed(unit, &part, seen, STEP).await?;
        let at_the_end = some.len() < usize::try_from(STEP).unwrap_or(usize::MAX);
        ids.extend(matching(unit, filter, &some, one_more - ids.len()).await?);
        if ids.len() == one_more || at_the_end {
            return Ok(Matches::first(ids, limit));
        }
        seen = some.last().copied();
        looked += STEP;
        if looked >= MOST || Instant::now() >= last_step {
            return Ok(Matches { ids, next: seen });
        }
    }
}

/// Those of these jobs that match, in the same order.
async fn matching(
    unit: &mut Unit,
    filter: &JobFilter,
    among: &[JobId],
    limit: usize,
) -> Result<Vec<JobId>, StoreError> {
    let among: Vec<Uuid> = among.iter().map(|id| id.as_uuid()).collect();
    let errors = some(filter.error_types.iter().cloned());
    let keys = some(filter.unique_keys.iter().cloned());
    let terms = |terms: &[MetadataTerm]| {
        let terms: Vec<_> = terms.iter().map(|term| json!([term.path, term.value])).collect();
        (!terms.is_empty()).then(|| json!(terms).to_string())
    };
    // scalar sub-selects, because a join may be planned as a scan of the whole table
    let ids = sqlx::query_scalar!(
        r#"-- store.list.narrow
        SELECT c.id AS "id!" FROM unnest($1::uuid[]) WITH ORDINALITY AS c (id, place)
        WHERE ($2::text[] IS NULL
               OR (SELECT o.detail->>'type' FROM jobqueue.outcome o WHERE o.job_id = c.id AND o.status <> 5) = ANY ($2))
          AND ($3::timestamptz IS NULL OR (SELECT o.finished_at FROM jobqueue.outcome o WHERE o.job_id = c.id) >= $3)
          AND ($4::timestamptz IS NULL OR (SELECT o.finished_at FROM jobqueue.outcome o WHERE o.job_id = c.id) < $4)
          AND ($5::text[] IS NULL OR (SELECT b.unique_key FROM jobqueue.body b WHERE b.id = c.id) = ANY ($5))
          AND ($6::text IS NULL
               OR (SELECT bool_and(coalesce(b.metadata #>> ARRAY(SELECT json_array_elements_text(t.term->0)) = t.term->>1, false))
                   FROM jobqueue.body b CROSS JOIN json_array_elements($6::text::json) AS t (term) WHERE b.id = c.id))
          AND ($8::text IS NULL
               OR (SELECT bool_and(coalesce(b.payload #>> ARRAY(SELECT json_array_elements_text(t.term->0)) = t.term->>1, false))
                   FROM jobqueue.body b CROSS JOIN json_array_elements($8::text::json) AS t (term) WHERE b.id = c.id))
          AND (NOT $9 OR (SELECT s.attempt > 0 FROM jobqueue.scheduled s WHERE s.job_id = c.id))
        ORDER BY c.place LIMIT $7"#,
        &among,
        errors.as_deref(),
        filter.finished_after,
        filter.finished_before,
        keys.as_deref(),
        terms(&filter.metadata),
        i64::try_from(limit).unwrap_or(i64::MAX),
        terms(&filter.payload),
        filter.retrying,
    )
    .fetch_all(&mut **unit)
    .await?;
    Ok(ids.into_iter().map(JobId::from_uuid).collect())
}
