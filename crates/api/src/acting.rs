//! How routes change something: with the name of their caller, so that the store records who did it.

use std::ops::Deref;

use axum::extract::{FromRef as _, FromRequestParts};
use axum::http::request::Parts;
use jobqueue_store::{Actor, Store, StoreError};
use serde::Serialize;

use crate::middleware::auth::Caller;
use crate::middleware::request_id::RequestId;
use crate::problem::Problem;
use crate::state::ApiState;
use crate::store_access::StoreAccess;

/// The store for a route that changes something. Every route except submissions and those of workers takes it instead of [`StoreAccess`], to
/// which it derefs for reads.
#[derive(Clone, Debug)]
pub(crate) struct Acting {
    store: StoreAccess,
    actor: Actor,
}

impl FromRequestParts<ApiState> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().ok_or_else(Problem::internal)?;
        let request_id = parts.extensions.get::<RequestId>().ok_or_else(Problem::internal)?;
        // a person has the name that a proxy gave, which may be that of the root key
        let name = if caller.key_id().is_some() { caller.name() } else { caller.identity() };
        let actor = Actor {
            name: name.to_owned(),
            key_id: caller.key_id().map(ToString::to_string),
            request_id: request_id.0.clone(),
            filter: None,
        };
        Ok(Self { store: StoreAccess::from_ref(state), actor })
    }
}

impl Deref for Acting {
    type Target = StoreAccess;

    fn deref(&self) -> &StoreAccess {
        &self.store
    }
}

impl Acting {
    /// Like [`StoreAccess::call`], and the changes of the call are recorded as those of the caller.
    pub(crate) async fn call<T, F, Fut>(&self, call: F) -> Result<T, Problem>
    where
        F: FnOnce(Store) -> Fut,
        Fut: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        self.store.call(|store| call(store.acting_for(&self.actor))).await
    }

    /// Records this filter with the changes.
    pub(crate) fn by_filter(&self, filter: &impl Serialize) -> Self {
        let filter = serde_json::to_string(filter).ok();
        Self { store: self.store.clone(), actor: Actor { filter, ..self.actor.clone() } }
    }
}
