//! The jobs of the demo: programs of this machine count the words of every paragraph of a text and hash it,
//! and a local HTTP server receives it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jobqueue_runtime::Shutdown;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::args::DemoArgs;
use crate::client::Client;
use crate::resource;

/// The text that is used without `--input`.
const LICENCE: &str = include_str!("../../../../LICENSE-APACHE");
/// Maximum number of jobs of one batch request.
const BATCH: usize = 500;
/// Maximum wait of one request.
const WAIT: Duration = Duration::from_secs(10);

/// Submits the jobs, shows their progress and prints a summary.
pub(crate) async fn run(args: &DemoArgs, client: &Client, shutdown: &Shutdown) -> anyhow::Result<()> {
    let text = match &args.input {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => LICENCE.to_owned(),
    };
    let jobs = jobs(&text);
    println!("Submitting {} jobs for the paragraphs of the text, and one that always fails:", jobs.len() - 1);
    let mut ids = Vec::new();
    for batch in jobs.chunks(BATCH) {
        let body = json!({ "jobs": batch }).to_string();
        let answer = value(&client.post(&["v1", "jobs", "batch"], Some(&body)).await?)?;
        ids.extend(answer["items"].as_array().into_iter().flatten().filter_map(id_of));
    }
    let done = watch(&ids, client, shutdown).await?;
    report(&done);
    if let Some(failed) = done.iter().find(|job| job["status"] == "failed") {
        let id = failed["id"].as_str().unwrap_or_default();
        let attempts = value(&client.get(&["v1", "jobs", id, "attempts"], &[]).await?)?;
        let count = attempts["attempts"].as_array().map_or(0, Vec::len);
        println!(
            "\n{id} (always.fails) is a dead letter after {count} attempts: {}",
            failed["error"]["message"]
        );
    }
    Ok(())
}

fn jobs(text: &str) -> Vec<Value> {
    let paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    let job = |kind: &str, paragraph: &str| json!({ "kind": kind, "payload": paragraph, "tags": ["demo"] });
    let mut jobs: Vec<Value> = paragraphs
        .flat_map(|paragraph| {
            ["text.words", "text.checksum", "text.deliver"].map(|kind| job(kind, paragraph))
        })
        .collect();
    jobs.push(json!({
        "kind": "always.fails",
        "max_attempts": 3,
        "retry": { "strategy": "fixed", "delay_seconds": 0.5 },
        "tags": ["demo"],
    }));
    jobs
}

fn id_of(item: &Value) -> Option<String> {
    item["job"]["id"].as_str().map(ToOwned::to_owned)
}

async fn watch(ids: &[String], client: &Client, shutdown: &Shutdown) -> anyhow::Result<Vec<Value>> {
    let bar = ProgressBar::new(u64::try_from(ids.len())?).with_style(
        ProgressStyle::with_template("  {bar:40} {pos}/{len} jobs, {elapsed}")
            .unwrap_or(ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut done = Vec::with_capacity(ids.len());
    for id in ids {
        let mut job = value(&client.job(id, WAIT).await?)?;
        while !is_final(&job) && !shutdown.soft().is_cancelled() {
            job = value(&client.job(id, WAIT).await?)?;
        }
        done.push(job);
        bar.inc(1);
    }
    bar.finish();
    Ok(done)
}

fn value(answer: &RawValue) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(answer.get())?)
}

fn is_final(job: &Value) -> bool {
    job["status"].as_str().is_some_and(resource::is_final)
}

fn report(done: &[Value]) {
    let mut kinds: BTreeMap<&str, (BTreeMap<&str, usize>, &Value)> = BTreeMap::new();
    for job in done {
        let text = |key: &str| job[key].as_str().unwrap_or("unknown");
        let (statuses, sample) = kinds.entry(text("kind")).or_insert((BTreeMap::new(), &Value::Null));
        *statuses.entry(text("status")).or_default() += 1;
        if sample.is_null() {
            *sample = &job["result"];
        }
    }
    println!("\n  {:<16} {:<16} a result", "kind", "status");
    for (kind, (statuses, sample)) in kinds {
        for (status, count) in statuses {
            println!("  {kind:<16} {:<16} {}", format!("{count} {status}"), shortened(sample));
        }
    }
}

fn shortened(value: &Value) -> String {
    let text = if value.is_null() { "-".to_owned() } else { value.to_string() };
    match text.char_indices().nth(90) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
