//! Records what a verb changes, in its transaction. Changes of settings need no call: triggers record them (migration 0200).

use std::borrow::Cow;
use std::sync::Arc;

use jobqueue_core::JobId;
use serde::Serialize;

use crate::plumbing::actor::{ActingAs, Actor};
use crate::plumbing::connect::{Store, Unit};
use crate::plumbing::error::StoreError;

/// One change by a person or a key.
pub(crate) struct Change {
    action: Cow<'static, str>,
    affected: usize,
    target: Option<String>,
    filter: Option<String>,
    after: Option<String>,
    before: Option<String>,
}

impl Change {
    /// A change of so many rows. A change of none is not recorded.
    pub(crate) fn of(action: impl Into<Cow<'static, str>>, affected: usize) -> Self {
        Self { action: action.into(), affected, target: None, filter: None, after: None, before: None }
    }

    /// A change of these jobs: of one, or of several that the filter of the request or their ids name.
    pub(crate) fn of_jobs(action: &'static str, ids: &[JobId]) -> Self {
        let change = Self::of(action, ids.len());
        match ids {
            [id] => change.to(id),
            ids => change.filter(&serde_json::json!({ "ids": ids })),
        }
    }

    /// The name or id of what was changed.
    pub(crate) fn to(mut self, target: &impl ToString) -> Self {
        self.target = Some(target.to_string());
        self
    }

    /// What was meant, if the request has no filter of its own.
    pub(crate) fn filter(mut self, filter: &impl Serialize) -> Self {
        self.filter = json(filter);
        self
    }

    /// Values before the change. No secret may be among them.
    pub(crate) fn before(mut self, before: &impl Serialize) -> Self {
        self.before = json(before);
        self
    }

    /// Values after the change. No secret may be among them.
    pub(crate) fn after(mut self, after: &impl Serialize) -> Self {
        self.after = json(after);
        self
    }
}

fn json(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

impl Store {
    /// A clone whose changes are recorded as those of `actor`, each in its transaction. The clones share all connections.
    #[must_use]
    pub fn acting_for(&self, actor: &Actor) -> Self {
        Self { actor: Some(Arc::new(ActingAs::new(actor))), ..self.clone() }
    }

    /// Records a change, if someone acts and something was changed.
    pub(crate) async fn audit(&self, unit: &mut Unit, change: Change) -> Result<(), StoreError> {
        let Some(actor) = self.actor.as_ref().filter(|_| change.affected > 0) else { return Ok(()) };
        sqlx::query!(
            "-- store.audit
            SELECT jobqueue.audit($1, $2, $3::text::json, $4, $5::text::json, $6::text::json)",
            change.action.as_ref(),
            change.target,
            actor.filter().or(change.filter.as_deref()),
            i64::try_from(change.affected).unwrap_or(i64::MAX),
            change.before,
            change.after,
        )
        .execute(&mut **unit)
        .await?;
        Ok(())
    }
}
