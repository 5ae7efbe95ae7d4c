//! `doctor`: checks the database and the queue, and says what to do.

use std::time::Duration;

use clap::Args;
use jobqueue_core::doctor::{HealthFacts, Severity, examine};
use jobqueue_runtime::{DatabaseArgs, PoolerArg};
use jobqueue_store::{DatabaseUrl, Pooler, Store, StoreError, StoreOptions};
use serde_json::value::RawValue;

use crate::connection::ClientArgs;
use crate::exit::{CommandError, CommandResult, Exit};
use crate::output::OutputArgs;
use crate::resource::{FINDING, View};

pub(crate) const EXAMPLES: &str = "\
Examples:
  jobqueue doctor                                      checks the database at DATABASE_URL
  jobqueue doctor --url http://127.0.0.1:8000          asks the API as well, and compares the clocks
  jobqueue doctor --quiet --strict                     prints only what is wrong, for a cron job
  jobqueue doctor -o json

It needs a role that may read the tables of jobqueue. With pg_monitor it also sees the sessions of other roles. It exits with 1 if it
found an error, with --strict also for a warning.";

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Exit with 1 for a warning, too.
    #[arg(long)]
    strict: bool,

    /// Print only what is wrong.
    #[arg(long)]
    quiet: bool,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    api: ClientArgs,
}

pub(crate) async fn run(args: DoctorArgs) -> CommandResult {
    let mut facts = facts(&args.database).await?;
    if args.api.is_given() {
        ask_api(&args.api, &mut facts).await?;
    }
    let mut findings = examine(&facts);
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
    if args.quiet {
        findings.retain(|finding| finding.severity > Severity::Ok);
    }
    let objects = findings.iter().map(|finding| {
        let text = serde_json::to_string(finding).map_err(CommandError::internal)?;
        RawValue::from_string(text).map_err(CommandError::internal)
    });
    let objects = objects.collect::<CommandResult<Vec<Box<RawValue>>>>()?;
    if !(objects.is_empty() && args.output.is_table()) {
        args.output.many(&FINDING, &objects, &View::default())?;
    }
    let bound = if args.strict { Severity::Warning } else { Severity::Error };
    Ok(if worst >= bound { Exit::Unmet } else { Exit::Done })
}

async fn facts(database: &DatabaseArgs) -> CommandResult<HealthFacts> {
    let options = StoreOptions {
        url: DatabaseUrl::new(database.url(), database.url_file()),
        application_name: "jobqueue-doctor".to_owned(),
        max_connections: 1,
        connect_timeout: database.database_connect_timeout.max(Duration::from_secs(1)),
        pooler: match database.database_pooler {
            PoolerArg::None => Pooler::None,
            PoolerArg::Transaction => Pooler::Transaction,
        },
    };
    let store = Store::connect_lazy(&options).map_err(|error| CommandError::usage(error.to_string()))?;
    let facts = store.health_facts().await.map_err(refusal);
    store.close().await;
    facts
}

fn refusal(error: StoreError) -> CommandError {
    match error {
        StoreError::Url(reason) => CommandError::usage(reason.to_string()),
        StoreError::Unreachable { .. } | StoreError::Interrupted { .. } | StoreError::Abandoned(_) => {
            CommandError::new(Exit::Unreachable, format!("{error} (DATABASE_URL)"))
        }
        other => CommandError::internal(other),
    }
}

/// Asks the API, and compares its clock with the database's.
async fn ask_api(api: &ClientArgs, facts: &mut HealthFacts) -> CommandResult<()> {
    let client = api.client()?;
    match client.get(&["v1", "stats"], &[("limit", "1".to_owned())]).await {
        Ok(_) => {
            let ahead = client.view().now.map(|now| now.signed_duration_since(facts.now).num_seconds());
            facts.api_ahead_seconds = ahead.and_then(|seconds| i32::try_from(seconds).ok()).map(f64::from);
        }
        Err(error) => facts.api_refusal = Some(error.to_string()),
    }
    Ok(())
}
