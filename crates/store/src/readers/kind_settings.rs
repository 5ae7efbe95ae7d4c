//! Reads what operators set for kinds, and applies it to the jobs of a lease.

use std::collections::HashMap;

use jobqueue_core::{Job, KindSettings};

use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::row::BodyRow;

/// The settings of all kinds that have some, by number.
#[derive(Debug, Default)]
pub(crate) struct SettingsOfKinds(HashMap<i32, KindSettings>);

impl SettingsOfKinds {
    /// From the text of `jobqueue.kind_settings`. Settings that a user made unreadable by hand do not apply, and stop no job.
    pub(crate) fn of(text: Option<&str>) -> Self {
        let parsed = text.map(serde_json::from_str::<HashMap<i32, serde_json::Value>>);
        let kinds = parsed.and_then(Result::ok).unwrap_or_default().into_iter();
        Self(kinds.filter_map(|(kind, value)| Some((kind, serde_json::from_value(value).ok()?))).collect())
    }

    /// Reads them.
    pub(crate) async fn read(unit: &mut Unit) -> Result<Self, StoreError> {
        let text =
            sqlx::query_scalar!("-- store.kinds.settings\nSELECT settings FROM jobqueue.kind_settings");
        Ok(Self::of(text.fetch_one(&mut **unit).await?.as_deref()))
    }

    /// The job of a body, with what its kind adds.
    pub(crate) fn job_of(&self, body: BodyRow, attempt: i16) -> Result<Job, StoreError> {
        let kind = body.stored.kind;
        let mut job = body.into_job(attempt)?;
        if let Some(settings) = self.0.get(&kind) {
            settings.apply(&mut job);
        }
        Ok(job)
    }
}
