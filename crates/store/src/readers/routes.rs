//! Reads routes.

use chrono::{DateTime, Utc};
use jobqueue_core::{JobRoute, Json, RouteName};

use crate::handles::Routes;
use crate::plumbing::connect::Unit;
use crate::plumbing::error::StoreError;

/// A stored route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteRecord {
    /// Its number. A route of the same name that is created after its deletion has another one.
    pub id: i64,
    /// Counts what users change, from 1.
    pub version: i64,
    /// Its name.
    pub name: RouteName,
    /// Its place in the order in which routes are tried.
    pub position: i32,
    /// Everything that the user set, as JSON of a `RouteDraft`.
    pub spec: Json,
    /// What manages it, from the spec.
    pub owner: Option<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When a user last changed it.
    pub changed_at: DateTime<Utc>,
}

impl RouteRecord {
    /// The checked route, or what is wrong with it.
    pub fn parsed(&self) -> Result<JobRoute, String> {
        JobRoute::of_stored(&self.name, &self.spec)
    }
}

/// A row of `route`.
pub(crate) struct RouteRow {
    pub(crate) id: i64,
    pub(crate) version: i64,
    pub(crate) name: String,
    pub(crate) position: i32,
    pub(crate) spec: String,
    pub(crate) owner: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) changed_at: DateTime<Utc>,
}

impl TryFrom<RouteRow> for RouteRecord {
    type Error = StoreError;

    fn try_from(row: RouteRow) -> Result<Self, StoreError> {
        let corrupt = |column, what: String| {
            let row = row.id.to_string();
            StoreError::Corrupt { table: "route", column, row, what }
        };
        Ok(Self {
            id: row.id,
            version: row.version,
            name: RouteName::try_from(row.name).map_err(|error| corrupt("name", error.to_string()))?,
            position: row.position,
            spec: Json::from_stored(row.spec).map_err(|error| corrupt("spec", error.to_string()))?,
            owner: row.owner,
            created_at: row.created_at,
            changed_at: row.changed_at,
        })
    }
}

impl Routes<'_> {
    /// One route.
    pub async fn get(&self, name: &RouteName) -> Result<Option<RouteRecord>, StoreError> {
        let mut unit = self.0.one().await?;
        let record = Self::read(&mut unit, name).await?;
        unit.commit().await?;
        Ok(record)
    }

    /// Up to `limit` routes in the order in which they are tried, those after `after`, and whether there are more.
    pub async fn list(
        &self,
        owner: Option<&str>,
        after: Option<&(i32, RouteName)>,
        limit: u32,
    ) -> Result<(Vec<RouteRecord>, bool), StoreError> {
        let mut unit = self.0.one().await?;
        let mut rows = sqlx::query_as!(
            RouteRow,
            r#"-- store.routes
            SELECT id, version, name, position, spec::text AS "spec!", owner, created_at, changed_at
            FROM jobqueue.route
            WHERE (position, name) > ($1, $2) AND ($3::text IS NULL OR owner = $3)
            ORDER BY position, name LIMIT $4::bigint + 1"#,
            after.map_or(i32::MIN, |(position, _)| *position),
            after.map_or("", |(_, name)| name.as_str()),
            owner,
            i64::from(limit),
        )
        .fetch_all(&mut *unit)
        .await?;
        unit.commit().await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows.into_iter().map(RouteRecord::try_from).collect::<Result<_, _>>()?, more))
    }

    /// One route, in the caller's transaction.
    pub(crate) async fn read(unit: &mut Unit, name: &RouteName) -> Result<Option<RouteRecord>, StoreError> {
        let row = sqlx::query_as!(
            RouteRow,
            r#"-- store.route
            SELECT id, version, name, position, spec::text AS "spec!", owner, created_at, changed_at
            FROM jobqueue.route WHERE name = $1"#,
            name.as_str(),
        )
        .fetch_optional(&mut **unit)
        .await?;
        row.map(RouteRecord::try_from).transpose()
    }
}
