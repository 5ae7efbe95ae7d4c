//! Cursors of a list. Owns their format: a job id with a signature, so that a forged cursor is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use jobqueue_core::JobId;
use jobqueue_store::{GroupOrder, GroupPosition, LetterPosition};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::problem::{Problem, ProblemKind};

/// Bytes of the signature.
const SIGNATURE_BYTES: usize = 16;
/// Bytes of a key and an id.
const KEYED_BYTES: usize = 24;

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
        self.read(text).ok_or_else(invalid)
    }

    fn read(&self, text: &str) -> Option<JobId> {
        let wire: [u8; 16 + SIGNATURE_BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (id, signature) = wire.split_first_chunk::<16>()?;
        let good = bool::from(self.signature(*id).as_slice().ct_eq(signature));
        good.then(|| JobId::from_uuid(Uuid::from_bytes(*id)))
    }

    /// The cursor of the page of dead letters that starts after this position.
    pub(crate) fn seal_letter(&self, (failed_at, id): LetterPosition) -> String {
        self.seal_keyed("letter", failed_at.timestamp_micros(), id.as_uuid())
    }

    /// The position after which a page of dead letters starts.
    pub(crate) fn open_letter(&self, text: &str) -> Result<LetterPosition, Problem> {
        let opened = self.open_keyed("letter", text);
        let position = |(micros, id)| Some((DateTime::from_timestamp_micros(micros)?, JobId::from_uuid(id)));
        opened.and_then(position).ok_or_else(invalid)
    }

    /// The cursor of the page of groups, in this order, that starts after this position.
    pub(crate) fn seal_group(&self, order: GroupOrder, (key, fingerprint): GroupPosition) -> String {
        self.seal_keyed(kind_of(order), key, fingerprint)
    }

    /// The position after which a page of groups in this order starts.
    pub(crate) fn open_group(&self, order: GroupOrder, text: &str) -> Result<GroupPosition, Problem> {
        self.open_keyed(kind_of(order), text).ok_or_else(invalid)
    }

    /// A key to order by and an id. The kind of the list is part of the signature.
    fn seal_keyed(&self, kind: &str, key: i64, id: Uuid) -> String {
        let mut wire = [0; KEYED_BYTES];
        wire[..8].copy_from_slice(&key.to_be_bytes());
        wire[8..].copy_from_slice(id.as_bytes());
        let signature = self.keyed_signature(kind, &wire);
        URL_SAFE_NO_PAD.encode([&wire[..], &signature].concat())
    }

    fn open_keyed(&self, kind: &str, text: &str) -> Option<(i64, Uuid)> {
        let wire: [u8; KEYED_BYTES + SIGNATURE_BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (keyed, signature) = wire.split_first_chunk::<KEYED_BYTES>()?;
        let good = bool::from(self.keyed_signature(kind, keyed).as_slice().ct_eq(signature));
        let (key, id) = keyed.split_first_chunk::<8>()?;
        let id = Uuid::from_slice(id).ok()?;
        good.then(|| (i64::from_be_bytes(*key), id))
    }

    /// As [`signature`](Self::signature). No kind is the beginning of another.
    fn keyed_signature(&self, kind: &str, keyed: &[u8; KEYED_BYTES]) -> [u8; SIGNATURE_BYTES] {
        let full: [u8; 32] =
            Sha256::new().chain_update(self.0).chain_update(kind).chain_update(keyed).finalize().into();
        full.first_chunk::<SIGNATURE_BYTES>().copied().unwrap_or_default()
    }

    /// A shortened hash of the secret and the id, both of fixed length: so it cannot be extended to another input.
    fn signature(&self, id: [u8; 16]) -> [u8; SIGNATURE_BYTES] {
        let full: [u8; 32] = Sha256::new().chain_update(self.0).chain_update(id).finalize().into();
        full.first_chunk::<SIGNATURE_BYTES>().copied().unwrap_or_default()
    }
}

fn invalid() -> Problem {
    Problem::new(
        ProblemKind::InvalidCursor,
        "use the `next_cursor` of an earlier page, or omit the cursor for the first page",
    )
}

const fn kind_of(order: GroupOrder) -> &'static str {
    match order {
        GroupOrder::Count => "groups by count",
        GroupOrder::LastFailedAt => "groups by time",
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

    #[test]
    fn a_cursor_of_one_list_does_not_open_another() {
        let cursors = Cursors::new("a key");
        let (by_count, by_time) = (GroupOrder::Count, GroupOrder::LastFailedAt);
        let position = (-7, Uuid::from_u128(9));
        let text = cursors.seal_group(by_count, position);
        assert_eq!((text.len(), cursors.open_group(by_count, &text).unwrap()), (54, position));
        assert!(cursors.open_group(by_time, &text).is_err() && cursors.open_letter(&text).is_err());
        assert!(cursors.open(&text).is_err());
        let letter =
            (DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(), JobId::from_ticks(1 << 50, 9));
        assert_eq!(cursors.open_letter(&cursors.seal_letter(letter)).unwrap(), letter);
    }
}
