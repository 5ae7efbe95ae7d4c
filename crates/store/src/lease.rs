//! lease: takes runnable jobs for a worker. One statement finds, removes, grants and brings the bodies; those of jobs that are older
//! than usual, or younger, come by a second one.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jobqueue_core::limits::MAX_BATCH;
use jobqueue_core::{
    Failure, Job, JobId, KindName, Lease, Outcome, QueueName, Settlement, Status, WorkerId, settle,
};
use uuid::Uuid;

use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::low_water::{Choice, Look, Looked};
use crate::row::{BodyRow, StoredBody, corrupt, to_ms};
use crate::settle::AttemptEnd;

/// A call that finds nothing goes on looking further back for so long.
const LOOK_ON: Duration = Duration::from_millis(250);

/// A job whose body could not be read goes back for so long, and its attempt with it.
const UNREAD: Duration = Duration::from_secs(10);

/// What a worker wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseRequest {
    /// The registered worker that will hold the lease; `None` for a remote one, whose lease lives by its time alone.
    pub worker_id: Option<WorkerId>,
    /// Queues in the order in which they are emptied.
    pub queues: Vec<QueueName>,
    /// Only these kinds; empty means all.
    pub kinds: Vec<KindName>,
    /// Most jobs, 1 to 1000.
    pub limit: usize,
    /// How long the lease lasts unless it is renewed.
    pub duration: Duration,
}

/// A job and the right to run it.
#[derive(Debug)]
pub struct Leased {
    /// The job, at its new attempt.
    pub job: Job,
    /// The right; whoever settles needs it.
    pub lease: Lease,
    /// How long it could have run before it was leased, counted from `run_at` if it had one; for a first attempt.
    pub waited: Option<Duration>,
}

/// A row of the answer: a grant of up to 64 jobs, or a body.
struct Answer {
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
    overdue: Option<bool>,
    now: Option<DateTime<Utc>>,
}

/// Jobs that were taken out of one lane for one share.
struct Grant {
    epoch: i64,
    token: Uuid,
    lane: i32,
    job_ids: Vec<Uuid>,
    attempts: Vec<i16>,
    /// From the start of the statement until all were picked.
    took: Duration,
    /// When that was.
    now: DateTime<Utc>,
}

/// The grants in the order of their jobs, and the bodies that there are.
#[derive(Default)]
struct Granted {
    grants: Vec<Grant>,
    bodies: HashMap<Uuid, StoredBody>,
}

impl Answer {
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
            overdue: self.overdue?,
            now: self.now?,
        })
    }
}

impl Granted {
    fn of(rows: Vec<Answer>) -> Self {
        let mut granted = Self { grants: Vec::new(), bodies: HashMap::with_capacity(rows.len()) };
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
    /// Job and attempt of each, in order.
    fn jobs(&self) -> impl Iterator<Item = (Uuid, i16)> {
        self.job_ids.iter().copied().zip(self.attempts.iter().copied())
    }
}

/// What a look found: jobs to run, a share for each who asked, and the ends of those that must not start.
#[derive(Default)]
pub(crate) struct Found {
    shares: Vec<Vec<Leased>>,
    stillborn: Vec<AttemptEnd>,
}

impl Store {
    /// Leases up to `limit` jobs: by queue in the order given, inside a queue by priority, inside a priority oldest first.
    /// A busy process may pass by a job that was put back, for a while (`low_water`).
    /// Jobs that expired while they waited are cancelled on the way and not returned.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Leased>, StoreError> {
        Ok(self.lease_shares(request, 1).await?.pop().unwrap_or_default())
    }

    /// The same for `shares` workers who ask for the same, each with leases of its own: a share is as large as the request says, the
    /// last one maybe smaller, and those for whom there is nothing are left out. All together at most 1000 jobs.
    pub async fn lease_shares(
        &self,
        request: &LeaseRequest,
        shares: usize,
    ) -> Result<Vec<Vec<Leased>>, StoreError> {
        let mut unit = self.one().await?;
        let found = self.lease_in(&mut unit, request, shares).await?;
        unit.commit().await?;
        Ok(self.startable(found).await)
    }

    /// The same in the caller's unit of work, by one statement and, for names that are new to this process, two more, and one for bodies
    /// that it left out. What it finds is held when that is committed.
    pub(crate) async fn lease_in(
        &self,
        unit: &mut Unit,
        request: &LeaseRequest,
        shares: usize,
    ) -> Result<Found, StoreError> {
        let granted = self.grant(unit, request, shares).await?;
        self.read(unit, granted, request.limit).await
    }

    /// Ends what must not start, after the commit that leased it. The rest must not suffer if that fails: nobody renews these
    /// leases for their own sake, so the jobs come back.
    pub(crate) async fn startable(&self, found: Found) -> Vec<Vec<Leased>> {
        if !found.stillborn.is_empty()
            && let Err(error) = self.settle_unbegun(found.stillborn).await
        {
            tracing::warn!(error.class = error.class(), "jobs that must not start stay leased for a while");
        }
        found.shares
    }

    /// Takes jobs out of their lanes and writes down who holds them.
    async fn grant(
        &self,
        unit: &mut Unit,
        request: &LeaseRequest,
        shares: usize,
    ) -> Result<Granted, StoreError> {
        let kinds =
            if request.kinds.is_empty() { None } else { Some(self.kinds(unit, &request.kinds).await?) };
        if kinds.as_ref().is_some_and(Vec::is_empty) {
            // nobody has submitted a job of these kinds yet
            return Ok(Granted::default());
        }
        // a queue named twice would be walked twice, and our own locks do not keep us from a row
        let mut seen = HashSet::new();
        let queues: Vec<String> =
            request.queues.iter().filter(|q| seen.insert(*q)).map(ToString::to_string).collect();
        let choice = Choice::new(&queues, kinds);
        let (began, mut look) = (Instant::now(), self.low_water.look(&choice));
        loop {
            let granted = self.grant_from(unit, (request, shares), (&queues, &choice), look).await?;
            if !granted.grants.is_empty() || began.elapsed() > LOOK_ON {
                return Ok(granted);
            }
            match self.low_water.look_again(&choice, look) {
                Some(again) => look = again,
                None => return Ok(granted),
            }
        }
    }

    async fn grant_from(
        &self,
        unit: &mut Unit,
        (request, shares): (&LeaseRequest, usize),
        (queues, choice): (&[String], &Choice),
        look: Look,
    ) -> Result<Granted, StoreError> {
        let most = request.limit.saturating_mul(shares).min(MAX_BATCH);
        let began = Instant::now();
        let stretches = self.low_water.stretches(choice, look);
        let lanes: Vec<i32> = stretches.iter().map(|stretch| stretch.lane).collect();
        let afters: Vec<Uuid> = stretches.iter().map(|stretch| stretch.after).collect();
        let uptos: Vec<Uuid> = stretches.iter().map(|stretch| stretch.upto).collect();
        let (oldest, youngest) = self.low_water.around(choice);
        let rows = sqlx::query_file_as!(
            Answer,
            "src/lease.sql",
            queues,
            i64::try_from(most).unwrap_or(1),
            choice.kinds(),
            &lanes,
            &afters,
            request.worker_id.map(WorkerId::as_uuid),
            to_ms(request.duration),
            i64::try_from(request.limit.max(1)).unwrap_or(i64::MAX),
            &uptos,
            oldest,
            youngest,
        )
        .fetch_all(&mut **unit)
        .await
        .inspect_err(|_| self.low_water.gave_up(choice, look))?;
        let granted = Granted::of(rows);
        let jobs: Vec<(i32, JobId)> = granted
            .grants
            .iter()
            .flat_map(|grant| grant.job_ids.iter().map(|job| (grant.lane, JobId::from_uuid(*job))))
            .collect();
        let looked = Looked {
            look,
            began,
            seen: granted.grants.first().map(|grant| grant.now),
            walk: granted.grants.first().map_or_else(|| began.elapsed(), |grant| grant.took),
            full: jobs.len() >= most,
        };
        self.low_water.looked(choice, looked, jobs.into_iter());
        Ok(granted)
    }

    /// Rows become jobs. Those that must not start expired while they waited, or are unreadable because somebody wrote to the
    /// tables by hand: one bad row must not stop a queue.
    async fn read(&self, unit: &mut Unit, granted: Granted, share: usize) -> Result<Found, StoreError> {
        let Granted { grants, mut bodies } = granted;
        let names = self.names(unit, bodies.values().map(|body| (body.lane, body.kind))).await?;
        // those of days that the look left out
        let missing = grants.iter().flat_map(|grant| &grant.job_ids).filter(|id| !bodies.contains_key(*id));
        let missing: Vec<Uuid> = missing.copied().collect();
        let mut others = self.other_bodies(unit, &missing).await?;
        let mut found = Found::default();
        let mut nth = 0;
        for grant in grants {
            for (place, (job_id, attempt)) in grant.jobs().enumerate() {
                if nth % share.max(1) == 0 {
                    found.shares.push(Vec::new());
                }
                nth += 1;
                let lease = right_to(grant.epoch, grant.token, job_id, place, attempt)?;
                let body = bodies.remove(&job_id).and_then(|body| body.named(&names));
                let body = body.or_else(|| others.as_mut()?.remove(&job_id));
                if body.is_some() || others.is_some() {
                    found.take(lease, body, attempt);
                } else {
                    let settlement = Settlement::Snooze { delay: UNREAD };
                    found.stillborn.push(AttemptEnd { lease, settlement, ran: None, holds_key: false });
                }
            }
        }
        Ok(found)
    }
}

impl Store {
    /// Bodies by a second statement; `None` if that fails where the lease is committed by now, for the other jobs must not suffer.
    async fn other_bodies(
        &self,
        unit: &mut Unit,
        missing: &[Uuid],
    ) -> Result<Option<HashMap<Uuid, BodyRow>>, StoreError> {
        if missing.is_empty() {
            return Ok(Some(HashMap::new()));
        }
        match (self.body_rows(unit, missing).await, unit) {
            (Ok(bodies), _) => Ok(Some(bodies)),
            (Err(error), Unit::Transaction(_)) => Err(error),
            (Err(error), Unit::Bare(_)) => {
                tracing::warn!(
                    error.class = error.class(),
                    jobs = missing.len(),
                    "leased jobs cannot be read; they come back"
                );
                Ok(None)
            }
        }
    }
}

impl Found {
    /// One job more for the last share, unless it must not start.
    fn take(&mut self, lease: Lease, body: Option<BodyRow>, attempt: i16) {
        let holds_key = body.as_ref().is_some_and(|body| body.stored.unique_key.is_some());
        let overdue = body.as_ref().is_some_and(|body| body.stored.overdue);
        let waited = body.as_ref().filter(|_| attempt == 1).and_then(BodyRow::waited);
        let settlement = match readable(lease.job_id(), body, attempt) {
            Ok(job) if !overdue => {
                if let Some(share) = self.shares.last_mut() {
                    share.push(Leased { job, lease, waited });
                }
                return;
            }
            Ok(job) => settle(&job, Outcome::Expired, 0.0),
            Err(unreadable) => unreadable,
        };
        self.stillborn.push(AttemptEnd { lease, settlement, ran: None, holds_key });
    }
}

/// The right to the job at a place of a grant.
pub(crate) fn right_to(
    epoch: i64,
    token: Uuid,
    id: Uuid,
    place: usize,
    attempt: i16,
) -> Result<Lease, StoreError> {
    let job_id = JobId::from_uuid(id);
    let ordinal = u8::try_from(place).map_err(|e| corrupt(job_id, "lease.place", e))?;
    // for readers alone; a number that makes no sense must not keep the job from becoming a dead letter
    let attempt = u16::try_from(attempt).unwrap_or(0);
    Lease::grant(epoch, token, job_id, ordinal, attempt)
        .ok_or_else(|| corrupt(job_id, "lease.place", Status::Running))
}

/// The job, or its end as a dead letter if its body makes no sense.
pub(crate) fn readable(job_id: JobId, body: Option<BodyRow>, attempt: i16) -> Result<Job, Settlement> {
    let job =
        body.ok_or_else(|| corrupt(job_id, "body", "there is none")).and_then(|body| body.into_job(attempt));
    job.map_err(|error| {
        tracing::error!(job_id = %job_id, %error, "a job cannot be read: it becomes a dead letter");
        Settlement::Fail { failure: Failure::new("corrupt", error.to_string()) }
    })
}
