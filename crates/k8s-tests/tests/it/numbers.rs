//! The numbers of the contract, and numbers that depend on each other: grace periods, connections, ratios.

use serde_json::{Value, json};

use crate::manifests::{Pod, Variant, base, list, read, text, texts, variant, variants};

#[test]
fn the_manifests_have_the_numbers_of_the_contract() {
    let base = base();
    let resources = |name: &str| {
        base.get("Deployment", name)["spec"]["template"]["spec"]["containers"][0]["resources"].clone()
    };
    for (name, request, limit) in [
        ("jobqueue-api", ("100m", "256Mi"), ("500m", "512Mi")),
        ("jobqueue-worker", ("100m", "256Mi"), ("500m", "512Mi")),
        ("jobqueue-reaper", ("50m", "128Mi"), ("200m", "256Mi")),
    ] {
        let found = resources(name);
        for (bound, (cpu, memory)) in [("requests", request), ("limits", limit)] {
            assert_eq!((text(&found[bound]["cpu"]), text(&found[bound]["memory"])), (cpu, memory), "{name}");
        }
        let labels = &base.get("Deployment", name)["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], name);
    }
    let container = &base.get("Deployment", "jobqueue-api")["spec"]["template"]["spec"]["containers"][0];
    for (probe, path, delay, period) in
        [("livenessProbe", "/health", 10, 30), ("readinessProbe", "/ready", 5, 10)]
    {
        let probe = &container[probe];
        assert_eq!(probe["httpGet"], json!({"path": path, "port": "admin"}));
        assert_eq!((&probe["initialDelaySeconds"], &probe["periodSeconds"]), (&json!(delay), &json!(period)));
        assert_eq!(probe["timeoutSeconds"], 5);
    }
    let service = &base.get("Service", "jobqueue-api")["spec"]["ports"][0];
    assert_eq!(*service, json!({"name": "http", "port": 80, "targetPort": "http"}));
    assert_eq!(base.get("Deployment", "jobqueue-reaper")["spec"]["replicas"], 1);
    assert_eq!(
        base.get("Deployment", "jobqueue-worker")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
        60
    );
    base.get("StatefulSet", "postgres");
    base.get("Job", "jobqueue-migration");
    let config = texts(&base.get("ConfigMap", "jobqueue-config")["data"]);
    for (key, value) in [
        ("LOG_LEVEL", "INFO"),
        ("LOG_FORMAT", "json"),
        ("WORKER_BATCH_SIZE", "10"),
        ("WORKER_POLL_INTERVAL_SECONDS", "1.0"),
        ("WORKER_LEASE_DURATION_SECONDS", "300"),
        ("REAPER_INTERVAL_SECONDS", "60"),
    ] {
        assert_eq!(config.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[test]
fn the_autoscalers_are_those_of_the_contract() {
    let worker = &base().get("HorizontalPodAutoscaler", "jobqueue-worker-hpa")["spec"];
    assert_eq!((&worker["minReplicas"], &worker["maxReplicas"]), (&json!(2), &json!(20)));
    let api = &base().get("HorizontalPodAutoscaler", "jobqueue-api-hpa")["spec"];
    assert_eq!((&api["minReplicas"], &api["maxReplicas"]), (&json!(3), &json!(10)));
    for variant in variants() {
        let scalers = variant.of_kind("HorizontalPodAutoscaler").map(|scaler| &scaler["spec"]["behavior"]);
        let scaled = variant.of_kind("ScaledObject");
        let scaled = scaled.map(|s| &s["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]);
        for behavior in scalers.chain(scaled) {
            let up = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}, {"type": "Pods", "value": 4, "periodSeconds": 15}]);
            let down = json!([{"type": "Percent", "value": 10, "periodSeconds": 60}]);
            assert_eq!(behavior["scaleUp"]["policies"], up, "{}", variant.name);
            assert_eq!(behavior["scaleUp"]["selectPolicy"], "Max", "the larger one");
            assert_eq!(behavior["scaleDown"]["policies"], down, "{}", variant.name);
            assert_eq!(behavior["scaleDown"]["stabilizationWindowSeconds"], 300);
        }
        for scaler in variant.of_kind("HorizontalPodAutoscaler") {
            assert_eq!(scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
        }
    }
}

#[test]
fn the_grace_of_a_pod_is_longer_than_its_drain() {
    for variant in variants() {
        for pod in variant.pods() {
            let Some(binary) = pod.binary().filter(|_| pod.owner["kind"] == "Deployment") else { continue };
            let grace = pod.spec()["terminationGracePeriodSeconds"].as_u64().unwrap();
            let env = |name: &str| {
                let env = list(&pod.spec()["containers"][0]["env"]);
                let value = env.iter().find(|entry| entry["name"] == name);
                value.and_then(|entry| text(&entry["value"]).parse::<u64>().ok())
            };
            let place = format!("{}: {}", variant.name, pod.name());
            let pre_stop = &pod.spec()["containers"][0]["lifecycle"]["preStop"];
            assert!(pre_stop.is_null(), "{place}: the process would not know yet that it ends");
            match binary {
                "jobqueue-api" => {
                    let drain = env("API_SHUTDOWN_GRACE_SECONDS").unwrap();
                    let delay = env("API_PRE_STOP_DELAY_SECONDS").unwrap();
                    assert!(delay >= 10, "{place}: clients and load balancers need time to leave");
                    assert!(delay + 25 <= drain, "{place}: time for requests that arrived last");
                    assert!(drain + 5 <= grace, "{place}");
                    let strategy = &pod.owner["spec"]["strategy"]["rollingUpdate"];
                    assert_eq!(strategy["maxUnavailable"], 0, "{place}");
                }
                "jobqueue-worker" => {
                    assert_eq!(env("WORKER_POD_GRACE_SECONDS"), Some(grace), "{place}");
                    assert!(env("WORKER_SHUTDOWN_GRACE_SECONDS").unwrap() + 9 <= grace, "{place}");
                }
                _ => assert!(grace >= 15, "{place}"),
            }
        }
    }
}

#[test]
fn the_connections_of_all_processes_fit_into_postgres() {
    variants().iter().for_each(connections_fit);
}

/// The sum of all connection pools at their largest is below the limit of Postgres or, behind a pooler, of the pooler.
pub(crate) fn connections_fit(variant: &Variant) {
    let config = texts(&variant.get("ConfigMap", "jobqueue-config")["data"]);
    let pool: u64 = config["DATABASE_MAX_CONNECTIONS"].parse().unwrap();
    // the pool, and the connection that listens for notifications
    let direct = |pod: &Pod<'_>| !variant.has("pgbouncer") || pod.owner["kind"] == "Job";
    let pods = variant.pods().filter(direct);
    let ours: u64 = pods.map(|pod| most_pods(variant, &pod) * (pool + 1)).sum();
    let reserved = 3 + 10; // superuser_reserved_connections, and connections of people
    let wanted = ours + reserved + pooled(variant);
    if variant.has("managed-postgres") {
        return documented_for_the_operator(variant, wanted);
    }
    let most = max_connections(variant);
    assert!(wanted <= most, "{}: {wanted} > {most}", variant.name);
}

/// The owner of an external database sets its limit: the operations page says which limit is enough.
fn documented_for_the_operator(variant: &Variant, wanted: u64) {
    let pools = if variant.has("routed-workers") { "with" } else { "without" };
    let line = format!("| {pools} `routed-workers` | {wanted} |");
    assert!(read("docs/operations.md").contains(&line), "{}: no line `{line}`", variant.name);
}

fn max_connections(variant: &Variant) -> u64 {
    if let Some(cluster) = variant.find("Cluster", "jobqueue-db") {
        // a string, as the operator requires
        return text(&cluster["spec"]["postgresql"]["parameters"]["max_connections"]).parse().unwrap();
    }
    let postgres = variant.get("StatefulSet", "postgres");
    let mut args = list(&postgres["spec"]["template"]["spec"]["containers"][0]["args"]).iter().map(text);
    args.find_map(|arg| arg.strip_prefix("max_connections=")?.parse().ok()).unwrap()
}

/// The connections that the poolers open, with one more pooler during a rollout.
fn pooled(variant: &Variant) -> u64 {
    let Some(pooler) = variant.find("Deployment", "pgbouncer") else { return 0 };
    let settings = text(&variant.get("ConfigMap", "pgbouncer-config")["data"]["pgbouncer.ini"]);
    let size = settings.lines().find_map(|line| line.strip_prefix("default_pool_size = ")).unwrap();
    let surge = &pooler["spec"]["strategy"]["rollingUpdate"]["maxSurge"];
    (pooler["spec"]["replicas"].as_u64().unwrap() + surge.as_u64().unwrap()) * size.parse::<u64>().unwrap()
}

/// Without a toleration in the pod, Kubernetes waits for 300 s.
#[test]
fn pods_of_a_lost_node_are_replaced_within_seconds() {
    for variant in variants() {
        for pod in variant.pods().filter(|pod| pod.owner["kind"] == "Deployment") {
            for condition in ["not-ready", "unreachable"] {
                let soon = json!({"key": format!("node.kubernetes.io/{condition}"), "operator": "Exists",
                    "effect": "NoExecute", "tolerationSeconds": 10});
                let tolerations = list(&pod.spec()["tolerations"]);
                assert!(tolerations.contains(&soon), "{}: {} {condition}", variant.name, pod.name());
            }
        }
    }
}

/// The largest number of pods of a workload during a rollout at the largest scale.
fn most_pods(variant: &Variant, pod: &Pod<'_>) -> u64 {
    if !pod.uses_database() {
        return 0;
    }
    let targets = |scaler: &&Value| scaler["spec"]["scaleTargetRef"]["name"] == pod.name();
    let scaled = variant.of_kind("HorizontalPodAutoscaler").find(targets);
    let scaled = scaled.map(|scaler| &scaler["spec"]["maxReplicas"]);
    let keda = variant.of_kind("ScaledObject").find(targets).map(|scaler| &scaler["spec"]["maxReplicaCount"]);
    let replicas = scaled.or(keda).and_then(Value::as_u64);
    let replicas = replicas.or(pod.owner["spec"]["replicas"].as_u64()).unwrap_or(1);
    let surge = &pod.owner["spec"]["strategy"]["rollingUpdate"]["maxSurge"];
    let percent = surge.as_str().and_then(|surge| surge.strip_suffix('%')?.parse::<u64>().ok());
    replicas + percent.map_or(surge.as_u64().unwrap_or(0), |percent| (replicas * percent).div_ceil(100))
}

/// `500m` → 500, `2` → 2000, in thousandths; `256Mi` in bytes.
fn quantity(value: &Value) -> f64 {
    let text = text(value);
    let units = [("Gi", 1024.0 * 1024.0 * 1024.0), ("Mi", 1024.0 * 1024.0), ("m", 1.0)];
    let unit = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = unit.unwrap_or((text, 1000.0));
    number.parse::<f64>().unwrap_or_else(|error| panic!("{text}: {error}")) * factor
}

#[test]
fn limits_are_at_most_twice_the_requests_or_what_the_contract_says() {
    let contract = [("jobqueue-api", 5.0), ("jobqueue-worker", 5.0), ("jobqueue-reaper", 4.0)];
    for variant in variants() {
        let enforced = variant.find("LimitRange", "limit-twice-the-request").is_some();
        for pod in variant.pods() {
            for container in pod.containers() {
                for resource in ["cpu", "memory", "ephemeral-storage"] {
                    let bound = |bound: &str| quantity(&container["resources"][bound][resource]);
                    let ratio = bound("limits") / bound("requests");
                    let given =
                        contract.iter().find(|(name, _)| Some(*name) == pod.binary() && resource == "cpu");
                    let is_main = *container == pod.spec()["containers"][0];
                    let allowed = match given {
                        Some((_, ratio)) if !enforced && is_main && pod.owner["kind"] == "Deployment" => {
                            *ratio
                        }
                        _ => 2.0,
                    };
                    assert!(
                        (1.0..=allowed).contains(&ratio),
                        "{}: {} {resource} {ratio}",
                        variant.name,
                        pod.name()
                    );
                }
            }
        }
    }
    for variant in variants().iter().filter(|variant| variant.has("cnpg")) {
        let cluster = &variant.get("Cluster", "jobqueue-db")["spec"]["resources"];
        let sidecar = &variant.get("ObjectStore", "jobqueue-backup")["spec"]["instanceSidecarConfiguration"];
        for resources in [cluster, &sidecar["resources"]] {
            for resource in ["cpu", "memory"] {
                let ratio =
                    quantity(&resources["limits"][resource]) / quantity(&resources["requests"][resource]);
                assert!((1.0..=2.0).contains(&ratio), "{}: {resource} {resources}", variant.name);
            }
        }
    }
    if let Some(variant) = variant("limitrange-2to1") {
        let limits = &variant.get("LimitRange", "limit-twice-the-request")["spec"]["limits"][0];
        assert_eq!(limits["maxLimitRequestRatio"], json!({"cpu": "2", "memory": "2"}));
    }
}
