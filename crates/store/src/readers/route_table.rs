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
    /// The routes in memory. Asks the database only if they were not checked within the last two seconds. Calls at the same time share one
    /// statement and its failure.
    pub async fn route_table(&self) -> Result<Arc<RouteTable>, StoreError> {
        if let Some(table) = self.recent_route_table() {
            return Ok(table);
        }
        let began = Instant::now();
        let mut failed = self.routes.reading.lock().await;
        if let Some(table) = self.recent_route_table() {
            return Ok(table);
        }
        if let Some((_, cause)) = failed.as_ref().filter(|(at, _)| *at >= began) {
            return Err(StoreError::Unreachable { cause: cause.clone() });
        }
        let read = self.newest_routes().await;
        if let Err(StoreError::Unreachable { cause } | StoreError::Interrupted { cause }) = &read {
            *failed = Some((Instant::now(), cause.clone()));
        }
        read
    }

    /// The routes in memory, if they were checked within the last two seconds.
    pub fn recent_route_table(&self) -> Option<Arc<RouteTable>> {
        self.routes.recent()
    }

    /// Checks whether the routes in memory are outdated, and if so reads them.
    pub async fn refresh_routes(&self) -> Result<(), StoreError> {
        self.newest_routes().await.map(drop)
    }

    /// The same after a change that is committed already. If the routes cannot be read, they are forgotten, and the next submission reads them.
    pub async fn refresh_changed_routes(&self) {
        if let Err(error) = self.newest_routes().await {
            self.routes.clear();
            tracing::warn!(%error, "the routes could not be read after a change; the next submission reads them");
        }
    }

    /// Checks and returns them. Takes the database's time along, so that the time that this process knows is not much older either.
    pub(crate) async fn newest_routes(&self) -> Result<Arc<RouteTable>, StoreError> {
        let mut unit = self.one().await?;
        let (checked_at, known) = (Instant::now(), self.routes.last());
        let rows = sqlx::query!(
            r#"-- store.routes.newest
            SELECT v.version, r.name AS "name?", r.spec::text AS spec, jobqueue.now() - now() + clock_timestamp() AS "now!"
            FROM jobqueue.route_version v LEFT JOIN jobqueue.route r ON v.version IS DISTINCT FROM $1::bigint"#,
            known.as_ref().map(|known| known.version),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        if let Some(row) = rows.first() {
            self.ids.sync(row.now, checked_at);
        }
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
