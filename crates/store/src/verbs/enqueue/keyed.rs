//! Enqueue for requests with an idempotency key and jobs with a unique key.

use std::collections::{HashMap, HashSet};

use jobqueue_core::attempt::Failure;
use jobqueue_core::{JobId, OnConflict, Settlement};
use uuid::Uuid;

use super::admit::{Refused, is_rejected};
use super::rows::JobWithId;
use super::submission::{Accepted, Answer, Submission};
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;
use crate::plumbing::queue_gates::Admission;
use crate::verbs::aftermath;
use crate::verbs::idempotency::{self, Claimed};
use crate::verbs::unique::{self, KeyRequest};

/// How often a holder that moves from one place to another meanwhile is looked for again.
const MOVES: u32 = 10;

/// What to do with one job of a request, decided before the insert.
enum Plan<'a> {
    Insert(JobWithId<'a>),
    Answered(Accepted),
}

impl Store {
    /// Stores the jobs of requests of which no two share a key.
    pub(super) async fn enqueue_keyed(&self, submissions: &[&Submission]) -> Result<Vec<Answer>, StoreError> {
        // dropped at the end: after the commit, or when the transaction is undone
        let mut admission = self.queue_gates.admission();
        let mut unit = self.begin().await?;
        let wanted: Vec<_> = submissions.iter().filter_map(|s| s.idempotency).collect();
        let mut claimed = idempotency::claim::<Vec<Accepted>>(&mut unit, &wanted).await?;
        let mut answers: Vec<Option<Answer>> = submissions
            .iter()
            .map(|s| s.idempotency.and_then(|i| known_answer(claimed.remove(&i.key))))
            .collect();
        let open: Vec<&Submission> =
            submissions.iter().zip(&answers).filter(|(_, known)| known.is_none()).map(|(s, _)| *s).collect();
        let plans = self.plan(&mut unit, &open, Some(&mut admission)).await?;
        let new: Vec<JobWithId<'_>> = plans.iter().flatten().filter_map(Plan::new_job).collect();
        let scheduled = if new.is_empty() { vec![] } else { self.insert(&mut unit, &new).await? };
        let served: Vec<Vec<Accepted>> =
            plans.iter().map(|plan| plan.iter().map(|p| p.accepted(&scheduled)).collect()).collect();
        Self::keep_answers(&mut unit, &open, &served).await?;
        admission.committing();
        unit.commit().await?;
        let mut served = served.into_iter();
        for answer in answers.iter_mut().filter(|known| known.is_none()) {
            *answer = served.next().map(|jobs| Answer::Served { jobs, replayed: false });
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Stores the jobs of one request in the caller's transaction, also in queues that have no room for them. The caller has read the clock and learned the names before it began.
    pub(crate) async fn enqueue_within(
        &self,
        unit: &mut Unit,
        submission: &Submission,
    ) -> Result<Vec<Accepted>, StoreError> {
        let plans = self.plan(unit, &[submission], None).await?;
        let new: Vec<JobWithId<'_>> = plans.iter().flatten().filter_map(Plan::new_job).collect();
        let scheduled = if new.is_empty() { vec![] } else { self.insert(unit, &new).await? };
        Ok(plans.iter().flatten().map(|plan| plan.accepted(&scheduled)).collect())
    }

    /// Claims the unique keys and decides for each request. Without an admission no queue refuses a job.
    async fn plan<'a>(
        &self,
        unit: &mut Unit,
        open: &[&'a Submission],
        mut admission: Option<&mut Admission<'_>>,
    ) -> Result<Vec<Vec<Plan<'a>>>, StoreError> {
        let new: Vec<Vec<JobWithId<'a>>> =
            open.iter().map(|s| s.jobs.iter().map(|job| self.with_id(job)).collect()).collect();
        let requests: Vec<KeyRequest<'_>> = new.iter().flatten().filter_map(JobWithId::key_request).collect();
        let requests: Vec<&KeyRequest<'_>> = requests.iter().collect();
        let holders =
            if requests.is_empty() { HashMap::new() } else { unique::claim(unit, &requests).await? };
        let mut plans = Vec::with_capacity(open.len());
        for (submission, jobs) in open.iter().zip(new) {
            if submission.atomic && jobs.iter().any(|new| is_rejected(new, &holders)) {
                plans.push(
                    Self::store_none(unit, &jobs, |new| match new.other_holder(&holders) {
                        Some((holder, OnConflict::Reject)) => Accepted::Rejected(holder),
                        _ => Accepted::NotTried,
                    })
                    .await?,
                );
                continue;
            }
            let refused = match &mut admission {
                Some(admission) => self.admit(admission, (&jobs, submission.atomic), &holders),
                None => Refused::new(),
            };
            let full = |new: &JobWithId<'_>| refused.get(&new.id).map(|seconds| Accepted::full(*seconds));
            if submission.atomic && !refused.is_empty() {
                plans.push(
                    Self::store_none(unit, &jobs, |new| full(new).unwrap_or(Accepted::NotTried)).await?,
                );
                continue;
            }
            Self::free_keys(unit, jobs.iter().filter(|new| refused.contains_key(&new.id))).await?;
            let mut plan = Vec::with_capacity(jobs.len());
            for new in jobs {
                plan.push(match full(&new) {
                    Some(full) => Plan::Answered(full),
                    None => self.plan_one(unit, new, &holders).await?,
                });
            }
            plans.push(plan);
        }
        Ok(plans)
    }

    /// Stores no job of an atomic request, and frees the keys that they claimed.
    async fn store_none<'a>(
        unit: &mut Unit,
        jobs: &[JobWithId<'a>],
        answer: impl Fn(&JobWithId<'a>) -> Accepted,
    ) -> Result<Vec<Plan<'a>>, StoreError> {
        Self::free_keys(unit, jobs.iter()).await?;
        Ok(jobs.iter().map(|new| Plan::Answered(answer(new))).collect())
    }

    /// Frees the keys that jobs claimed which are not stored.
    async fn free_keys<'a>(
        unit: &mut Unit,
        jobs: impl Iterator<Item = &'a JobWithId<'a>>,
    ) -> Result<(), StoreError> {
        let keyed: Vec<Uuid> =
            jobs.filter(|new| new.job.unique.is_some()).map(|new| new.id.as_uuid()).collect();
        if keyed.is_empty() { Ok(()) } else { unique::forget(unit, &keyed).await }
    }

    async fn plan_one<'a>(
        &self,
        unit: &mut Unit,
        new: JobWithId<'a>,
        holders: &HashMap<Uuid, JobId>,
    ) -> Result<Plan<'a>, StoreError> {
        let Some((holder, on_conflict)) = new.other_holder(holders) else {
            return Ok(Plan::Insert(new));
        };
        match on_conflict {
            OnConflict::Reject => Ok(Plan::Answered(Accepted::Rejected(holder))),
            OnConflict::Return => Ok(Plan::Answered(Accepted::Existing(holder))),
            OnConflict::Replace => Self::replace(unit, new, holder).await,
        }
    }

    /// Cancels the holder and takes its key. If another submission takes the key first, its job is replaced in turn.
    async fn replace<'a>(
        unit: &mut Unit,
        new: JobWithId<'a>,
        mut holder: JobId,
    ) -> Result<Plan<'a>, StoreError> {
        let Some(request) = new.key_request() else { return Ok(Plan::Insert(new)) };
        let reason = Failure::new("replaced", format!("replaced by job {}", new.id));
        let settlement = Settlement::Cancel { failure: reason.clone() };
        let mut moves = 0;
        while holder != new.id {
            let withdrawn = Self::take_out(unit, &[holder], Some(request.digest), &reason).await?;
            if withdrawn.is_empty() && !Self::stays_final(unit, holder).await? {
                // it runs, or it was promoted or edited between the statements
                if moves == MOVES || !Self::waits_or_lost_its_key(unit, &request, holder).await? {
                    return Ok(Plan::Answered(Accepted::Existing(holder)));
                }
                moves += 1;
                Self::hold_off_edits(unit, &[holder]).await?;
                holder = unique::claim(unit, &[&request]).await?.remove(&request.digest).unwrap_or(holder);
                continue;
            }
            // the new job takes the key
            let rest = withdrawn.into_iter().map(|(id, ties)| (id, ties.without_unique_key(), &settlement));
            aftermath::carry_out(unit, rest).await?;
            if unique::take_over(unit, &request, holder).await? {
                break;
            }
            holder = unique::claim(unit, &[&request]).await?.remove(&request.digest).unwrap_or(holder);
        }
        Ok(Plan::Insert(new))
    }

    /// Whether the job waits, or does not hold the key.
    async fn waits_or_lost_its_key(
        unit: &mut Unit,
        request: &KeyRequest<'_>,
        job: JobId,
    ) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"-- store.enqueue.moved
            SELECT (SELECT c.job_id FROM jobqueue.unique_claim c WHERE c.digest = $1) IS DISTINCT FROM $2
                OR coalesce(jobqueue.status($2) IN ('blocked', 'scheduled', 'queued'), true) AS "moved!""#,
            request.digest,
            job.as_uuid(),
        )
        .fetch_one(&mut **unit)
        .await?)
    }

    /// Stores the answers under their keys. The key of a request that stored nothing is freed, so the client can change
    /// the request and send it again.
    async fn keep_answers(
        unit: &mut Unit,
        open: &[&Submission],
        served: &[Vec<Accepted>],
    ) -> Result<(), StoreError> {
        let keyed = open.iter().zip(served).filter_map(|(s, jobs)| s.idempotency.map(|i| (i.key, jobs)));
        let (kept, void): (Vec<_>, Vec<_>) = keyed.partition(|(_, jobs)| jobs.iter().any(has_job));
        if !kept.is_empty() {
            idempotency::record(unit, &kept).await?;
        }
        if !void.is_empty() {
            idempotency::forget(unit, &void.into_iter().map(|(key, _)| key).collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

fn has_job(accepted: &Accepted) -> bool {
    matches!(accepted, Accepted::Created { .. } | Accepted::Existing(_))
}

impl<'a> Plan<'a> {
    fn new_job(&self) -> Option<JobWithId<'a>> {
        match self {
            Self::Insert(new) => Some(*new),
            Self::Answered(_) => None,
        }
    }

    fn accepted(&self, scheduled: &[JobId]) -> Accepted {
        match self {
            Self::Insert(new) => new.accepted(scheduled),
            Self::Answered(accepted) => *accepted,
        }
    }
}

/// The requests of each transaction, with their places. The requests of one transaction do not share a key.
pub(super) fn rounds(submissions: &[Submission]) -> Vec<Vec<(usize, &Submission)>> {
    let mut rounds = Vec::new();
    let mut left: Vec<(usize, &Submission)> = submissions.iter().enumerate().collect();
    while !left.is_empty() {
        let mut seen = HashSet::new();
        let (round, later) =
            left.into_iter().partition(|(_, submission)| keys(submission).all(|key| seen.insert(key)));
        rounds.push(round);
        left = later;
    }
    rounds
}

/// The keys of a request. Two requests of one transaction must not share a key.
fn keys(submission: &Submission) -> impl Iterator<Item = Uuid> {
    let uniques: HashSet<Uuid> = submission
        .jobs
        .iter()
        .filter_map(|job| job.unique.as_ref().map(|unique| unique.digest(&job.queue, &job.kind)))
        .collect();
    submission.idempotency.map(|i| i.key).into_iter().chain(uniques)
}

fn known_answer(claimed: Option<Claimed<Vec<Accepted>>>) -> Option<Answer> {
    match claimed? {
        Claimed::Fresh => None,
        Claimed::Reused => Some(Answer::KeyReused),
        Claimed::Again(jobs) => Some(Answer::Served { jobs, replayed: true }),
    }
}
