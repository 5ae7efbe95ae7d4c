//! Autoscalers query the queues that their pods serve, and handle every result: a paused queue, a queue that does not
//! exist, and no result.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::alerts::{promtool, work_dir};
use crate::manifests::{Variant, list, parse, text, texts, variant, variants};

/// The queues that the pods of a Deployment serve.
fn served(variant: &Variant, deployment: &str) -> BTreeSet<String> {
    let pod = &variant.get("Deployment", deployment)["spec"]["template"]["spec"]["containers"][0];
    let own = list(&pod["env"]).iter().find(|entry| entry["name"] == "WORKER_QUEUES");
    let config = texts(&variant.get("ConfigMap", "jobqueue-config")["data"]);
    let queues = own.map_or(config["WORKER_QUEUES"].as_str(), |entry| text(&entry["value"])).to_owned();
    queues.split(',').map(|queue| queue.split('=').next().unwrap().to_owned()).collect()
}

/// The queues of a label selector.
fn selected(selector: &Value) -> BTreeSet<String> {
    let listed = list(&selector["matchExpressions"]).iter().filter(|e| e["key"] == "queue");
    let listed = listed.flat_map(|e| list(&e["values"])).map(|value| text(value).to_owned());
    texts(&selector["matchLabels"]).remove("queue").into_iter().chain(listed).collect()
}

/// The queues of a query; all its selectors with queues must have the same ones.
fn queried(query: &str) -> BTreeSet<String> {
    let matchers = query.split("queue=").skip(1).map(|rest| rest.trim_start_matches('~').trim_matches('"'));
    let lists: BTreeSet<_> = matchers.map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(lists.len(), 1, "{query}");
    lists.into_iter().flat_map(|list| list.split('|')).map(str::to_owned).collect()
}

#[test]
fn autoscalers_query_the_queues_that_their_pods_serve() {
    let mut looked_at = 0;
    for variant in variants() {
        for scaler in variant.of_kind("HorizontalPodAutoscaler").chain(variant.of_kind("ScaledObject")) {
            let metrics = list(&scaler["spec"]["metrics"]).iter().map(|m| &m["external"]["metric"]);
            let metrics = metrics.filter(|m| m.is_object()).map(|m| selected(&m["selector"]));
            let triggers = list(&scaler["spec"]["triggers"]).iter().map(|t| &t["metadata"]["query"]);
            let triggers = triggers.filter_map(Value::as_str).map(queried);
            let target = text(&scaler["spec"]["scaleTargetRef"]["name"]);
            for queues in metrics.chain(triggers) {
                assert_eq!(queues, served(variant, target), "{}: {target}", variant.name);
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 20 || variants().len() == 1, "{looked_at}");
}

/// The expressions that autoscalers evaluate for the queue `default`, as KEDA and the adapter send them.
fn expressions() -> Option<Vec<String>> {
    let keda = list(&variant("keda")?.get("ScaledObject", "jobqueue-worker")["spec"]["triggers"]).iter();
    let keda = keda.filter_map(|trigger| trigger["metadata"]["query"].as_str()).map(str::to_owned);
    let rules = variant("prometheus-adapter")?.get("ConfigMap", "jobqueue-adapter-rules");
    let rules = parse(text(&rules["data"]["config.yaml"])).remove(0);
    let matchers = r#"namespace="jobqueue",queue="default""#;
    let adapter = list(&rules["externalRules"]).iter().map(|rule| text(&rule["metricsQuery"]));
    Some(keda.chain(adapter.map(|query| query.replace("<<.LabelMatchers>>", matchers))).collect())
}

#[test]
fn autoscalers_handle_a_paused_queue_a_missing_queue_and_no_result() {
    let Some(expressions) = expressions() else { return };
    assert_eq!(expressions.len(), 6);
    let both = |metric: &str, queue: &str, value: u32| {
        ["a", "b"].map(|pod| {
            let queue = if queue.is_empty() { String::new() } else { format!(r#",queue="{queue}""#) };
            json!({"series": format!(r#"{metric}{{namespace="jobqueue",pod="{pod}"{queue}}}"#), "values": format!("{value}x5")})
        })
    };
    let case = |queue: &str, paused: u32, wanted: Option<u32>| {
        let mut series = Vec::new();
        if !queue.is_empty() {
            for metric in ["job_queue_depth", "job_queue_oldest_age_seconds"] {
                series.extend(both(metric, queue, 7));
            }
            // the API itself excludes paused queues from this metric
            series.extend(both("job_queue_recommended_workers", queue, 7 - 7 * paused));
            series.extend(both("job_queue_paused", queue, paused));
            series.extend(both("job_queue_workers", "", 3));
        }
        let samples: Vec<_> = wanted.iter().map(|value| json!({"labels": "{}", "value": value})).collect();
        let test =
            |expression: &String| json!({"expr": expression, "eval_time": "3m", "exp_samples": samples});
        json!({"interval": "1m", "input_series": series, "promql_expr_test": expressions.iter().map(test).collect::<Vec<_>>()})
    };
    let tests = [
        case("default", 0, Some(7)),
        case("default", 1, Some(0)),
        case("other", 0, Some(0)),
        // no API reports metrics: there is no result, and the autoscaler changes nothing
        case("", 0, None),
    ];
    let directory = work_dir("autoscalers");
    let file = json!({"rule_files": [], "evaluation_interval": "1m", "tests": tests}).to_string();
    std::fs::write(directory.join("test.yaml"), file).unwrap();
    promtool(&["test", "rules", "test.yaml"], &directory);
}
