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

    /// Bounds the statements of this transaction: a filter can match nothing and yet walk millions of jobs.
    pub(crate) async fn be_brief(unit: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query!("SET LOCAL statement_timeout = '5s'").execute(unit).await?;
        Ok(())
    }
}

impl StoreError {
    /// The error of a transaction that was told to be brief, named for what it means there.
    pub(crate) fn of_walk(self) -> Self {
        match self {
            Self::Unavailable(sqlx::Error::Database(error)) if error.code().is_some_and(|c| c == "57014") => {
                Self::TooBroad
            }
            other => other,
        }
    }
}
