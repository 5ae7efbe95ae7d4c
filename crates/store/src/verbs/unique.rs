//! Unique keys. A row of `unique_claim` means that a job holds a key. Only jobs with a unique key use this
//! module.

use std::collections::HashMap;

use jobqueue_core::unique::Unique;
use jobqueue_core::{JobId, Status};
use uuid::Uuid;

use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;

/// Bits of the final statuses in which a holder keeps its key.
pub(crate) fn kept_bits(unique: &Unique) -> i16 {
    unique.also_final.iter().map(|status| final_bit(*status)).fold(0, |bits, bit| bits | bit)
}

/// The bit of a final status in `unique_claim.kept`; 0 for other statuses.
pub(crate) fn final_bit(status: Status) -> i16 {
    match status {
        Status::Completed => 1,
        Status::Failed => 2,
        Status::Cancelled => 4,
        _ => 0,
    }
}

/// The unique key that a new job asks for.
#[derive(Debug)]
pub(crate) struct KeyRequest<'a> {
    pub(crate) digest: Uuid,
    pub(crate) job_id: JobId,
    pub(crate) unique: &'a Unique,
}

/// Claims the free keys, in the order that all transactions use. Returns the holder of each key of `requests`
/// afterwards.
pub(crate) async fn claim(
    unit: &mut Unit,
    requests: &[&KeyRequest<'_>],
) -> Result<HashMap<Uuid, JobId>, StoreError> {
    let mut sorted: Vec<&KeyRequest<'_>> = requests.to_vec();
    sorted.sort_by_key(|request| request.digest);
    let mut holders: HashMap<Uuid, JobId> = HashMap::new();
    // a key can be freed between the failed insert and the read of its holder: then insert again
    while holders.len() < distinct(&sorted) {
        let open: Vec<&&KeyRequest<'_>> =
            sorted.iter().filter(|request| !holders.contains_key(&request.digest)).collect();
        let digests: Vec<Uuid> = open.iter().map(|request| request.digest).collect();
        let jobs: Vec<Uuid> = open.iter().map(|request| request.job_id.as_uuid()).collect();
        let kept: Vec<i16> = open.iter().map(|request| kept_bits(request.unique)).collect();
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

fn distinct(sorted: &[&KeyRequest<'_>]) -> usize {
    sorted.chunk_by(|a, b| a.digest == b.digest).count()
}

/// Moves a key from its holder to the new job. False if the holder has lost it meanwhile.
pub(crate) async fn take_over(
    unit: &mut Unit,
    request: &KeyRequest<'_>,
    holder: JobId,
) -> Result<bool, StoreError> {
    let taken = sqlx::query!(
        "-- store.unique.take_over
        UPDATE jobqueue.unique_claim SET job_id = $2, kept = $3 WHERE digest = $1 AND job_id = $4",
        request.digest,
        request.job_id.as_uuid(),
        kept_bits(request.unique),
        holder.as_uuid(),
    )
    .execute(&mut **unit)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Frees all keys of these jobs.
pub(crate) async fn forget(unit: &mut Unit, jobs: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM jobqueue.unique_claim WHERE job_id = ANY ($1)", jobs)
        .execute(&mut **unit)
        .await?;
    Ok(())
}

/// Frees the keys of these jobs, unless they keep them in the final status that they reached.
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
