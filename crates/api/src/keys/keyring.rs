//! The keys that this process accepts. A check every second finds changes, so a request costs no statement, and a revoked key is refused
//! everywhere after a second or two.
//!
//! While the database is unreachable the last known keys hold, without a time limit: nothing can be done with a key then, because every
//! route needs the database, and a refusal would only hide the outage from clients behind a 401.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use chrono::{DateTime, TimeDelta, Utc};
use jobqueue_core::KeyId;
use jobqueue_runtime::{OutageLog, Shutdown};
use jobqueue_store::{KeyNews, LiveKey, Store, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Caller, ProxySettings};
use crate::problem::{Problem, ProblemKind};

/// How often changes are looked for.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long a check keeps the next one waiting.
const CHECK_LIMIT: Duration = Duration::from_secs(2);
/// How often all keys are read even if their version has not changed, because a failover may set the version back.
const READ_ALL_EVERY: Duration = Duration::from_mins(1);
/// How often the use of a key is written at most.
const NOTE_USE_EVERY: Duration = Duration::from_mins(1);

/// The keys that are accepted. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Keyring(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    /// The hash of the root key. Hashes have the same length, so they can be compared in constant time. With `None` no key is needed.
    root_hash: Option<[u8; 32]>,
    /// The caller with the root key, or the caller without a key if none is needed.
    root: Caller,
    proxy: ProxySettings,
    /// `None` until the first read.
    stored: RwLock<Option<Arc<Stored>>>,
}

/// The stored keys, as the last check found them.
#[derive(Debug)]
struct Stored {
    version: i64,
    /// The database's time when `checked_at` was.
    now: DateTime<Utc>,
    checked_at: Instant,
    read_at: Instant,
    keys: Arc<HeldKeys>,
}

type HeldKeys = HashMap<KeyId, Arc<Held>>;

/// A key in memory.
#[derive(Debug)]
struct Held {
    key: LiveKey,
    /// Whether it had expired, and whether the key before its last rotation was accepted, when it was last checked.
    phase: (bool, bool),
    /// `None` if a user broke what it may do by hand.
    caller: Option<Caller>,
    used: Arc<AtomicBool>,
    noted_at: Arc<Mutex<Option<Instant>>>,
}

impl Keyring {
    /// With `None` no key is needed.
    pub(crate) fn new(key: Option<&SecretString>, proxy: ProxySettings) -> Self {
        let name = if key.is_some() { "root" } else { "anyone" };
        let root_hash = key.map(|key| hash(key.expose_secret()));
        Self(Arc::new(Keys { root_hash, root: Caller::unlimited(name), proxy, stored: RwLock::default() }))
    }

    /// Whether requests need a key.
    pub(crate) fn is_required(&self) -> bool {
        self.0.root_hash.is_some()
    }

    /// The caller with this key, if the key is valid or none is needed. Fails if the stored keys were never read.
    pub(crate) fn caller(&self, key: Option<&str>) -> Result<Option<Caller>, Problem> {
        let Some(root) = self.0.root_hash else { return Ok(Some(self.0.root.clone())) };
        let Some(key) = key else { return Ok(None) };
        let given = hash(key);
        if let Some(id) = KeyId::of(key) {
            match self.stored() {
                Some(stored) => {
                    if let Some(held) = stored.keys.get(&id) {
                        return Ok(held.accepted(&given, stored.time()));
                    }
                }
                None if !bool::from(given.ct_eq(&root)) => return Err(unread()),
                None => {}
            }
        }
        Ok(bool::from(given.ct_eq(&root)).then(|| self.0.root.clone()))
    }

    /// The person that a trusted proxy names, for a request without a key.
    pub(crate) fn person(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Caller> {
        self.0.proxy.caller(headers, peer)
    }

    /// Looks for changes once.
    pub(crate) async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        let known = self.stored().filter(|stored| stored.read_at.elapsed() < READ_ALL_EVERY);
        let news = store.api_keys().newest(known.map(|known| known.version)).await?;
        self.learn(news);
        Ok(())
    }

    /// Writes which keys were used. What could not be written is written next time.
    async fn note_used(&self, store: &Store) -> Result<(), StoreError> {
        let used = self.used();
        if used.is_empty() {
            return Ok(());
        }
        let ids: Vec<KeyId> = used.iter().map(|held| held.key.id.clone()).collect();
        let written = store.api_keys().used(&ids).await;
        if written.is_err() {
            for held in used {
                held.used.store(true, Ordering::Relaxed);
                *held.noted_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
        written
    }

    /// Looks for changes until the soft shutdown, and notes the use of keys. A check that hangs does not keep the next one waiting; it ends on its
    /// own, and a late answer does not replace a newer one.
    pub(crate) async fn keep_current(self, store: Store, outages: Arc<OutageLog>, shutdown: Shutdown) {
        let mut noting: Option<JoinHandle<()>> = None;
        while !shutdown.soft().is_cancelled() {
            let (keys, of_keys, log) = (self.clone(), store.clone(), outages.clone());
            let check = shutdown.spawn_contained(async move {
                if let Err(error) = keys.refresh(&of_keys).await {
                    log.failed("the API keys", error.word(), &error);
                }
            });
            let _late = timeout(CHECK_LIMIT, check).await;
            if noting.as_ref().is_none_or(JoinHandle::is_finished) {
                let (keys, of_keys, log) = (self.clone(), store.clone(), outages.clone());
                noting = Some(shutdown.spawn_contained(async move {
                    if let Err(error) = keys.note_used(&of_keys).await {
                        log.failed("the use of API keys", error.word(), &error);
                    }
                }));
            }
            shutdown.soft().run_until_cancelled(tokio::time::sleep(CHECK_EVERY)).await;
        }
    }

    /// Keeps what a check found, unless one that began later has ended already. Ends the streams of keys that do not hold any more.
    fn learn(&self, news: KeyNews) {
        let mut kept = self.0.stored.write().unwrap_or_else(PoisonError::into_inner);
        let before = kept.clone();
        if before.as_ref().is_some_and(|before| before.checked_at > news.checked_at) {
            return;
        }
        let held = before.as_ref().map(|before| before.keys.clone()).unwrap_or_default();
        let read_at = before.filter(|_| news.keys.is_none()).map_or(news.checked_at, |before| before.read_at);
        let is_same =
            news.keys.is_none() && held.values().all(|held| held.phase == phase(&held.key, news.now));
        let keys = if is_same { held } else { changed(&held, news.keys, news.now) };
        *kept = Some(Arc::new(Stored {
            version: news.version,
            now: news.now,
            checked_at: news.checked_at,
            read_at,
            keys,
        }));
    }

    /// The keys that were used, and whose use was not written within the last minute.
    fn used(&self) -> Vec<Arc<Held>> {
        let Some(stored) = self.stored() else { return vec![] };
        let is_due = |held: &&Arc<Held>| {
            let mut noted_at = held.noted_at.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = noted_at.is_none_or(|at| at.elapsed() >= NOTE_USE_EVERY)
                && held.used.swap(false, Ordering::Relaxed);
            if is_due {
                *noted_at = Some(Instant::now());
            }
            is_due
        };
        stored.keys.values().filter(is_due).cloned().collect()
    }

    fn stored(&self) -> Option<Arc<Stored>> {
        self.0.stored.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Stored {
    /// The database's time, carried forward.
    fn time(&self) -> DateTime<Utc> {
        TimeDelta::from_std(self.checked_at.elapsed()).map_or(self.now, |passed| self.now + passed)
    }
}

impl Held {
    /// The key as it is now: what was held before, if nothing has changed.
    fn after(before: Option<&Arc<Self>>, key: LiveKey, now: DateTime<Utc>) -> Arc<Self> {
        let phase = phase(&key, now);
        if let Some(same) = before.filter(|before| before.key == key && before.phase == phase) {
            return same.clone();
        }
        let old = before.and_then(|before| before.caller.as_ref());
        let grant = key.spec.parse().ok();
        if grant.is_none() {
            tracing::warn!(api_key.id = %key.id, "what an API key may do is invalid, and the key is not accepted");
        }
        let caller = grant.map(|grant| Caller::of_key(&key.id, &key.name, grant, old));
        let (used, noted_at) =
            before.map(|before| (before.used.clone(), before.noted_at.clone())).unwrap_or_default();
        Arc::new(Self { key, phase, caller, used, noted_at })
    }

    /// The holder, if this is the hash of the key, or of the key before its rotation during the overlap.
    fn accepted(&self, given: &[u8; 32], now: DateTime<Utc>) -> Option<Caller> {
        let is_current = given.ct_eq(&self.key.hash);
        let is_previous =
            self.key.previous.is_some_and(|(hash, until)| bool::from(given.ct_eq(&hash)) && until > now);
        if !(bool::from(is_current) || is_previous) || has_expired(&self.key, now) {
            return None;
        }
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.caller.clone()
    }
}

/// The keys as they are now. Ends the streams of those that changed or are gone.
fn changed(held: &HeldKeys, live: Option<Vec<LiveKey>>, now: DateTime<Utc>) -> Arc<HeldKeys> {
    let live = live.unwrap_or_else(|| held.values().map(|held| held.key.clone()).collect());
    let after = |key: LiveKey| (key.id.clone(), Held::after(held.get(&key.id), key, now));
    let keys: HeldKeys = live.into_iter().map(after).collect();
    for (id, old) in held {
        if !keys.get(id).is_some_and(|new| Arc::ptr_eq(new, old))
            && let Some(caller) = &old.caller
        {
            caller.end();
        }
    }
    Arc::new(keys)
}

/// Whether a key has expired, and whether the key before its last rotation is accepted.
fn phase(key: &LiveKey, now: DateTime<Utc>) -> (bool, bool) {
    (has_expired(key, now), key.previous.is_some_and(|(_, until)| until > now))
}

fn has_expired(key: &LiveKey, now: DateTime<Utc>) -> bool {
    key.expires_at.is_some_and(|at| at <= now)
}

fn unread() -> Problem {
    let detail = "this process has not read the API keys yet, because it has just started or the database is unreachable";
    Problem::new(ProblemKind::Unavailable, detail)
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use jobqueue_core::{ApiKeyDraft, KeyText};

    use super::*;

    fn news(version: i64, checked_at: Instant, keys: Vec<LiveKey>) -> KeyNews {
        KeyNews { version, now: DateTime::UNIX_EPOCH, checked_at, keys: Some(keys) }
    }

    #[test]
    fn an_answer_that_is_late_does_not_replace_a_newer_one() {
        let keyring = Keyring::new(Some(&"root".into()), ProxySettings::default());
        let id = KeyId::new(rand::random());
        let text = KeyText::new(&id, rand::random());
        let live = LiveKey {
            name: "a".parse().unwrap(),
            version: 1,
            spec: ApiKeyDraft { scopes: vec!["read".to_owned()], ..ApiKeyDraft::default() },
            hash: hash(text.expose()),
            previous: None,
            expires_at: None,
            id,
        };
        let is_accepted = || keyring.caller(Some(text.expose())).unwrap().is_some();
        let began = Instant::now();
        keyring.learn(news(1, began, vec![live.clone()]));
        assert!(is_accepted());
        let (second, third) = (began + CHECK_EVERY, began + CHECK_EVERY * 2);
        // the third check finds that the key is revoked; the second one hung, and its answer arrives afterwards
        keyring.learn(news(2, third, vec![]));
        assert!(!is_accepted());
        keyring.learn(news(1, second, vec![live]));
        assert!(!is_accepted());
    }
}
