//! The text of a key: `jq_<id>_<secret>_<checksum>`. The checksum finds typing errors and lets scanners recognise a key that was published;
//! it is no secret.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Number of random bytes in an id.
pub const RANDOM_ID_BYTES: usize = 8;
/// Number of random bytes in a secret.
pub const RANDOM_SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// The public part of a key. It stays when the key is rotated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// The text of a key, which its holder sends. Never printed, except by [`KeyText::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyId {
    /// An id of these random bytes.
    pub fn new(random: [u8; RANDOM_ID_BYTES]) -> Self {
        Self(hex(&random))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id in the text of a key, if the text has the form of a key and its checksum holds. This does not say that the key exists.
    pub fn of(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix("jq_")?.split('_');
        let (id, secret, sum) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = parts.next().is_none() && is_hex(secret, RANDOM_SECRET_BYTES);
        (is_whole && sum == checksum(id, secret)).then(|| id.parse().ok()).flatten()
    }
}

impl FromStr for KeyId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if is_hex(text, RANDOM_ID_BYTES) { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyText {
    /// The key with this id and these random bytes.
    pub fn new(id: &KeyId, random: [u8; RANDOM_SECRET_BYTES]) -> Self {
        let secret = hex(&random);
        Self(format!("jq_{id}_{secret}_{}", checksum(id.as_str(), &secret)))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(…)")
    }
}

fn checksum(id: &str, secret: &str) -> String {
    let digest = Sha256::digest(format!("jq_{id}_{secret}").as_bytes());
    hex(digest.get(..CHECKSUM_BYTES).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02x}"))
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_id_and_every_changed_character_is_found() {
        let id = KeyId::new([0xab; 8]);
        let key = KeyText::new(&id, [7; 32]);
        assert_eq!(KeyId::of(key.expose()), Some(id));
        assert_eq!(key.expose().len(), 2 + 1 + 16 + 1 + 64 + 1 + 8);
        for at in 0..key.expose().len() {
            for other in ["0", "f", "_", "A", "", "00"] {
                let mut text = key.expose().to_owned();
                if &text[at..=at] != other {
                    text.replace_range(at..=at, other);
                    assert_eq!(KeyId::of(&text), None, "{text}");
                }
            }
        }
        for bad in
            ["", "jq_", "jq___", "jq_é_é_é", &format!("{}_", key.expose()), &format!(" {}", key.expose())]
        {
            assert_eq!(KeyId::of(bad), None, "{bad}");
        }
        assert_eq!(format!("{key:?}"), "KeyText(…)");
    }
}
