//! Pairs of components: both orders give the same objects, or the wrong order does not render.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::manifests::{Pod, Variant, kubectl_renders, list, text, with_components};
use crate::network_matrix::expected_is_found;
use crate::numbers::connections_fit;
use crate::wiring::secret_keys;

/// Every component that needs no other one, in an order that works.
const ORDER: [&str; 13] = [
    "routed-workers",
    "servicemonitor",
    "schedules",
    "ingress",
    "webhook-egress",
    "prometheus-adapter",
    "keda",
    "cnpg",
    "pgbouncer",
    "managed-postgres",
    "otel",
    "pod-deletion-cost",
    "limitrange-2to1",
];
/// Each of these patches all workers, so it must come after the pools.
const AFTER_THE_POOLS: [&str; 6] =
    ["cnpg", "pgbouncer", "managed-postgres", "otel", "pod-deletion-cost", "limitrange-2to1"];

#[derive(Debug, PartialEq, Eq)]
enum Pair {
    /// Both orders give the same objects.
    Any,
    /// Only this order renders.
    ThisOrder,
    /// They exclude each other.
    Never,
}

fn pair(first: &str, second: &str) -> Pair {
    match (first, second) {
        ("cnpg", "pgbouncer") | ("cnpg" | "pgbouncer", "managed-postgres") => Pair::Never,
        // KEDA takes over the autoscaler with the metrics of the adapter
        ("prometheus-adapter", "keda") => Pair::ThisOrder,
        ("routed-workers", second) if AFTER_THE_POOLS.contains(&second) => Pair::ThisOrder,
        _ => Pair::Any,
    }
}

#[test]
fn a_wrong_order_of_components_does_not_render() {
    if !kubectl_renders() {
        println!("SKIPPED: no kubectl that renders components");
        return;
    }
    std::thread::scope(|scope| {
        for (at, first) in ORDER.iter().enumerate() {
            scope.spawn(move || ORDER[at + 1..].iter().for_each(|second| check_pair(first, second)));
        }
    });
}

fn check_pair(first: &str, second: &str) {
    let right = with_components(&format!("{first} then {second}"), &[first, second]);
    let wrong = with_components(&format!("{second} then {first}"), &[second, first]);
    let kind = pair(first, second);
    assert_eq!(right.is_ok(), kind != Pair::Never, "{first}, {second}: {:?}", right.err());
    assert_eq!(wrong.is_ok(), kind == Pair::Any, "{second}, {first}: {:?}", wrong.err());
    let Ok(right) = right else { return };
    if let Ok(wrong) = wrong {
        assert!(normalised(&right) == normalised(&wrong), "{first} and {second} depend on their order");
    }
    one_database(&right);
    connections_fit(&right);
    expected_is_found(&right);
    assert!(right.pods().all(|pod| pod.binary().is_none() || traces(&right, &pod) == right.has("otel")));
}

/// The objects, with unordered lists sorted.
fn normalised(variant: &Variant) -> BTreeSet<String> {
    fn sort(value: &mut Value) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(sort),
            Value::Array(values) => {
                values.iter_mut().for_each(sort);
                if values.iter().all(|value| value["name"].is_string()) {
                    values.sort_by(|a, b| text(&a["name"]).cmp(text(&b["name"])));
                }
            }
            _ => {}
        }
    }
    let sorted = variant.objects.iter().cloned().map(|mut object| {
        sort(&mut object);
        object.to_string()
    });
    sorted.collect()
}

/// All our processes that use the database get their URL from the same place: the operator's secret, the pooled key, or the plain key.
fn one_database(variant: &Variant) {
    for pod in variant.pods().filter(Pod::uses_database) {
        let wanted = if variant.has("cnpg") {
            ("jobqueue-db-app", "uri")
        } else if variant.has("pgbouncer") && pod.owner["kind"] != "Job" {
            ("jobqueue-secret", "DATABASE_URL_POOLED")
        } else {
            ("jobqueue-secret", "DATABASE_URL")
        };
        let keys = secret_keys(&pod);
        let urls: Vec<_> = keys.into_iter().filter(|(_, key)| *key != "API_SECRET_KEY").collect();
        assert_eq!(urls, [wanted], "{}: {}", variant.name, pod.name());
    }
}

/// Whether the process exports traces; a Job has none.
fn traces(variant: &Variant, pod: &Pod<'_>) -> bool {
    let env = list(&pod.spec()["containers"][0]["env"]);
    let is_set = env.iter().any(|entry| entry["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT");
    is_set || pod.owner["kind"] == "Job" && variant.has("otel")
}
