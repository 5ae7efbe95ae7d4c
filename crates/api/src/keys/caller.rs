//! The sender of a request.

use std::sync::Arc;

use jobqueue_core::{Grant, KeyId, KeyName};
use tokio_util::sync::CancellationToken;

use super::rate::{Limiter, Taken};
use crate::problem::Problem;

/// The sender of a request. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Principal>);

#[derive(Debug)]
struct Principal {
    /// Set for the holder of a stored key.
    key_id: Option<KeyId>,
    /// See [`Caller::identity`].
    identity: String,
    name: String,
    grant: Grant,
    limiter: Option<Arc<Limiter>>,
    /// Cancelled when the key is revoked, changed or expired; `None` if that cannot happen.
    ended: Option<CancellationToken>,
}

impl Caller {
    /// A caller who may do everything.
    pub(super) fn unlimited(name: &str) -> Self {
        Self::of_user(name, name, Grant::everything())
    }

    /// A person who signed in at a proxy, or a caller without a stored key.
    pub(super) fn of_user(identity: &str, name: &str, grant: Grant) -> Self {
        let (identity, name) = (identity.to_owned(), name.to_owned());
        Self(Arc::new(Principal { key_id: None, identity, name, grant, limiter: None, ended: None }))
    }

    /// The holder of a stored key. A limiter of the same rate is carried over, so that a change of the key does not refill it.
    pub(super) fn of_key(id: &KeyId, name: &KeyName, grant: Grant, before: Option<&Self>) -> Self {
        let limiter = grant.rate.map(|rate| {
            let kept = before.and_then(|before| before.0.limiter.clone()).filter(|kept| kept.rate() == rate);
            kept.unwrap_or_else(|| Arc::new(Limiter::new(rate)))
        });
        Self(Arc::new(Principal {
            key_id: Some(id.clone()),
            identity: format!("key:{id}"),
            name: name.to_string(),
            grant,
            limiter,
            ended: Some(CancellationToken::new()),
        }))
    }

    /// Who it is, unique and permanent: `root`, `anyone` if no key is needed, `key:` with the id of the key, or `user:` with the name that a
    /// proxy gave. Part of the scope of idempotency keys, so that callers do not share them.
    pub(crate) fn identity(&self) -> &str {
        &self.0.identity
    }

    /// The id of its stored key.
    pub(crate) fn key_id(&self) -> Option<&KeyId> {
        self.0.key_id.as_ref()
    }

    /// What people call it: `root`, `anyone`, the name of the key, or of the person.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The names of its scopes.
    pub(crate) fn scopes(&self) -> Vec<&'static str> {
        self.0.grant.scopes.iter().map(|scope| scope.as_str()).collect()
    }

    /// What it may do.
    pub(crate) fn grant(&self) -> &Grant {
        &self.0.grant
    }

    /// Counts a request against the rate. `None`: there is no rate.
    pub(crate) fn take(&self) -> Result<Option<Taken>, Problem> {
        self.0.limiter.as_ref().map(|limiter| limiter.take()).transpose()
    }

    /// Ends its streams and waiting reads.
    pub(super) fn end(&self) {
        if let Some(ended) = &self.0.ended {
            ended.cancel();
        }
    }

    /// Cancelled when the key does not hold any more in this form.
    pub(crate) fn ended(&self) -> Option<&CancellationToken> {
        self.0.ended.as_ref()
    }
}
