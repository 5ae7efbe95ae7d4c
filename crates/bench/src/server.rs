//! The Postgres server of a run: new, durable, with queries about its contents.

use std::time::Duration;

use anyhow::Context as _;
use jobqueue_embedded::{Server, ServerOptions, find_binaries};
use jobqueue_store::{Pooler, Store, StoreOptions};
use sqlx::{Connection as _, PgConnection};

/// Name of the database under test.
const NAME: &str = "bench";

/// The private server of one run.
pub(crate) struct BenchServer {
    server: Server,
    url: String,
    rest: Duration,
}

/// The completed jobs according to the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completed {
    pub(crate) jobs: u64,
    /// The exclusive or of the lower halves of their ids, which is equal for equal sets.
    pub(crate) ids: i64,
    /// The number of attempts of all jobs that were retried.
    pub(crate) retried: u64,
}

impl BenchServer {
    /// Starts the server with fsync, synchronous_commit and full_page_writes on. `statements` enables
    /// `pg_stat_statements`. After a reset, the server is idle for `rest`.
    pub(crate) async fn new(statements: bool, rest: Duration) -> anyhow::Result<Self> {
        let bin = find_binaries()?;
        let mut options = ServerOptions::temporary(bin);
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
        let bench = Self { server, url, rest };
        bench.migrate().await?;
        Ok(bench)
    }

    /// Creates the schema with the empty tables of a week of days.
    async fn migrate(&self) -> anyhow::Result<()> {
        Store::migrate(self.url.as_str()).await?;
        sqlx::raw_sql(include_str!("week.sql")).execute(&mut self.connection().await?).await?;
        Ok(())
    }

    /// Replaces the database by an empty one, between measurements.
    pub(crate) async fn reset(&self) -> anyhow::Result<()> {
        self.server.drop_database(NAME)?;
        self.server.create_database(NAME)?;
        self.migrate().await?;
        self.checkpoint().await?;
        // while the file system discards deleted files, all flushes are slower: p95 of 200 ms instead of 4
        tokio::time::sleep(self.rest).await;
        Ok(())
    }

    /// The connection URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A store as the product opens it.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::connect_lazy(&StoreOptions {
            url: self.url.as_str().into(),
            application_name: "jobqueue-bench".to_owned(),
            max_connections: 16,
            connect_timeout: Duration::from_secs(10),
            pooler: Pooler::None,
        })?)
    }

    /// A connection without the product's settings.
    pub(crate) async fn connection(&self) -> anyhow::Result<PgConnection> {
        Ok(PgConnection::connect(&self.url).await?)
    }

    /// Flushes dirty pages, so that the cost of one measurement does not appear in the next.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        sqlx::raw_sql("CHECKPOINT").execute(&mut self.connection().await?).await?;
        Ok(())
    }

    /// Does what autovacuum would do.
    pub(crate) async fn vacuum(&self) -> anyhow::Result<()> {
        sqlx::raw_sql("VACUUM (ANALYZE)").execute(&mut self.connection().await?).await?;
        Ok(())
    }

    /// The completed jobs and the number of retried attempts, to compare with the ledger.
    pub(crate) async fn completed(&self) -> anyhow::Result<Completed> {
        let query = "SELECT count(*), coalesce(bit_xor(('x' || right(translate(job_id::text, '-', ''), 16))::bit(64)), 0::bit(64))::bigint,
                            (SELECT count(*) FROM jobqueue.attempt WHERE ended = 'retried')
                     FROM jobqueue.outcome WHERE status = 5";
        let (jobs, ids, retried): (i64, i64, i64) =
            sqlx::query_as(query).fetch_one(&mut self.connection().await?).await?;
        Ok(Completed { jobs: u64::try_from(jobs)?, ids, retried: u64::try_from(retried)? })
    }

    /// Counts the jobs in a status. This is slow, so it is used only after a measurement.
    pub(crate) async fn count(&self, status: &str) -> anyhow::Result<u64> {
        let query = "SELECT count(*) FROM jobs WHERE status = $1";
        let n: i64 = sqlx::query_scalar(query).bind(status).fetch_one(&mut self.connection().await?).await?;
        Ok(u64::try_from(n)?)
    }

    /// The number that a query returns.
    pub(crate) async fn number(&self, query: &str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(query).fetch_one(&mut self.connection().await?).await?)
    }

    /// The time of the most expensive statements of each measurement, one line each. Measurements are distinguished by
    /// their databases.
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
    pub(crate) fn process_id(&self) -> anyhow::Result<u32> {
        self.server.pid().context("the server has ended")
    }
}
