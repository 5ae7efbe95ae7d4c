//! Signatures according to Standard Webhooks (<https://www.standardwebhooks.com>): HMAC-SHA256 over
//! `id.timestamp.body`. Owns the secrets, which are never printed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

/// The length in bytes that the standard allows for a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets of one endpoint, newest first. Each one signs, so that a receiver can switch to a new secret
/// at any time.
pub(super) struct Secrets(Vec<SecretBox<[u8]>>);

impl Secrets {
    /// Reads one or more `whsec_…`, separated by spaces, from an environment variable.
    pub(super) fn from_env(name: &str) -> Result<Self, String> {
        let text = std::env::var(name)
            .map_err(|_| format!("secret_env: {name} is not set: set it to a `whsec_…` secret"))?;
        Self::parse(&text).map_err(|reason| format!("secret_env: {name} {reason}"))
    }

    /// Parses the secrets. The error never contains a secret.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let secret = |word: &str| {
            let encoded = word.strip_prefix("whsec_").ok_or("must start with `whsec_`")?;
            let bytes = STANDARD.decode(encoded).map_err(|_| "must be base64 after `whsec_`")?;
            if !SECRET_BYTES.contains(&bytes.len()) {
                return Err("must have 24 to 64 bytes");
            }
            Ok(SecretBox::new(bytes.into_boxed_slice()))
        };
        let secrets: Vec<_> = text.split_whitespace().map(secret).collect::<Result<_, &str>>()?;
        if secrets.is_empty() { Err("is empty".to_owned()) } else { Ok(Self(secrets)) }
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let signatures = self.0.iter().filter_map(|secret| {
            // HMAC takes keys of any length
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret()).ok()?;
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body.as_bytes());
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

/// Seconds since 1970 for `webhook-timestamp`.
#[expect(
    clippy::disallowed_methods,
    reason = "the receiver compares it with its own wall clock; nothing of ours depends on it"
)]
pub(super) fn timestamp() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_published_test_vector_matches() {
        let secrets = Secrets::parse(SECRET).unwrap();
        let signed = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_signs_and_bad_ones_are_refused_without_being_shown() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let secrets = Secrets::parse(&format!("{other} {SECRET}")).unwrap();
        let signed = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.split(' ').count(), 2);
        assert!(signed.ends_with(" v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        for bad in ["", "hunter2hunter2hunter2hunter2", "whsec_hunter2!", "whsec_aHVudGVyMg=="] {
            let reason = Secrets::parse(bad).err().unwrap();
            assert!(!reason.contains("hunter2") && !reason.contains("aHVudGVyMg"), "{reason}");
        }
    }
}
