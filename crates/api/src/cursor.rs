//! Cursors of a list. Owns their format: a job id with a signature, so that a forged cursor is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jobqueue_core::JobId;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::problem::{Problem, ProblemKind};

/// Bytes of the signature.
const SIGNATURE_BYTES: usize = 16;

/// Creates and reads cursors. Replicas with the same root key accept each other's cursors.
#[derive(Clone, Debug)]
pub(crate) struct Cursors([u8; 32]);

impl Cursors {
    /// Cursors that are signed with a secret.
    pub(crate) fn new(secret: &str) -> Self {
        Self(Sha256::new().chain_update(b"jobqueue.cursor\0").chain_update(secret).finalize().into())
    }

    /// The cursor of the page that starts after this job.
    pub(crate) fn seal(&self, after: JobId) -> String {
        let id = *after.as_uuid().as_bytes();
        let mut wire = id.to_vec();
        wire.extend(self.signature(id));
        URL_SAFE_NO_PAD.encode(wire)
    }

    /// The job after which the page starts.
    pub(crate) fn open(&self, text: &str) -> Result<JobId, Problem> {
        self.read(text).ok_or_else(|| {
            Problem::new(
                ProblemKind::InvalidCursor,
                "use the `next_cursor` of an earlier page, or omit the cursor for the first page",
            )
        })
    }

    fn read(&self, text: &str) -> Option<JobId> {
        let wire: [u8; 16 + SIGNATURE_BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (id, signature) = wire.split_first_chunk::<16>()?;
        let good = bool::from(self.signature(*id).as_slice().ct_eq(signature));
        good.then(|| JobId::from_uuid(Uuid::from_bytes(*id)))
    }

    /// A shortened hash of the secret and the id, both of fixed length: so it cannot be extended to another input.
    fn signature(&self, id: [u8; 16]) -> [u8; SIGNATURE_BYTES] {
        let full: [u8; 32] = Sha256::new().chain_update(self.0).chain_update(id).finalize().into();
        full.first_chunk::<SIGNATURE_BYTES>().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_cursors_open() {
        let cursors = Cursors::new("a key");
        let id = JobId::from_ticks(1 << 50, 9);
        let text = cursors.seal(id);
        assert_eq!(cursors.open(&text).unwrap(), id);
        assert!(Cursors::new("another key").open(&text).is_err());
        let mut forged = text.clone().into_bytes();
        forged[3] ^= 1;
        for bad in ["", "x", &text[1..], &format!("{text}AA"), &String::from_utf8(forged).unwrap()] {
            assert!(cursors.open(bad).is_err(), "{bad}");
        }
    }
}
