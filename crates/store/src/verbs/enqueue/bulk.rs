//! Stores many plain jobs by COPY. COPY writes one WAL record for a page full of rows, INSERT writes one for each row.

use jobqueue_core::{NewJob, Start};

use super::rows::Columns;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;

/// From this number of jobs on, COPY is faster although it needs six more round trips.
const MANY: usize = 250;

const BODIES: &str = "-- store.enqueue.bodies
     COPY jobqueue.body (id, lane, kind, max_attempts, payload, retry, timeout_ms, soft_timeout_ms, metadata, traceparent)
     FROM STDIN (FORMAT binary)";
const PLACES: &str = "-- store.enqueue.places
     COPY jobqueue.ready (job_id, lane, kind, attempt) FROM STDIN (FORMAT binary)";

/// Whether a job can be stored by COPY: it is plain, can run now, and has no expiry and no tags.
pub(super) fn can_copy(job: &NewJob) -> bool {
    job.ties().is_plain() && job.start == Start::Now && job.expires_at.is_none() && job.tags.is_empty()
}

/// Whether enough of these jobs can be stored by COPY to make it faster.
pub(super) fn is_faster<'a>(jobs: impl Iterator<Item = &'a NewJob>) -> bool {
    jobs.filter(|job| can_copy(job)).nth(MANY - 1).is_some()
}

/// Stores jobs in the caller's transaction. [`can_copy`] is true for each of them.
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

/// Rows in the binary format of COPY: <https://www.postgresql.org/docs/current/sql-copy.html>.
struct Rows<const COLUMNS: usize>(Vec<u8>);

impl<const COLUMNS: usize> Rows<COLUMNS> {
    fn new() -> Self {
        // signature, no flags, no header extension
        Self(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec())
    }

    fn push(&mut self, row: [Option<&[u8]>; COLUMNS]) {
        self.0.extend(i16::try_from(COLUMNS).unwrap_or(i16::MAX).to_be_bytes());
        for value in row {
            // the conversion cannot fail: a payload is never larger than a request
            let length = value.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
            self.0.extend(length.to_be_bytes());
            self.0.extend(value.unwrap_or_default());
        }
    }

    async fn copy(mut self, unit: &mut Unit, statement: &str) -> Result<(), StoreError> {
        self.0.extend((-1_i16).to_be_bytes());
        unit.copy_in(statement, self.0).await?;
        Ok(())
    }
}
