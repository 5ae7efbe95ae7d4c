//! Room for everybody: what may walk far gets little time, and what must not wait gets connections of its own.

use sqlx::PgConnection;

use crate::connect::Store;
use crate::error::StoreError;

impl Store {
    /// The same queue through other connections, up to `most`: whoever holds up all of ours does not hold up those.
    #[must_use]
    pub fn apart(&self, most: u32) -> Self {
        let connect = (*self.pool.connect_options()).clone();
        let pool = self.pool.options().clone().max_connections(most.max(1)).connect_lazy_with(connect);
        Self { pool, ..self.clone() }
    }

    /// Most connections that it opens.
    pub fn max_connections(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    /// Bounds the statements of this transaction, for a filter can match nothing and yet walk millions of jobs, and has them planned for
    /// what is asked, for most parts of a filter are usually not.
    pub(crate) async fn before_walk(unit: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query!(
            r#"-- store.walk
            SELECT set_config('statement_timeout', '5s', true) AS "timeout!",
                   set_config('plan_cache_mode', 'force_custom_plan', true) AS "plans!""#
        )
        .fetch_one(unit)
        .await?;
        Ok(())
    }
}

impl StoreError {
    /// The error of a transaction that walks, named for what it means there.
    pub(crate) fn of_walk(self) -> Self {
        match self {
            Self::Unavailable(sqlx::Error::Database(error)) if error.code().is_some_and(|c| c == "57014") => {
                Self::TooBroad
            }
            other => other,
        }
    }
}
