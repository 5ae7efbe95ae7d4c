//! Every metric in a rule, a dashboard, an adapter or an autoscaler is exported, with the labels that the expression
//! uses.

use std::collections::{BTreeMap, BTreeSet};

use jobqueue_core::Status;
use serde_json::Value;

use crate::exported::{CONTRACT, Metric, metrics};
use crate::manifests::{base, list, parse, read, text, variant};
use crate::promql::{self, Matcher, Use};

/// Added by the scrape.
const SCRAPED: [&str; 5] = ["namespace", "pod", "job", "instance", "container"];
/// Labels with arbitrary values.
const OPEN: [&str; 4] = ["queue", "kind", "version", "revision"];
/// Metrics of other exporters: the exporter, the metric, and the labels that our expressions use.
const OTHER_EXPORTERS: [(&str, &str, &[&str]); 14] = [
    ("Prometheus", "up", &[]),
    ("kube-state-metrics", "kube_horizontalpodautoscaler_spec_max_replicas", &["horizontalpodautoscaler"]),
    (
        "kube-state-metrics",
        "kube_horizontalpodautoscaler_status_current_replicas",
        &["horizontalpodautoscaler"],
    ),
    ("kube-state-metrics", "kube_horizontalpodautoscaler_status_condition", &["condition", "status"]),
    ("the kubelet", "kubelet_volume_stats_available_bytes", &["persistentvolumeclaim"]),
    ("the kubelet", "kubelet_volume_stats_capacity_bytes", &["persistentvolumeclaim"]),
    ("CloudNativePG", "cnpg_collector_pg_wal", &["value"]),
    ("CloudNativePG", "cnpg_collector_pg_wal_archive_status", &["value"]),
    ("CloudNativePG", "cnpg_pg_replication_in_recovery", &[]),
    ("CloudNativePG", "cnpg_pg_replication_lag", &[]),
    ("CloudNativePG", "cnpg_pg_replication_streaming_replicas", &[]),
    ("CloudNativePG", "cnpg_pg_stat_archiver_last_archived_time", &[]),
    ("CloudNativePG", "cnpg_pg_stat_archiver_last_failed_time", &[]),
    ("barman-cloud", "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp", &[]),
];

/// The mistakes in an expression.
fn findings(expression: &str) -> Vec<String> {
    let exported = metrics();
    let used = promql::metrics(expression);
    used.iter().flat_map(|used| findings_of(used, &exported)).collect()
}

fn findings_of(used: &Use, exported: &BTreeMap<String, Metric>) -> Vec<String> {
    let name = used.name.as_str();
    let wanted = used.matchers.iter().filter(|wanted| !SCRAPED.contains(&wanted.label.as_str()));
    if let Some((whose, _, labels)) = OTHER_EXPORTERS.iter().find(|(_, foreign, _)| *foreign == name) {
        let unknown = wanted.filter(|wanted| !labels.contains(&wanted.label.as_str()));
        return unknown.map(|wanted| format!("{name} of {whose} has no label {}", wanted.label)).collect();
    }
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
    let histogram = base.and_then(|base| exported.get(base)).filter(|metric| metric.histogram);
    let Some(metric) = histogram.or_else(|| exported.get(name).filter(|metric| !metric.histogram)) else {
        return vec![format!("no exporter has {name}")];
    };
    wanted.filter_map(|wanted| finding(name, metric, wanted)).collect()
}

fn finding(name: &str, metric: &Metric, wanted: &Matcher) -> Option<String> {
    let Matcher { label, value, .. } = wanted;
    let known = match label.as_str() {
        "le" if name.ends_with("_bucket") => metric.bounds.clone(),
        _ if !metric.labels.contains(label) => return Some(format!("{name} has no label {label}")),
        open if OPEN.contains(&open) || value.starts_with('$') => return None,
        closed => values(name, metric, closed),
    };
    let is_known = known.iter().any(|known| wanted.names(known));
    (!is_known).then(|| format!("{name} has no {label} {value}, but {known:?}"))
}

/// Every value of a label with a fixed set of values.
fn values(name: &str, metric: &Metric, label: &str) -> BTreeSet<String> {
    let routes = jobqueue_api::table();
    match (name, label) {
        (_, "route") => routes.iter().map(|route| route.path.to_owned()).collect(),
        (_, "method") => routes.iter().map(|route| route.method.to_owned()).collect(),
        (_, "status") if name.starts_with("http_") => (200..600).map(|status| status.to_string()).collect(),
        ("worker_attempts_total", "status") => Status::ALL.map(|status| status.as_str().to_owned()).into(),
        _ => metric.words.clone(),
    }
}

/// Collects every `expr` and `query` of a tree.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => found.push(text.clone()),
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn typos_are_found() {
    assert_eq!(findings("rate(job_created_totl[5m])").len(), 1);
    assert_eq!(findings(r#"job_queue_depth{que="a"}"#).len(), 1);
    assert_eq!(findings(r#"kubelet_volume_stats_available_bytes{pvc="a"}"#).len(), 1);
    assert_eq!(findings("job_wait_seconds").len(), 1, "a histogram has no series of this name");
    for (right, wrong) in [
        (r#"job_wait_seconds_bucket{le="16.384"}"#, r#"job_wait_seconds_bucket{le="16"}"#),
        (r#"job_wait_seconds_bucket{le="+Inf"}"#, r#"job_wait_seconds_count{le="+Inf"}"#),
        (r#"reaper_runs_total{outcome="error"}"#, r#"reaper_runs_total{outcome="failed"}"#),
        (r#"api_database_connections{state=~"busy|idle"}"#, r#"api_database_connections{state!="used"}"#),
        (r#"job_queue_jobs{status="queued"}"#, r#"job_queue_jobs{status="completed"}"#),
        (r#"worker_attempts_total{status="failed"}"#, r#"worker_attempts_total{status="ok"}"#),
    ] {
        assert_eq!(findings(right), [""; 0]);
        assert_eq!(findings(wrong).len(), 1, "{wrong}");
    }
    for wrong in [r#"{route="/v1/job"}"#, r#"{method="TRACE"}"#, r#"{status=~"5xx"}"#, r#"{route=~"/v2/.*"}"#]
    {
        assert_eq!(findings(&format!("http_request_duration_seconds_count{wrong}")).len(), 1, "{wrong}");
    }
    assert_eq!(findings(r#"max by (queue) (job_queue_depth{queue="a",namespace="b"})"#), [""; 0]);
}

#[test]
fn rules_name_what_is_exported() {
    let mut found = Vec::new();
    for (component, rule) in [("servicemonitor", "jobqueue"), ("cnpg", "jobqueue-db")] {
        let Some(variant) = variant(component) else { return };
        expressions(&variant.get("PrometheusRule", rule)["spec"], &mut found);
    }
    assert!(found.len() > 30);
    for expression in &found {
        assert_eq!(findings(expression), [""; 0], "{expression}");
    }
    let used: BTreeSet<_> =
        found.iter().flat_map(|expression| promql::metrics(expression)).map(|used| used.name).collect();
    for (whose, name, _) in OTHER_EXPORTERS {
        assert!(used.contains(name), "no rule uses {name} of {whose}");
    }
}

#[test]
fn the_dashboard_shows_what_is_exported_and_every_metric_of_the_contract() {
    let text_of_map = text(&base().get("ConfigMap", "jobqueue-grafana-dashboard")["data"]["jobqueue.json"]);
    assert!(text_of_map == read("k8s/dashboards/jobqueue.json"), "the two copies differ");
    let dashboard: Value = serde_json::from_str(text_of_map).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 30);
    let mut shown = BTreeSet::new();
    for expression in &found {
        assert_eq!(findings(expression), [""; 0], "{expression}");
        shown.extend(promql::metrics(expression).into_iter().map(|used| used.name));
    }
    let of_the_queues = metrics().into_keys().filter(|name| name.starts_with("job_queue_"));
    for name in CONTRACT.map(str::to_owned).into_iter().chain(of_the_queues) {
        assert!(shown.contains(&name), "{name} is not on the dashboard");
    }
    let panels = list(&dashboard["panels"]);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
}

/// Every replica reports the same numbers of the queues, so a sum would multiply them.
#[test]
fn metrics_of_the_whole_cluster_are_never_summed_over_replicas() {
    let mut found = Vec::new();
    expressions(&serde_json::from_str(&read("k8s/dashboards/jobqueue.json")).unwrap(), &mut found);
    if let Some(variant) = variant("servicemonitor") {
        expressions(&variant.get("PrometheusRule", "jobqueue")["spec"], &mut found);
    }
    let cluster_metrics: Vec<_> = metrics().into_keys().filter(|name| is_cluster_metric(name)).collect();
    assert!(cluster_metrics.len() >= 13, "{cluster_metrics:?}");
    for expression in found {
        for name in &cluster_metrics {
            for (at, _) in expression.match_indices(name.as_str()) {
                let before = &expression[..at];
                let aggregations = ["sum", "avg", "max", "absent", "deriv"];
                let nearest = aggregations.iter().filter_map(|word| Some((before.rfind(word)?, *word))).max();
                let fine = nearest.is_some_and(|(_, word)| ["max", "absent", "deriv"].contains(&word));
                assert!(fine, "{name} without max in {expression}");
            }
        }
    }
}

fn is_cluster_metric(name: &str) -> bool {
    let of_a_process = ["job_wait_seconds", "job_duration_seconds"].contains(&name);
    name.starts_with("job_") && !of_a_process || name == "worker_lease_acquired_total"
}

#[test]
fn autoscalers_query_exported_metrics() {
    for name in ["keda", "keda-routed-workers"] {
        let Some(variant) = variant(name) else { return };
        for scaled in variant.of_kind("ScaledObject") {
            let triggers = list(&scaled["spec"]["triggers"]);
            let queries: Vec<_> = triggers.iter().filter_map(|t| t["metadata"]["query"].as_str()).collect();
            let wanted = if scaled["metadata"]["name"] == "jobqueue-worker" { 3 } else { 1 };
            assert_eq!(queries.len(), wanted, "{}", scaled["metadata"]["name"]);
            for query in queries {
                assert_eq!(findings(query), [""; 0], "{query}");
                assert!(once_for_all_replicas(query), "{query}");
            }
        }
    }
    let Some(variant) = variant("prometheus-adapter-routed-workers") else { return };
    let config = text(&variant.get("ConfigMap", "jobqueue-adapter-rules")["data"]["config.yaml"]);
    let config = &parse(config)[0];
    let mut given = BTreeSet::new();
    for rule in list(&config["externalRules"]) {
        for query in
            [text(&rule["seriesQuery"]), &text(&rule["metricsQuery"]).replace("<<.LabelMatchers>>", "")]
        {
            assert_eq!(findings(query), [""; 0], "{query}");
        }
        assert!(once_for_all_replicas(text(&rule["metricsQuery"])));
        given.insert(text(&rule["name"]["as"]));
    }
    let metrics = variant.of_kind("HorizontalPodAutoscaler").flat_map(|hpa| list(&hpa["spec"]["metrics"]));
    let wanted: BTreeSet<_> =
        metrics.filter_map(|metric| metric["external"]["metric"]["name"].as_str()).collect();
    assert_eq!(wanted, given, "the autoscalers query the metrics of the adapter");
}

fn once_for_all_replicas(query: &str) -> bool {
    ["max(", "sum(max by (queue) ("].iter().any(|start| query.starts_with(start))
}
