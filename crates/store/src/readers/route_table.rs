//! Reads the routes into the memory of the process.
//!
//! A process that accepts submissions calls [`Store::refresh_routes`] at least every second. If it could not for two seconds, the next submission
//! reads them first. So a submission is never routed by what was true longer ago than that.

use std::sync::Arc;
use std::time::Instant;

use jobqueue_core::{JobRoute, Json, RouteName, RouteTable};

use crate::plumbing::connect::Store;
use crate::plumbing::error::StoreError;
use crate::plumbing::route_cache::Cached;

impl Store {
    /// The routes in memory. Asks the database only if they were not checked within the last two seconds.
    pub async fn route_table(&self) -> Result<Arc<RouteTable>, StoreError> {
        match self.recent_route_table() {
            Some(table) => Ok(table),
            None => self.newest_routes().await,
        }
    }

    /// The routes in memory, if they were checked within the last two seconds.
    pub fn recent_route_table(&self) -> Option<Arc<RouteTable>> {
        self.routes.recent()
    }

    /// Checks whether the routes in memory are outdated, and if so reads them.
    pub async fn refresh_routes(&self) -> Result<(), StoreError> {
        self.newest_routes().await.map(drop)
    }

    /// The same, and returns them.
    pub(crate) async fn newest_routes(&self) -> Result<Arc<RouteTable>, StoreError> {
        let checked_at = Instant::now();
        let known = self.routes.last();
        let mut unit = self.one().await?;
        let rows = sqlx::query!(
            r#"-- store.routes.newest
            SELECT v.version, r.name AS "name?", r.spec::text AS spec
            FROM jobqueue.route_version v LEFT JOIN jobqueue.route r ON v.version IS DISTINCT FROM $1::bigint"#,
            known.as_ref().map(|known| known.version),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let version = rows.first().map_or(0, |row| row.version);
        let table = match known {
            Some(known) if known.version == version => known.table,
            _ => {
                let stored = rows.into_iter().filter_map(|row| Some((row.name?, row.spec?)));
                Arc::new(RouteTable::new(stored.filter_map(|(name, spec)| readable(&name, spec)).collect()))
            }
        };
        self.routes.keep(Cached { version, checked_at, table: table.clone() });
        Ok(table)
    }
}

/// The route, unless a user broke it in the database by hand. The others still apply.
fn readable(name: &str, spec: String) -> Option<JobRoute> {
    let parsed = name.parse::<RouteName>().map_err(|error| error.to_string()).and_then(|name| {
        let spec = Json::from_stored(spec).map_err(|error| error.to_string())?;
        JobRoute::of_stored(&name, &spec)
    });
    parsed
        .inspect_err(|error| {
            tracing::warn!(route.name = name, error, "a route is invalid and is not applied");
        })
        .ok()
}
