//! schedules: how long it takes until many cron schedules that are due at the same time have their jobs, and how late jobs of 200 schedules a
//! second start.

use std::time::Duration;

use anyhow::Context as _;

use super::{STUCK, Sizes, progress, wait_for_completed};
use crate::cost::Meter;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::report::Figure;
use crate::server::BenchServer;
use crate::stats::Latency;
use crate::submissions::KIND;

/// Schedules with one tick a second each. Their ticks are spread evenly over the second.
const STEADY: u32 = 200;
/// How often the ticks are counted.
const POLL: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) async fn round(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    let mut figures = vec![at_once(server, sizes).await?];
    figures.extend(steadily(server, sizes).await?);
    Ok(figures)
}

/// All are due at one time, which is later than the time that the reaper takes to plan them, and then every hour.
async fn at_once(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Figure> {
    server.reset().await?;
    let (schedules, lead) = (sizes.shallow, sizes.short * 2 + Duration::from_secs(4));
    let reaper = Process::reaper(server.url())?;
    let mut connection = server.connection().await?;
    let (due, cron): (String, String) = sqlx::query_as(
        "SELECT due::text, to_char(due AT TIME ZONE 'UTC', 'FMSS FMMI') || ' * * * *'
         FROM date_trunc('second', now() + $1 * interval '1 s') AS due",
    )
    .bind(lead.as_secs_f64())
    .fetch_one(&mut connection)
    .await?;
    sqlx::query("SELECT count(jobqueue.schedule('s' || n, $2, $1)) FROM generate_series(1, $3) n")
        .bind(KIND)
        .bind(cron)
        .bind(i32::try_from(schedules)?)
        .execute(&mut connection)
        .await?;
    let planned = "SELECT count(*) FROM jobqueue.schedule WHERE next_at IS NOT NULL";
    wait_for(server, planned, schedules).await?;
    let early: bool = sqlx::query_scalar("SELECT clock_timestamp() < $1::timestamptz")
        .bind(&due)
        .fetch_one(&mut connection)
        .await?;
    anyhow::ensure!(early, "the schedules were planned only after they were due");
    let before = Meter::read(server, [&reaper]).await?;
    let bar = progress("schedules", schedules);
    let seconds = loop {
        let (ticks, seconds): (i64, f64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM jobqueue.tick WHERE fate = 'fired' AND nominal_at = $1::timestamptz),
                    extract(epoch FROM clock_timestamp() - $1::timestamptz)::float8",
        )
        .bind(&due)
        .fetch_one(&mut connection)
        .await?;
        bar.set_position(u64::try_from(ticks)?);
        if usize::try_from(ticks)? >= schedules {
            break seconds;
        }
        anyhow::ensure!(seconds < STUCK.as_secs_f64(), "{ticks} of {schedules} ticks after {seconds} s");
        tokio::time::sleep(POLL).await;
    };
    bar.finish_and_clear();
    let jobs = u64::try_from(schedules)?;
    let cost = before.per_job(&Meter::read(server, [&reaper]).await?, jobs);
    reaper.stop().await?;
    anyhow::ensure!(server.count("queued").await? == jobs, "not every tick has one job");
    anyhow::ensure!(latencies(server, "t.decided_at").await?.len() == schedules, "there were more ticks");
    let what = format!("{schedules} cron schedules due at once, until all have a job");
    Ok(Figure::plain("schedules", what, "s", seconds).with_cost(&cost))
}

/// From the time of a tick to the start of its job, by the clock of the database.
async fn steadily(server: &BenchServer, sizes: Sizes) -> anyhow::Result<Vec<Figure>> {
    server.reset().await?;
    let store = server.store()?;
    let worker = Process::worker(server.url(), 100, 0)?;
    let reaper = Process::reaper(server.url())?;
    let spread = "SELECT count(jobqueue.schedule('s' || n, kind => $1, interval_seconds => 1,
                         anchor => date_trunc('second', now()) + n * interval '1 s' / $2::int)) FROM generate_series(1, $2::int) n";
    sqlx::query(spread)
        .bind(KIND)
        .bind(i32::try_from(STEADY)?)
        .execute(&mut server.connection().await?)
        .await?;
    let begun = "SELECT count(*) FROM jobqueue.schedule WHERE runs > 0";
    wait_for(server, begun, usize::try_from(STEADY)?).await?;
    let before = Meter::read(server, [&worker, &reaper]).await?;
    tokio::time::sleep(sizes.short * 6).await;
    let after = Meter::read(server, [&worker, &reaper]).await?;
    reaper.stop().await?;
    let jobs = u64::try_from(server.number("SELECT sum(runs)::bigint FROM jobqueue.schedule").await?)?;
    wait_for_completed(&store, jobs, &progress("schedules", usize::try_from(jobs)?)).await?;
    let micros = latencies(server, "o.started_at").await?;
    anyhow::ensure!(u64::try_from(micros.len())? == jobs, "{} ticks have {jobs} jobs", micros.len());
    store.close().await;
    Ledger::take(&[worker.stop().await?])?.prove_exactly_once(server.completed().await?)?;
    let latency = Latency::of_micros(micros)?;
    let figure = |(quantile, ms): (&str, f64)| {
        Figure::plain(
            "schedules",
            format!("tick to start, {STEADY} schedules a second, {quantile}"),
            "ms",
            ms,
        )
    };
    let [median, tail @ ..] = latency.named().map(figure);
    Ok([median.with_cost(&before.per_second(&after))].into_iter().chain(tail).collect())
}

/// The time from each tick to `event`, in microseconds.
async fn latencies(server: &BenchServer, event: &str) -> anyhow::Result<Vec<u64>> {
    let ticks = format!(
        "SELECT t.fate, (extract(epoch FROM {event} - t.nominal_at) * 1000000)::bigint
         FROM jobqueue.tick t LEFT JOIN jobqueue.outcome o ON o.job_id = t.job_id"
    );
    let ticks: Vec<(String, Option<i64>)> =
        sqlx::query_as(&ticks).fetch_all(&mut server.connection().await?).await?;
    ticks.into_iter().map(|(fate, micros)| lateness(&fate, micros)).collect()
}

/// The run counts for nothing if a tick has no job, or if an event is before its tick: then there are no figures to report.
fn lateness(fate: &str, micros: Option<i64>) -> anyhow::Result<u64> {
    anyhow::ensure!(fate == "fired", "the fate of a tick is {fate}");
    let micros = micros.context("the job of a tick has no such time")?;
    u64::try_from(micros).with_context(|| format!("{micros} µs after its tick is before it"))
}

/// Waits until a query returns `count`.
async fn wait_for(server: &BenchServer, query: &str, count: usize) -> anyhow::Result<()> {
    let wanted = i64::try_from(count)?;
    let reached = async {
        while server.number(query).await? < wanted {
            tokio::time::sleep(POLL * 5).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(STUCK, reached).await.with_context(|| format!("{query} does not reach {count}"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_without_a_job_and_a_start_before_its_tick_fail_the_run() {
        assert_eq!(lateness("fired", Some(7)).unwrap(), 7);
        for (fate, micros) in [("fired", Some(-1)), ("fired", None), ("missed", None), ("overlap", Some(7))] {
            assert!(lateness(fate, micros).is_err(), "{fate} {micros:?}");
        }
    }
}
