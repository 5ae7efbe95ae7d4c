//! Routes: what users change. The row of `route_version` is locked first, so changes happen one after the other.

use jobqueue_core::route::MAX_ROUTES;
use jobqueue_core::{RouteDraft, RouteName};

use crate::handles::Routes;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;
use crate::readers::routes::RouteRecord;
use crate::verbs::precondition::Precondition;

/// The result of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteChange {
    /// It was created.
    Created(RouteRecord),
    /// It was changed, and has a new version; or it was deleted.
    Changed(RouteRecord),
    /// It is as requested already. Nothing was changed.
    Same(RouteRecord),
    /// The precondition does not hold. Nothing was changed.
    Refused,
    /// There is none of this name.
    Unknown,
    /// As many routes exist as may. Nothing was changed.
    Full,
    /// It names a stored secret that is not its own. Nothing was changed.
    UnknownSecret,
}

impl Routes<'_> {
    /// Creates or replaces a route, which passed the checks of the core.
    pub async fn put(
        &self,
        name: &RouteName,
        draft: &RouteDraft,
        condition: &Precondition,
    ) -> Result<RouteChange, StoreError> {
        let mut unit = self.0.begin().await?;
        Self::lock(&mut unit).await?;
        let current = Self::read(&mut unit, name).await?;
        if !condition.holds(current.as_ref().map(|current| (current.id, current.version))) {
            return Ok(RouteChange::Refused);
        }
        let stored = current.as_ref().and_then(|current| current.spec.to::<RouteDraft>().ok());
        let Some(draft) = Self::with_secret(&mut unit, draft.clone(), stored.as_ref()).await? else {
            return Ok(RouteChange::UnknownSecret);
        };
        let change = match current {
            None if Self::is_full(&mut unit).await? => return Ok(RouteChange::Full),
            None => RouteChange::Created,
            Some(current) if stored.as_ref() == Some(&draft) => {
                return Ok(RouteChange::Same(current));
            }
            Some(_) => RouteChange::Changed,
        };
        let spec = serde_json::to_string(&draft).map_err(|error| StoreError::Abandoned(error.to_string()))?;
        sqlx::query!(
            "-- store.route.put
            INSERT INTO jobqueue.route AS r (name, spec) VALUES ($1, $2::text::json)
            ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, version = r.version + 1, changed_at = jobqueue.now()",
            name.as_str(),
            spec,
        )
        .execute(&mut *unit)
        .await?;
        let written = Self::read(&mut unit, name).await?;
        unit.commit().await?;
        Ok(written.map_or(RouteChange::Unknown, change))
    }

    /// Deletes a route. Returns the deleted one as [`RouteChange::Changed`]. Jobs that it was applied to stay as they are.
    pub async fn delete(
        &self,
        name: &RouteName,
        condition: &Precondition,
    ) -> Result<RouteChange, StoreError> {
        let mut unit = self.0.begin().await?;
        Self::lock(&mut unit).await?;
        let current = Self::read(&mut unit, name).await?;
        if !condition.holds(current.as_ref().map(|current| (current.id, current.version))) {
            return Ok(RouteChange::Refused);
        }
        let Some(current) = current else { return Ok(RouteChange::Unknown) };
        sqlx::query!("-- store.route.delete\nDELETE FROM jobqueue.route WHERE id = $1", current.id)
            .execute(&mut *unit)
            .await?;
        unit.commit().await?;
        Ok(RouteChange::Changed(current))
    }

    /// Waits up to five seconds for the end of other changes, such as that of an application's open transaction.
    async fn lock(unit: &mut Unit) -> Result<(), StoreError> {
        sqlx::query("SET LOCAL lock_timeout = '5s'").execute(&mut **unit).await?;
        sqlx::query!("-- store.route.lock\nSELECT version FROM jobqueue.route_version FOR UPDATE")
            .fetch_all(&mut **unit)
            .await?;
        Ok(())
    }

    /// The draft with the number of its secret instead of the secret. `None` if it names a number that is not that of the route.
    async fn with_secret(
        unit: &mut Unit,
        mut draft: RouteDraft,
        stored: Option<&RouteDraft>,
    ) -> Result<Option<RouteDraft>, StoreError> {
        let current = stored.and_then(|stored| stored.on_end.as_ref()?.secret_id);
        let Some(on_end) = &mut draft.on_end else { return Ok(Some(draft)) };
        match on_end.secret.take() {
            Some(secret) => {
                let kept = sqlx::query_scalar!(
                    r#"-- store.route.secret
                    SELECT jobqueue.keep_secret($1, $2) AS "id!""#,
                    secret,
                    current,
                );
                on_end.secret_id = Some(kept.fetch_one(&mut **unit).await?);
            }
            None if on_end.secret_id.is_none() || on_end.secret_id != current => return Ok(None),
            None => {}
        }
        Ok(Some(draft))
    }

    async fn is_full(unit: &mut Unit) -> Result<bool, StoreError> {
        let count = sqlx::query_scalar!(
            r#"-- store.route.count
            SELECT count(*) AS "count!" FROM jobqueue.route"#
        );
        Ok(count.fetch_one(&mut **unit).await? >= MAX_ROUTES)
    }
}
