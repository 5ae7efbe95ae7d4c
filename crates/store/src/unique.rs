//! Unique keys: one row holds a key for a job while the job is in a status that keeps it. Only jobs with a key come here.

use std::collections::HashMap;

use jobqueue_core::unique::Unique;
use jobqueue_core::{JobId, Status};
use uuid::Uuid;

use crate::connect::Unit;
use crate::error::StoreError;

/// Bits of the final statuses in which a holder keeps its key.
pub(crate) fn kept_bits(unique: &Unique) -> i16 {
    unique.also_final.iter().map(|status| final_bit(*status)).fold(0, |bits, bit| bits | bit)
}

/// The bit of a final status in `unique_claim.kept`; 0 for a live one.
pub(crate) fn final_bit(status: Status) -> i16 {
    match status {
        Status::Completed => 1,
        Status::Failed => 2,
        Status::Cancelled => 4,
        _ => 0,
    }
}

/// A wish of a new job.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) digest: Uuid,
    pub(crate) job_id: JobId,
    pub(crate) unique: &'a Unique,
}

/// Claims what is free, in one order everywhere. Answers who holds each key of `wishes` afterwards.
pub(crate) async fn claim(unit: &mut Unit, wishes: &[&Wish<'_>]) -> Result<HashMap<Uuid, JobId>, StoreError> {
    let mut sorted: Vec<&Wish<'_>> = wishes.to_vec();
    sorted.sort_by_key(|wish| wish.digest);
    let mut holders: HashMap<Uuid, JobId> = HashMap::new();
    // a key can be given free between the failed insert and the look at its holder: then insert again
    while holders.len() < distinct(&sorted) {
        let open: Vec<&&Wish<'_>> =
            sorted.iter().filter(|wish| !holders.contains_key(&wish.digest)).collect();
        let digests: Vec<Uuid> = open.iter().map(|wish| wish.digest).collect();
        let jobs: Vec<Uuid> = open.iter().map(|wish| wish.job_id.as_uuid()).collect();
        let kept: Vec<i16> = open.iter().map(|wish| kept_bits(wish.unique)).collect();
        sqlx::query!(
            "-- store.unique.claim
            INSERT INTO jobqueue.unique_claim (digest, job_id, kept)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[]) ON CONFLICT DO NOTHING",
            &digests,
            &jobs,
            &kept,
        )
        .execute(&mut **unit)
        .await?;
        let rows = sqlx::query!(
            "-- store.unique.holders
            SELECT digest, job_id FROM jobqueue.unique_claim WHERE digest = ANY ($1)",
            &digests,
        )
        .fetch_all(&mut **unit)
        .await?;
        holders.extend(rows.into_iter().map(|row| (row.digest, JobId::from_uuid(row.job_id))));
    }
    Ok(holders)
}

fn distinct(sorted: &[&Wish<'_>]) -> usize {
    sorted.chunk_by(|a, b| a.digest == b.digest).count()
}

/// Hands a key from its holder to the wish's job; false if the holder has lost it meanwhile.
pub(crate) async fn take_over(unit: &mut Unit, wish: &Wish<'_>, holder: JobId) -> Result<bool, StoreError> {
    let taken = sqlx::query!(
        "-- store.unique.take_over
        UPDATE jobqueue.unique_claim SET job_id = $2, kept = $3 WHERE digest = $1 AND job_id = $4",
        wish.digest,
        wish.job_id.as_uuid(),
        kept_bits(wish.unique),
        holder.as_uuid(),
    )
    .execute(&mut **unit)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Gives free what these jobs hold, whatever it is kept for.
pub(crate) async fn forget(unit: &mut Unit, jobs: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM jobqueue.unique_claim WHERE job_id = ANY ($1)", jobs)
        .execute(&mut **unit)
        .await?;
    Ok(())
}

/// Gives free what these jobs hold and do not keep in the final status that they reached.
pub(crate) async fn free(unit: &mut Unit, ended: &[(JobId, Status)]) -> Result<(), StoreError> {
    for status in [Status::Completed, Status::Failed, Status::Cancelled] {
        let jobs: Vec<Uuid> =
            ended.iter().filter(|(_, ended)| *ended == status).map(|(id, _)| id.as_uuid()).collect();
        if !jobs.is_empty() {
            sqlx::query!(
                "-- store.unique.free
                DELETE FROM jobqueue.unique_claim WHERE job_id = ANY ($1) AND kept & $2 = 0",
                &jobs,
                final_bit(status),
            )
            .execute(&mut **unit)
            .await?;
        }
    }
    Ok(())
}
