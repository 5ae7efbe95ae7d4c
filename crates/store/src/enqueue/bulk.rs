//! Many usual jobs at once go by COPY: it writes a page full of rows as one record of the WAL, an INSERT one for each row.

use jobqueue_core::{NewJob, Start};

use super::Columns;
use crate::connect::Unit;
use crate::error::StoreError;

/// From so many jobs on it is worth six round trips more.
const MANY: usize = 250;

const BODIES: &str = "-- store.enqueue.bodies
     COPY jobqueue.body (id, lane, kind, max_attempts, payload, retry, timeout_ms, soft_timeout_ms, metadata, traceparent)
     FROM STDIN (FORMAT binary)";
const PLACES: &str = "-- store.enqueue.places
     COPY jobqueue.ready (job_id, lane, kind, attempt) FROM STDIN (FORMAT binary)";

/// Whether a job can run at once, and has no column that is an array.
pub(super) fn takes(job: &NewJob) -> bool {
    job.start == Start::Now && job.expires_at.is_none() && job.unique.is_none() && job.tags.is_empty()
}

/// Whether so many of these can be taken that it is worth it.
pub(super) fn pays<'a>(jobs: impl Iterator<Item = &'a NewJob>) -> bool {
    jobs.filter(|job| takes(job)).nth(MANY - 1).is_some()
}

/// Stores jobs of which each can be taken, in the caller's transaction.
pub(super) async fn copy(unit: &mut Unit, jobs: &Columns<'_>) -> Result<(), StoreError> {
    let (mut bodies, mut places) = (Rows::new(), Rows::new());
    for (at, id) in jobs.ids.iter().enumerate() {
        let (lane, kind) = (jobs.lanes[at].to_be_bytes(), jobs.kinds[at].to_be_bytes());
        bodies.push([
            Some(id.as_bytes()),
            Some(&lane),
            Some(&kind),
            Some(&jobs.max_attempts[at].to_be_bytes()),
            Some(jobs.payloads[at].as_bytes()),
            jobs.retries[at].as_deref().map(str::as_bytes),
            jobs.timeouts[at].map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice),
            jobs.soft_timeouts[at].map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice),
            jobs.metadata[at].map(str::as_bytes),
            jobs.traceparents[at].map(str::as_bytes),
        ]);
        places.push([Some(id.as_bytes()), Some(&lane), Some(&kind), Some(&0_i16.to_be_bytes())]);
    }
    bodies.copy(unit, BODIES).await?;
    places.copy(unit, PLACES).await
}

/// Rows of so many columns in the binary format: <https://www.postgresql.org/docs/current/sql-copy.html>.
struct Rows<const COLUMNS: usize>(Vec<u8>);

impl<const COLUMNS: usize> Rows<COLUMNS> {
    fn new() -> Self {
        // a signature, no flags, no extension
        Self(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec())
    }

    fn push(&mut self, row: [Option<&[u8]>; COLUMNS]) {
        self.0.extend(i16::try_from(COLUMNS).unwrap_or(i16::MAX).to_be_bytes());
        for value in row {
            // no payload is longer than a request
            let length = value.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
            self.0.extend(length.to_be_bytes());
            self.0.extend(value.unwrap_or_default());
        }
    }

    async fn copy(mut self, unit: &mut Unit, statement: &str) -> Result<(), StoreError> {
        self.0.extend((-1_i16).to_be_bytes());
        let mut copy = unit.copy_in_raw(statement).await?;
        copy.send(self.0).await?;
        copy.finish().await?;
        Ok(())
    }
}
