//! Webhooks for the end of a job: where to send them, and the secret that signs them. Never prints a secret.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::field::FieldError;
use crate::name::QueueName;

/// The kind of the jobs that deliver webhooks. No route applies to it.
pub const WEBHOOK_KIND: &str = "jobqueue.webhook";
/// Maximum length of a URL, in bytes.
const MAX_URL_BYTES: usize = 2048;
/// Maximum lengths of the name of a host, and of each of its labels, in bytes.
const MAX_HOST_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;
/// Maximum number of secrets, each of which signs.
const MAX_SECRETS: usize = 4;
/// The length in bytes that Standard Webhooks allows for a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A webhook as the user sent it, unchecked.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnEndDraft {
    /// `http` or `https` URL that gets the webhook; required.
    pub url: String,
    /// One to four `whsec_…`, separated by a space, the newest first; required, unless a route refers to a stored one. It is never
    /// written with the rest.
    #[serde(skip_serializing)]
    pub secret: Option<String>,
    /// Queue of the job that delivers the webhook; default: that of the job that ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Number of the stored secret of a route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_id: Option<i64>,
}

/// A webhook that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnEnd {
    /// The URL that gets it.
    pub url: String,
    /// Queue of the job that delivers it; `None`: that of the job that ends.
    pub queue: Option<QueueName>,
    /// What signs it.
    pub secret: WebhookSecret,
}

/// What signs a webhook.
#[derive(Clone, PartialEq, Eq)]
pub enum WebhookSecret {
    /// The secrets of a submission.
    Own(String),
    /// The number of the stored secrets of a route.
    Stored(i64),
}

impl OnEnd {
    /// Checks a draft. The pointers of the errors begin with `/on_end`.
    pub fn parse(draft: &OnEndDraft) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut note = |field: &str, code, message: &str| {
            errors.push(FieldError::new(format!("/on_end/{field}"), code, message));
        };
        if draft.url.is_empty() {
            note("url", "required", "must not be empty");
        } else if !is_url(&draft.url) {
            let rule = "must be an http or https URL of at most 2048 characters, without a user, whose host is a name or an address";
            note("url", "invalid", rule);
        }
        let queue = draft.queue.as_ref().map(|queue| queue.parse::<QueueName>()).transpose();
        let queue =
            queue.map_err(|error| note("queue", error.code(), &error.to_string())).unwrap_or_default();
        let secret = match (&draft.secret, draft.secret_id) {
            (Some(secret), _) => {
                if let Some(message) = fault(secret) {
                    note("secret", "invalid", message);
                }
                WebhookSecret::Own(secret.clone())
            }
            (None, Some(id)) => WebhookSecret::Stored(id),
            (None, None) => {
                note("secret", "required", "must be `whsec_` and 24 to 64 bytes in base64");
                WebhookSecret::Stored(0)
            }
        };
        if errors.is_empty() { Ok(Self { url: draft.url.clone(), queue, secret }) } else { Err(errors) }
    }

    /// What is stored beside the secret, as JSON.
    pub fn target(&self) -> String {
        let secret_id = match self.secret {
            WebhookSecret::Own(_) => None,
            WebhookSecret::Stored(id) => Some(id),
        };
        let queue = self.queue.as_ref().map(ToString::to_string);
        let draft = OnEndDraft { url: self.url.clone(), secret: None, queue, secret_id };
        serde_json::to_string(&draft).unwrap_or_default()
    }
}

/// Whether a worker can call it: its host is a name or an address, and it has no user. `jobqueue.is_webhook_url` accepts the same, except that
/// it does not know which names in Punycode are valid.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let host_ends = rest.find(['/', '?']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(host_ends);
    // the colons of an IPv6 address are before the bracket
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    text.len() <= MAX_URL_BYTES
        && is_host(host)
        && port.is_none_or(is_port)
        && path.bytes().all(|byte| byte.is_ascii_graphic())
        && Url::parse(text).is_ok()
}

fn is_port(text: &str) -> bool {
    let digits = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A host whose last part is a number is an IPv4 address to every client, so it must be one.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_number {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let fits = |label: &str| (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(in_label);
    host.len() <= MAX_HOST_BYTES && name.split('.').all(fits)
}

/// What is wrong with secrets. The message never repeats them.
fn fault(secrets: &str) -> Option<&'static str> {
    let is_secret = |word: &str| {
        let bytes = word.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
        bytes.is_some_and(|bytes| SECRET_BYTES.contains(&bytes.len()))
    };
    let words: Vec<&str> = secrets.split(' ').collect();
    if words.len() > MAX_SECRETS {
        Some("must be one to four `whsec_` secrets, separated by a space")
    } else if words.into_iter().all(is_secret) {
        None
    } else {
        Some("must be `whsec_` and 24 to 64 bytes in base64")
    }
}

impl fmt::Debug for OnEndDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.secret.as_ref().map(|_| "(secret)");
        f.debug_struct("OnEndDraft")
            .field("url", &self.url)
            .field("secret", &secret)
            .field("queue", &self.queue)
            .field("secret_id", &self.secret_id)
            .finish()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(_) => f.write_str("Own(secret)"),
            Self::Stored(id) => write!(f, "Stored({id})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn draft(url: &str, secret: Option<&str>) -> OnEndDraft {
        OnEndDraft { url: url.to_owned(), secret: secret.map(ToOwned::to_owned), ..OnEndDraft::default() }
    }

    fn pointers(draft: &OnEndDraft) -> Vec<String> {
        OnEnd::parse(draft).err().unwrap_or_default().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn urls_are_plain_and_bounded() {
        let long = format!("https://a/{}", "x".repeat(2048));
        for bad in [
            "ftp://a",
            "https://",
            "https:///x",
            "https://u:p@a/",
            "a",
            "https://a b",
            "https://a/\u{fc}",
            "https://[::1",
            "https://[::g]/",
            "https://::1/",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://a:8x/",
            "https://a..b",
            "https://-%41.b",
            "https://1.2.3.256",
            "https://1.2.3",
            "https://127.0.0.1.",
            "https://0x7f.1",
            "https://a.0x",
            "https://xn--a-0.example",
            &format!("https://{}.example", "a".repeat(64)),
            &format!("https://{}e", "a.".repeat(126) + "bb"),
            &long,
        ] {
            assert_eq!(pointers(&draft(bad, Some(SECRET))), ["/on_end/url"], "{bad}");
        }
        for good in [
            "http://a",
            "https://[::1]:8080/x?y=z#f",
            "https://example.com?x",
            "http://10.0.0.1:65535/",
            "https://a_b.c-d.",
            "http://[::ffff:1.2.3.4]",
        ] {
            assert_eq!(pointers(&draft(good, Some(SECRET))), [""; 0], "{good}");
        }
    }

    #[test]
    fn secrets_are_checked_and_never_shown() {
        let five = [SECRET; 5].join(" ");
        for bad in [
            "",
            "hunter2",
            "whsec_aHVudGVyMg==",
            "whsec_!",
            &format!("whsec_{}B=", "A".repeat(42)),
            &five,
            &format!("{SECRET}  {SECRET}"),
        ] {
            let wrong = draft("https://a", Some(bad));
            let errors = OnEnd::parse(&wrong).unwrap_err();
            assert_eq!(errors[0].pointer, "/on_end/secret", "{bad}");
            assert!(!format!("{errors:?}").contains("hunter2"));
        }
        let two = draft("https://a", Some(&format!("{SECRET} {SECRET}")));
        let on_end = OnEnd::parse(&two).unwrap();
        let shown =
            format!("{two:?} {on_end:?} {} {}", on_end.target(), serde_json::to_string(&two).unwrap());
        assert!(!shown.contains("MfKQ"), "{shown}");
        assert_eq!(pointers(&draft("https://a", None)), ["/on_end/secret"]);
        let stored = OnEndDraft { secret_id: Some(7), queue: Some("q".into()), ..draft("https://a", None) };
        assert_eq!(
            OnEnd::parse(&stored).unwrap().target(),
            r#"{"url":"https://a","queue":"q","secret_id":7}"#
        );
        assert_eq!(pointers(&OnEndDraft { queue: Some("a/b".into()), ..stored }), ["/on_end/queue"]);
    }
}
