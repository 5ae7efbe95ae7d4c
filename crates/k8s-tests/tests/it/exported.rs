//! The metrics that the code exports, parsed from their registrations in the source code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::manifests::root;

/// Where metrics are registered.
const CRATES: [&str; 4] = ["api", "reaper", "runtime", "worker"];
/// The functions that create a metric, and whether it has labels. They are followed by the name, the help text and,
/// with labels, a slice of label names.
const MAKERS: [(&str, bool); 4] = [
    ("HistogramOpts::new(", true),
    ("Opts::new(", false),
    ("IntGauge::new(", false),
    ("IntCounter::new(", false),
];
/// From the `prometheus` crate's process collector.
const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// A metric and its labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metric {
    pub(crate) histogram: bool,
    /// Its labels; a scrape adds more.
    pub(crate) labels: BTreeSet<String>,
    /// The bounds of a histogram, as values of `le`.
    pub(crate) bounds: BTreeSet<String>,
    /// The label values that are literals in the source file.
    pub(crate) words: BTreeSet<String>,
}

/// Every metric that the code registers.
pub(crate) fn metrics() -> BTreeMap<String, Metric> {
    let mut metrics: BTreeMap<_, _> =
        PROCESS.into_iter().map(|name| (name.to_owned(), Metric::default())).collect();
    for name in CRATES {
        read(&root().join("crates").join(name).join("src"), &mut metrics);
    }
    assert!(metrics.len() > 35, "the registrations are written differently now: {metrics:?}");
    metrics
}

fn read(path: &Path, metrics: &mut BTreeMap<String, Metric>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap().flatten() {
            read(&entry.path(), metrics);
        }
    } else if path.extension().is_some_and(|ending| ending == "rs") {
        let source = fs::read_to_string(path).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap();
        registrations(source, metrics);
        totals(source, metrics);
    }
}

fn registrations(source: &str, metrics: &mut BTreeMap<String, Metric>) {
    let words = words(source);
    for (maker, histogram) in MAKERS {
        for (at, _) in source.match_indices(maker) {
            let inside_a_longer_name = maker == "Opts::new(" && source[..at].ends_with("Histogram");
            let after = &source[at + maker.len()..];
            let Some(name) = leading_literal(after).filter(|_| !inside_a_longer_name) else { continue };
            let bounds = if histogram { bounds(source, until_the_next(after)) } else { BTreeSet::new() };
            let labels = labels(source, after, maker);
            metrics.insert(name.to_owned(), Metric { histogram, labels, bounds, words: words.clone() });
        }
    }
}

/// The columns of the census, `("job_created_total", "help", |q| …)`; each has the label `queue`.
fn totals(source: &str, metrics: &mut BTreeMap<String, Metric>) {
    let Some((_, table)) = source.split_once("const TOTALS:") else { return };
    let table = table.split("];").next().unwrap();
    for row in table.split("(\"").skip(1) {
        let name = row.split('"').next().unwrap().to_owned();
        metrics.insert(name, Metric { labels: ["queue".to_owned()].into(), ..Metric::default() });
    }
}

/// The literals in `with_label_values(&[…])`, and in `for … in ["…"]`.
fn words(source: &str) -> BTreeSet<String> {
    let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let slices = source.split("with_label_values(&[").skip(1);
    let loops = source.split(" in [").skip(1).filter(|rest| rest.trim_start().starts_with('"'));
    let literals = |text: &str| -> Vec<String> {
        let text = text.split(']').next().unwrap();
        text.split(',')
            .filter_map(|part| part.trim().strip_suffix('"'))
            .map(|word| word.trim_matches('"').to_owned())
            .collect()
    };
    slices.chain(loops).flat_map(literals).collect()
}

/// The argument of `.buckets(…)` of a histogram: a vector, a constant slice, or powers.
fn bounds(source: &str, here: &str) -> BTreeSet<String> {
    let given = here.split_once(".buckets(").unwrap().1;
    let numbers = |text: &str| -> Vec<f64> {
        let text = text.split([']', ')']).next().unwrap();
        text.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect()
    };
    let bounds = if let Some(powers) = given.strip_prefix("exponential_buckets(") {
        let [start, factor, count] = numbers(powers)[..] else { panic!("{powers}") };
        // as the library computes them, each from the one before
        let all = std::iter::successors(Some((start, 1.0)), |(bound, n)| Some((bound * factor, n + 1.0)));
        all.take_while(|(_, n)| *n <= count).map(|(bound, _)| bound).collect()
    } else if let Some(list) = given.strip_prefix("vec![") {
        numbers(list)
    } else {
        let constant = given.split_once(".to_vec()").unwrap().0;
        let declared = source.split_once(&format!("const {constant}: ")).unwrap().1;
        numbers(declared.split_once('=').unwrap().1.trim_start().trim_start_matches('['))
    };
    bounds.into_iter().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]).collect()
}

fn leading_literal(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix('"')?.split('"').next()
}

/// The label names of a metric: a slice `&["queue", "status"]` or constant labels before the next metric, or a slice
/// `let labels = ["queue", "kind"]` that several metrics use.
fn labels(source: &str, after: &str, maker: &str) -> BTreeSet<String> {
    let here = until_the_next(after);
    let constant = here.match_indices(".const_label(\"").map(|(at, found)| &here[at + found.len()..]);
    let mut found: BTreeSet<_> = constant.map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    let shared = if maker.starts_with("Int") { None } else { source.split_once("let labels = [") };
    let own = here.split_once("&[\"").map(|(_, rest)| rest);
    if let Some(slice) = own.or(shared.map(|(_, rest)| rest)).filter(|_| !maker.starts_with("Int")) {
        let names = slice.split(']').next().unwrap().split(',');
        found.extend(
            names.map(|name| name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()),
        );
    }
    found
}

/// The source code of one metric.
fn until_the_next(after: &str) -> &str {
    let next_metric = MAKERS.iter().filter_map(|(maker, _)| after.find(maker)).min();
    &after[..next_metric.unwrap_or(after.len())]
}

/// The metrics that users rely on, by these names and with the label `queue`.
pub(crate) const CONTRACT: [&str; 5] = [
    "job_created_total",
    "job_completed_total",
    "job_failed_total",
    "job_queue_depth",
    "worker_lease_acquired_total",
];

#[test]
fn the_registered_metrics_are_found() {
    let metrics = metrics();
    for name in CONTRACT {
        assert!(metrics[name].labels.contains("queue"), "{name} is in the contract");
    }
    assert!(metrics["job_wait_seconds"].histogram);
    assert!(metrics["http_request_duration_seconds"].histogram);
    for (name, bound, count) in [
        ("job_wait_seconds", "16.384", 10),
        ("http_request_duration_seconds", "2.5", 14),
        ("reaper_run_seconds", "60", 8),
    ] {
        let bounds = &metrics[name].bounds;
        assert!(bounds.contains(bound) && bounds.len() == count + 1, "{name}: {bounds:?}");
    }
    let words = |name: &str| metrics[name].words.iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(words("reaper_runs_total"), ["error", "ok"]);
    assert_eq!(words("job_queue_jobs"), ["queued", "running", "scheduled"]);
    for word in ["busy", "idle", "long_polls"] {
        assert!(words("api_database_connections").contains(&word), "{word}");
    }
    assert_eq!(metrics["reaper_runs_total"].labels, ["duty", "outcome"].map(str::to_owned).into());
    assert!(metrics["jobqueue_build_info"].labels.contains("version"));
    assert!(metrics["worker_slots"].labels.is_empty());
    let odd: Vec<_> =
        metrics.keys().filter(|name| !name.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect();
    assert!(odd.is_empty(), "{odd:?}");
}
