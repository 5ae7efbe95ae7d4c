//! The longer road of enqueue, for requests with an idempotency key and jobs with a unique key.

use std::collections::{HashMap, HashSet};

use jobqueue_core::attempt::Failure;
use jobqueue_core::{JobId, NewJob, OnConflict};
use uuid::Uuid;

use super::{Accepted, Answer, Fresh, Submission};
use crate::again::on_collision;
use crate::connect::{Store, Unit};
use crate::error::StoreError;
use crate::idempotency::{self, Claimed};
use crate::unique::{self, Wish};

/// What happens to one job of a request, decided before anything is inserted.
enum Plan<'a> {
    Insert(Fresh<'a>),
    Answered(Accepted),
}

impl Store {
    /// Like [`Store::enqueue`]. Requests that share a key with an earlier one of the same call go in a later transaction, so that
    /// they find what the earlier one left.
    pub(super) async fn enqueue_keyed(&self, submissions: &[Submission]) -> Result<Vec<Answer>, StoreError> {
        let mut answers: Vec<Option<Answer>> = vec![None; submissions.len()];
        while answers.iter().any(Option::is_none) {
            let mut seen = HashSet::new();
            let round: Vec<usize> = (0..submissions.len())
                .filter(|at| answers[*at].is_none() && keys(&submissions[*at]).all(|key| seen.insert(key)))
                .collect();
            let served = self.round(&round.iter().map(|at| &submissions[*at]).collect::<Vec<_>>()).await?;
            for (at, answer) in round.into_iter().zip(served) {
                answers[at] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    async fn round(&self, submissions: &[&Submission]) -> Result<Vec<Answer>, StoreError> {
        on_collision(|| self.try_round(submissions)).await
    }

    async fn try_round(&self, submissions: &[&Submission]) -> Result<Vec<Answer>, StoreError> {
        let mut unit = self.begin().await?;
        let wanted: Vec<_> = submissions.iter().filter_map(|s| s.idempotency).collect();
        let mut claimed = idempotency::claim::<Vec<Accepted>>(&mut unit, &wanted).await?;
        let mut answers: Vec<Option<Answer>> = submissions
            .iter()
            .map(|s| s.idempotency.and_then(|i| known_answer(claimed.remove(&i.key))))
            .collect();
        let open: Vec<&Submission> =
            submissions.iter().zip(&answers).filter(|(_, known)| known.is_none()).map(|(s, _)| *s).collect();
        let plans = self.plan(&mut unit, &open).await?;
        let fresh: Vec<Fresh<'_>> = plans.iter().flatten().filter_map(Plan::fresh).collect();
        let later = if fresh.is_empty() { vec![] } else { self.insert(&mut unit, &fresh).await? };
        let served: Vec<Vec<Accepted>> =
            plans.iter().map(|plan| plan.iter().map(|p| p.accepted(&later)).collect()).collect();
        Self::keep_answers(&mut unit, &open, &served).await?;
        unit.commit().await?;
        let mut served = served.into_iter();
        for answer in answers.iter_mut().filter(|known| known.is_none()) {
            *answer = served.next().map(|jobs| Answer::Served { jobs, replayed: false });
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Claims unique keys and decides, request by request.
    async fn plan<'a>(
        &self,
        unit: &mut Unit,
        open: &[&'a Submission],
    ) -> Result<Vec<Vec<Plan<'a>>>, StoreError> {
        let fresh: Vec<Vec<Fresh<'a>>> =
            open.iter().map(|s| s.jobs.iter().map(|job| self.fresh(job)).collect()).collect();
        let wishes: Vec<Wish<'_>> = fresh.iter().flatten().filter_map(Fresh::wish).collect();
        let wishes: Vec<&Wish<'_>> = wishes.iter().collect();
        let holders = if wishes.is_empty() { HashMap::new() } else { unique::claim(unit, &wishes).await? };
        let mut plans = Vec::with_capacity(open.len());
        for (submission, jobs) in open.iter().zip(fresh) {
            let refused = |fresh: &Fresh<'_>| {
                fresh
                    .foreign_holder(&holders)
                    .is_some_and(|(_, on_conflict)| on_conflict == OnConflict::Reject)
            };
            if submission.atomic && jobs.iter().any(refused) {
                unique::forget(unit, &jobs.iter().map(|f| f.id.as_uuid()).collect::<Vec<_>>()).await?;
                let answer = |fresh: &Fresh<'_>| match fresh.foreign_holder(&holders) {
                    Some((holder, OnConflict::Reject)) => Plan::Answered(Accepted::Rejected(holder)),
                    _ => Plan::Answered(Accepted::NotTried),
                };
                plans.push(jobs.iter().map(answer).collect());
                continue;
            }
            let mut plan = Vec::with_capacity(jobs.len());
            for fresh in jobs {
                plan.push(self.plan_one(unit, fresh, &holders).await?);
            }
            plans.push(plan);
        }
        Ok(plans)
    }

    async fn plan_one<'a>(
        &self,
        unit: &mut Unit,
        fresh: Fresh<'a>,
        holders: &HashMap<Uuid, JobId>,
    ) -> Result<Plan<'a>, StoreError> {
        let Some((holder, on_conflict)) = fresh.foreign_holder(holders) else {
            return Ok(Plan::Insert(fresh));
        };
        match on_conflict {
            OnConflict::Reject => Ok(Plan::Answered(Accepted::Rejected(holder))),
            OnConflict::Return => Ok(Plan::Answered(Accepted::Existing(holder))),
            OnConflict::Replace => Self::replace(unit, fresh, holder).await,
        }
    }

    /// Takes the place of the holder, and of whoever else takes it at the same moment.
    async fn replace<'a>(
        unit: &mut Unit,
        fresh: Fresh<'a>,
        mut holder: JobId,
    ) -> Result<Plan<'a>, StoreError> {
        let Some(wish) = fresh.wish() else { return Ok(Plan::Insert(fresh)) };
        let reason = Failure::new("replaced", format!("replaced by job {}", fresh.id));
        while holder != fresh.id {
            let gone = Self::withdraw(unit, &[holder], &reason, false).await?.contains(&holder)
                || Self::stays_final(unit, holder).await?;
            if !gone {
                return Ok(Plan::Answered(Accepted::Existing(holder)));
            }
            if unique::take_over(unit, &wish, holder).await? {
                break;
            }
            holder = unique::claim(unit, &[&wish]).await?.remove(&wish.digest).unwrap_or(holder);
        }
        Ok(Plan::Insert(fresh))
    }

    /// Remembers answers under their keys. A request of which nothing was stored gives its key free: it may be mended and sent again.
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

impl<'a> Fresh<'a> {
    fn wish(&self) -> Option<Wish<'a>> {
        let job: &'a NewJob = self.job;
        let unique = job.unique.as_ref()?;
        Some(Wish { digest: unique.digest(&job.queue, &job.kind), job_id: self.id, unique })
    }

    /// Another job that holds this one's key, and what this one wants done about it.
    fn foreign_holder(&self, holders: &HashMap<Uuid, JobId>) -> Option<(JobId, OnConflict)> {
        let wish = self.wish()?;
        let holder = holders.get(&wish.digest).copied().filter(|holder| *holder != self.id)?;
        Some((holder, wish.unique.on_conflict))
    }
}

impl<'a> Plan<'a> {
    fn fresh(&self) -> Option<Fresh<'a>> {
        match self {
            Self::Insert(fresh) => Some(*fresh),
            Self::Answered(_) => None,
        }
    }

    fn accepted(&self, later: &[JobId]) -> Accepted {
        match self {
            Self::Insert(fresh) => fresh.accepted(later),
            Self::Answered(accepted) => *accepted,
        }
    }
}

/// The keys that two requests of one transaction must not share.
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
