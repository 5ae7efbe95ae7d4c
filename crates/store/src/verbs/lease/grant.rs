//! The statement that finds jobs, removes them from `ready`, and grants leases.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{JobId, WorkerId};
use uuid::Uuid;

use super::request::LeaseRequest;
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::low_water::{Choice, ScanResult, ScanStart};
use crate::readers::kind_settings::SettingsOfKinds;
use crate::readers::row::{StoredBody, to_ms};

/// A call that finds nothing scans further back for at most this duration.
const RESCAN_FOR: Duration = Duration::from_millis(250);

/// A row of the statement's result: a grant of up to 64 jobs, or a body.
struct ResultRow {
    epoch: Option<i64>,
    token: Option<Uuid>,
    job_ids: Option<Vec<Uuid>>,
    attempts: Option<Vec<i16>>,
    took_micros: Option<i64>,
    id: Option<Uuid>,
    lane: Option<i32>,
    kind: Option<i32>,
    max_attempts: Option<i16>,
    payload: Option<String>,
    retry: Option<String>,
    timeout_ms: Option<i64>,
    soft_timeout_ms: Option<i64>,
    run_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    unique_key: Option<String>,
    tags: Option<Vec<String>>,
    metadata: Option<String>,
    traceparent: Option<String>,
    announced: Option<bool>,
    overdue: Option<bool>,
    now: Option<DateTime<Utc>>,
    settings: Option<String>,
}

/// Jobs that were leased from one lane for one share.
pub(super) struct Grant {
    pub(super) epoch: i64,
    pub(super) token: Uuid,
    lane: i32,
    pub(super) job_ids: Vec<Uuid>,
    attempts: Vec<i16>,
    /// Time from the start of the statement until the jobs were picked.
    took: Duration,
    /// The database's time of the lease.
    now: DateTime<Utc>,
}

/// The grants, in the order of their jobs, and the bodies that were found.
#[derive(Default)]
pub(super) struct GrantsAndBodies {
    pub(super) grants: Vec<Grant>,
    pub(super) bodies: HashMap<Uuid, StoredBody>,
    pub(super) settings: SettingsOfKinds,
}

impl ResultRow {
    fn grant(&mut self) -> Option<Grant> {
        Some(Grant {
            epoch: self.epoch?,
            token: self.token?,
            lane: self.lane?,
            job_ids: self.job_ids.take()?,
            attempts: self.attempts.take()?,
            took: Duration::from_micros(u64::try_from(self.took_micros?).unwrap_or(0)),
            now: self.now?,
        })
    }

    fn body(self) -> Option<StoredBody> {
        Some(StoredBody {
            id: self.id?,
            lane: self.lane?,
            kind: self.kind?,
            max_attempts: self.max_attempts?,
            payload: self.payload?,
            retry: self.retry,
            timeout_ms: self.timeout_ms,
            soft_timeout_ms: self.soft_timeout_ms,
            run_at: self.run_at,
            expires_at: self.expires_at,
            unique_key: self.unique_key,
            tags: self.tags,
            metadata: self.metadata,
            traceparent: self.traceparent,
            announced: self.announced?,
            overdue: self.overdue?,
            now: self.now?,
        })
    }
}

impl GrantsAndBodies {
    fn of(rows: Vec<ResultRow>) -> Self {
        let mut granted = Self {
            grants: Vec::new(),
            bodies: HashMap::with_capacity(rows.len()),
            // every grant has the same settings
            settings: SettingsOfKinds::of(rows.iter().find_map(|row| row.settings.as_deref())),
        };
        for mut row in rows {
            if let Some(grant) = row.grant() {
                granted.grants.push(grant);
            } else if let Some(body) = row.body() {
                granted.bodies.insert(body.id, body);
            } else {
                tracing::error!("a lease was answered with a row that is neither a grant nor a body");
            }
        }
        granted.grants.sort_unstable_by_key(|grant| grant.epoch);
        granted
    }
}

impl Grant {
    /// Id and attempt of each job, in order.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (Uuid, i16)> {
        self.job_ids.iter().copied().zip(self.attempts.iter().copied())
    }
}

impl Store {
    /// Removes jobs from their lanes and inserts the leases.
    pub(super) async fn grant(
        &self,
        unit: &mut Unit,
        request: &LeaseRequest,
        holders: &[Option<WorkerId>],
    ) -> Result<GrantsAndBodies, StoreError> {
        let kinds = if request.kinds.is_empty() {
            None
        } else {
            Some(self.kind_numbers(unit, &request.kinds).await?)
        };
        if kinds.as_ref().is_some_and(Vec::is_empty) {
            // no job of these kinds was ever submitted
            return Ok(GrantsAndBodies::default());
        }
        // A queue that is named twice would be scanned twice, and our own row locks would not stop us.
        let mut seen = HashSet::new();
        let queues: Vec<String> =
            request.queues.iter().filter(|q| seen.insert(*q)).map(ToString::to_string).collect();
        let choice = Choice::new(&queues, kinds);
        let (began, mut start) = (Instant::now(), self.low_water.next_scan(&choice));
        loop {
            let granted = self.grant_from(unit, (request, holders), (&queues, &choice), start).await?;
            if !granted.grants.is_empty() || began.elapsed() > RESCAN_FOR {
                return Ok(granted);
            }
            match self.low_water.next_rescan(&choice, start) {
                Some(again) => start = again,
                None => return Ok(granted),
            }
        }
    }

    async fn grant_from(
        &self,
        unit: &mut Unit,
        (request, holders): (&LeaseRequest, &[Option<WorkerId>]),
        (queues, choice): (&[String], &Choice),
        start: ScanStart,
    ) -> Result<GrantsAndBodies, StoreError> {
        let most = request.limit.saturating_mul(holders.len()).min(MAX_BATCH);
        let holders: Vec<Option<Uuid>> = holders.iter().map(|holder| holder.map(WorkerId::as_uuid)).collect();
        let began = Instant::now();
        let ranges = self.low_water.ranges(choice, start);
        let lanes: Vec<i32> = ranges.iter().map(|range| range.lane).collect();
        let afters: Vec<Uuid> = ranges.iter().map(|range| range.after).collect();
        let uptos: Vec<Uuid> = ranges.iter().map(|range| range.upto).collect();
        let (oldest, youngest) = self.low_water.likely_ids(choice);
        let rows = sqlx::query_file_as!(
            ResultRow,
            "src/verbs/lease.sql",
            queues,
            i64::try_from(most).unwrap_or(1),
            choice.kinds(),
            &lanes,
            &afters,
            &holders as _,
            to_ms(request.duration),
            i64::try_from(request.limit.max(1)).unwrap_or(i64::MAX),
            &uptos,
            oldest,
            youngest,
        )
        .fetch_all(&mut **unit)
        .await
        .inspect_err(|_| self.low_water.scan_failed(choice, start))?;
        let granted = GrantsAndBodies::of(rows);
        let jobs: Vec<(i32, JobId)> = granted
            .grants
            .iter()
            .flat_map(|grant| grant.job_ids.iter().map(|job| (grant.lane, JobId::from_uuid(*job))))
            .collect();
        let result = ScanResult {
            start,
            began,
            began_at: granted.grants.first().map(|grant| grant.now),
            took: granted.grants.first().map_or_else(|| began.elapsed(), |grant| grant.took),
            full: jobs.len() >= most,
        };
        self.low_water.scan_ended(choice, &result, jobs.into_iter());
        Ok(granted)
    }
}
