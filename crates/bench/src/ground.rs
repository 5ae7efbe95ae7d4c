//! The ground that everything stands on: a fresh durable Postgres, and what it says about itself.

use std::time::Duration;

use anyhow::Context as _;
use jobqueue_embedded::{Server, ServerOptions, find_binaries};
use jobqueue_store::{Pooler, Store, StoreOptions};
use sqlx::{Connection as _, PgConnection};

/// Name of the database under test.
const NAME: &str = "bench";

/// A server of its own, for one run.
pub(crate) struct Ground {
    server: Server,
    url: String,
    rest: Duration,
}

/// What the database says of completed jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completed {
    pub(crate) jobs: u64,
    /// The lower halves of their ids, by exclusive or: the same for the same set.
    pub(crate) ids: i64,
    /// Attempts of theirs, and of others, that were to be retried.
    pub(crate) retried: u64,
}

impl Ground {
    /// Starts the server with fsync, synchronous_commit and full_page_writes on; it counts `statements` if asked to. A fresh database is
    /// left alone for `rest`.
    pub(crate) async fn new(statements: bool, rest: Duration) -> anyhow::Result<Self> {
        let bin = find_binaries()?;
        let mut options = ServerOptions::throw_away(bin);
        options.durable = true;
        for (name, value) in [
            ("shared_buffers", "2GB"),
            ("max_wal_size", "8GB"),
            ("checkpoint_timeout", "5min"),
            ("max_connections", "300"),
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
        ] {
            options = options.set(name, value);
        }
        if statements {
            options = options.set("shared_preload_libraries", "pg_stat_statements");
            options = options.set("pg_stat_statements.track_planning", "on");
        }
        let server = tokio::task::spawn_blocking(move || Server::start(options)).await??;
        server.create_database(NAME)?;
        let url = server.database_url(NAME);
        let ground = Self { server, url, rest };
        ground.migrate().await?;
        Ok(ground)
    }

    /// The schema with the days of a week of work, which are empty.
    async fn migrate(&self) -> anyhow::Result<()> {
        Store::migrate(&self.url).await?;
        sqlx::raw_sql(include_str!("week.sql")).execute(&mut self.connection().await?).await?;
        Ok(())
    }

    /// An empty schema again; between measurements.
    pub(crate) async fn fresh(&self) -> anyhow::Result<()> {
        self.server.drop_database(NAME)?;
        self.server.create_database(NAME)?;
        self.migrate().await?;
        self.checkpoint().await?;
        // a file system that discards what was deleted makes everybody's flushes wait meanwhile: p95 of 200 ms instead of 4
        tokio::time::sleep(self.rest).await;
        Ok(())
    }

    /// Where to connect.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A store as the product opens it.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::connect_lazy(&StoreOptions {
            url: self.url.clone(),
            application_name: "jobqueue-bench".to_owned(),
            max_connections: 16,
            connect_timeout: Duration::from_secs(10),
            pooler: Pooler::None,
        })?)
    }

    /// A bare connection.
    pub(crate) async fn connection(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(&self.url).await?)
    }

    /// Flushes dirty pages, so that a measurement does not pay for the one before.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        sqlx::raw_sql("CHECKPOINT").execute(&mut self.connection().await?).await?;
        Ok(())
    }

    /// What autovacuum would do when it comes.
    pub(crate) async fn vacuum(&self) -> anyhow::Result<()> {
        sqlx::raw_sql("VACUUM (ANALYZE)").execute(&mut self.connection().await?).await?;
        Ok(())
    }

    /// Which jobs were completed and how many attempts were retried, for the ledger.
    pub(crate) async fn completed(&self) -> anyhow::Result<Completed> {
        let query = "SELECT count(*), coalesce(bit_xor(('x' || right(translate(job_id::text, '-', ''), 16))::bit(64)), 0::bit(64))::bigint,
                            (SELECT count(*) FROM jobqueue.attempt WHERE ended = 'retried')
                     FROM jobqueue.outcome WHERE status = 5";
        let (jobs, ids, retried): (i64, i64, i64) =
            sqlx::query_as(query).fetch_one(&mut self.connection().await?).await?;
        Ok(Completed { jobs: u64::try_from(jobs)?, ids, retried: u64::try_from(retried)? })
    }

    /// Counts jobs of a status; cheap only after the measurement.
    pub(crate) async fn count(&self, status: &str) -> anyhow::Result<u64> {
        let query = "SELECT count(*) FROM jobs WHERE status = $1";
        let n: i64 = sqlx::query_scalar(query).bind(status).fetch_one(&mut self.connection().await?).await?;
        Ok(u64::try_from(n)?)
    }

    /// One number out of a query.
    pub(crate) async fn number(&self, query: &str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(query).fetch_one(&mut self.connection().await?).await?)
    }

    /// What the statements took so far, a line each: the dearest of each measurement, for each has a database of its own.
    pub(crate) async fn statements(&self) -> anyhow::Result<Vec<String>> {
        let query = "SELECT format('%6s  %8s calls %8s ms %8s ms each, planned %8s times %8s ms each %9s rows  %s', dbid, calls,
                                   total_exec_time::bigint, mean_exec_time::numeric(10, 2), plans, mean_plan_time::numeric(10, 2),
                                   rows, left(regexp_replace(query, '\\s+', ' ', 'g'), 60))
                     FROM (SELECT DISTINCT dbid AS id FROM pg_stat_statements) d
                     CROSS JOIN LATERAL (SELECT * FROM pg_stat_statements s
                                         WHERE s.dbid = d.id AND (query LIKE '-- store.%' OR query LIKE '%FROM jobs%')
                                         ORDER BY total_exec_time DESC LIMIT 15) dearest
                     ORDER BY dbid, total_exec_time DESC";
        let mut connection = self.connection().await?;
        sqlx::raw_sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").execute(&mut connection).await?;
        Ok(sqlx::query_scalar(query).fetch_all(&mut connection).await?)
    }

    /// Process id of the server.
    pub(crate) fn postmaster(&self) -> anyhow::Result<u32> {
        self.server.pid().context("the server is gone")
    }
}
