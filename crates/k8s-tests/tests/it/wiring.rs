//! Every reference in the manifests has a target: selectors, ports, probes, configuration, secrets, scrape targets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::manifests::{Pod, Variant, list, parse, read, text, texts, variants};

/// Further keys of `jobqueue-secret` that components need.
const MORE_KEYS: [&str; 2] = ["DATABASE_URL_POOLED", "PGBOUNCER_USERLIST"];
/// Secrets that CloudNativePG creates.
const FOREIGN_SECRETS: [(&str, &str); 1] = [("jobqueue-db-app", "uri")];

fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let wanted = texts(selector);
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[test]
fn a_controller_selects_its_own_pods_and_no_others() {
    for variant in variants() {
        for controller in variant.pods().filter(|pod| pod.owner["kind"] != "Job") {
            let selector = &controller.owner["spec"]["selector"]["matchLabels"];
            let selected: Vec<_> =
                variant.pods().filter(|pod| selects(selector, &pod.labels())).map(|pod| pod.name()).collect();
            assert_eq!(selected, [controller.name()], "{}", variant.name);
        }
        for budget in variant.of_kind("PodDisruptionBudget") {
            let selector = &budget["spec"]["selector"]["matchLabels"];
            let selected = variant.pods().filter(|pod| selects(selector, &pod.labels())).count();
            assert_eq!(selected, 1, "{}: {}", variant.name, budget["metadata"]["name"]);
            assert!(budget["spec"]["maxUnavailable"] != 0, "it would block every drain of a node");
        }
    }
}

#[test]
fn spreading_counts_the_pods_of_its_own_workload() {
    for variant in variants() {
        for pod in variant.pods() {
            let spec = pod.spec();
            let terms =
                &spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
            let spread = list(&spec["topologySpreadConstraints"]).iter().map(|c| &c["labelSelector"]);
            let apart = list(terms).iter().map(|term| &term["podAffinityTerm"]["labelSelector"]);
            let selectors: Vec<_> = spread.chain(apart).map(|selector| &selector["matchLabels"]).collect();
            if pod.owner["kind"] == "Deployment" {
                assert!(!selectors.is_empty(), "{}: {} is not spread", variant.name, pod.name());
            }
            for selector in selectors {
                let selected: Vec<_> =
                    variant.pods().filter(|p| selects(selector, &p.labels())).map(|p| p.name()).collect();
                assert_eq!(selected, [pod.name()], "{}", variant.name);
            }
        }
    }
}

#[test]
fn services_lead_to_a_port_of_a_pod_and_autoscalers_to_a_deployment() {
    for variant in variants() {
        for service in variant.of_kind("Service") {
            let name = &service["metadata"]["name"];
            let selector = &service["spec"]["selector"];
            let pods: Vec<_> = variant.pods().filter(|pod| selects(selector, &pod.labels())).collect();
            assert_eq!(pods.len(), 1, "{}: service {name}", variant.name);
            for port in list(&service["spec"]["ports"]) {
                assert!(port_of(&pods[0], &port["targetPort"]).is_some(), "{}: service {name}", variant.name);
            }
        }
        for scaler in variant.of_kind("HorizontalPodAutoscaler").chain(variant.of_kind("ScaledObject")) {
            let target = &scaler["spec"]["scaleTargetRef"];
            let deployment = variant.get(text(&target["kind"]), text(&target["name"]));
            assert!(
                deployment["spec"]["replicas"].is_null(),
                "{}: {} has replicas and an autoscaler: every apply would undo the scaling",
                variant.name,
                target["name"]
            );
        }
        let mut targets = BTreeSet::new();
        for scaler in variant.of_kind("HorizontalPodAutoscaler").chain(variant.of_kind("ScaledObject")) {
            let target = text(&scaler["spec"]["scaleTargetRef"]["name"]);
            assert!(targets.insert(target), "{}: two autoscalers for {target}", variant.name);
        }
        for set in variant.of_kind("StatefulSet") {
            variant.get("Service", text(&set["spec"]["serviceName"]));
        }
        for ingress in variant.of_kind("Ingress") {
            for path in list(&ingress["spec"]["rules"][0]["http"]["paths"]) {
                let service = variant.get("Service", text(&path["backend"]["service"]["name"]));
                let port = &path["backend"]["service"]["port"]["name"];
                assert!(list(&service["spec"]["ports"]).iter().any(|p| p["name"] == *port));
                let routed = jobqueue_api::table().iter().any(|r| r.path.starts_with(text(&path["path"])));
                assert!(routed || path["path"] == "/docs", "{path}");
                assert_ne!(path["path"], "/", "/metrics would be open to the world");
            }
        }
    }
}

fn port_of(pod: &Pod<'_>, name: &Value) -> Option<u64> {
    let ports = pod.containers().flat_map(|container| list(&container["ports"]));
    ports.into_iter().find(|port| port["name"] == *name).and_then(|port| port["containerPort"].as_u64())
}

#[test]
fn probes_use_routes_that_exist_on_open_ports() {
    let api: BTreeSet<_> =
        jobqueue_api::table().iter().filter(|r| r.method == "GET").map(|r| r.path).collect();
    for variant in variants() {
        for pod in variant.pods().filter(|pod| pod.owner["kind"] != "Job") {
            for container in list(&pod.spec()["containers"]) {
                for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                    let place = format!("{}: {} {probe}", variant.name, pod.name());
                    let probe = &container[probe];
                    assert!(probe.is_object(), "{place} is missing");
                    let http = &probe["httpGet"];
                    if http.is_null() {
                        assert!(pod.binary().is_none(), "{place}: ours speak HTTP");
                        continue;
                    }
                    let routes = match port_of(&pod, &http["port"]) {
                        Some(8000) if pod.binary() == Some("jobqueue-api") => api.clone(),
                        Some(9090) => jobqueue_runtime::admin::paths().into(),
                        port => panic!("{place}: no container listens on {port:?}"),
                    };
                    assert!(routes.contains(text(&http["path"])), "{place}: no route {}", http["path"]);
                }
                let alive = text(&container["livenessProbe"]["httpGet"]["path"]);
                assert!(!alive.contains("ready") && !alive.contains("detailed"), "{alive} asks the database");
            }
        }
    }
}

#[test]
fn everything_that_pods_mount_and_read_exists() {
    let example = &parse(&read("k8s/secret-values.yaml.example"))[0];
    let keys: BTreeSet<_> = texts(&example["stringData"]).into_keys().collect();
    for variant in variants() {
        for pod in variant.pods() {
            let place = format!("{}: {}", variant.name, pod.name());
            variant.get("ServiceAccount", text(&pod.spec()["serviceAccountName"]));
            for (secret, key) in secret_keys(&pod) {
                let ours = secret == "jobqueue-secret"
                    && (keys.contains(key) || MORE_KEYS.contains(&key) && variant.name != "base");
                assert!(ours || FOREIGN_SECRETS.contains(&(secret, key)), "{place}: {secret}/{key}");
            }
            for config in config_maps(&pod) {
                variant.get("ConfigMap", config);
            }
            let declared: BTreeSet<_> = declared_volumes(&pod).collect();
            for container in pod.containers() {
                let mounted: BTreeSet<_> =
                    list(&container["volumeMounts"]).iter().map(|mount| text(&mount["name"])).collect();
                assert!(mounted.is_subset(&declared), "{place}: each mount is a volume: {mounted:?}");
                let is_init = list(&pod.spec()["initContainers"]).contains(container);
                assert!(is_init || mounted == declared, "{place}: each volume is mounted: {mounted:?}");
            }
            if let Some(class) = pod.spec()["priorityClassName"].as_str() {
                variant.get("PriorityClass", class);
            }
        }
    }
}

fn declared_volumes<'a>(pod: &Pod<'a>) -> impl Iterator<Item = &'a str> {
    let claims =
        list(&pod.owner["spec"]["volumeClaimTemplates"]).iter().map(|c| text(&c["metadata"]["name"]));
    list(&pod.spec()["volumes"]).iter().map(|volume| text(&volume["name"])).chain(claims)
}

/// Every secret and key that a pod mounts.
pub(crate) fn secret_keys<'a>(pod: &Pod<'a>) -> Vec<(&'a str, &'a str)> {
    let mut keys = Vec::new();
    for volume in list(&pod.spec()["volumes"]) {
        let single = (&volume["secret"], text(&volume["secret"]["secretName"]));
        let projected = list(&volume["projected"]["sources"]).iter();
        let projected = projected.map(|source| (&source["secret"], text(&source["secret"]["name"])));
        for (secret, name) in projected.chain([single]).filter(|(secret, _)| secret.is_object()) {
            assert!(!list(&secret["items"]).is_empty(), "{name} is mounted as a whole: name the keys");
            keys.extend(list(&secret["items"]).iter().map(|item| (name, text(&item["key"]))));
        }
    }
    keys
}

/// Every ConfigMap that a pod mounts or takes its environment from.
pub(crate) fn config_maps<'a>(pod: &Pod<'a>) -> BTreeSet<&'a str> {
    let mounted = list(&pod.spec()["volumes"]).iter().map(|volume| &volume["configMap"]["name"]);
    let read = pod.containers().flat_map(|container| list(&container["envFrom"]));
    let read = read.map(|source| &source["configMapRef"]["name"]);
    mounted.chain(read).map(text).filter(|name| !name.is_empty()).collect()
}

#[test]
fn an_external_database_replaces_the_one_of_the_base_and_has_its_authority() {
    let Some(variant) = crate::manifests::variant("managed-postgres") else { return };
    for (kind, name) in [
        ("StatefulSet", "postgres"),
        ("Service", "postgres"),
        ("Service", "postgres-headless"),
        ("ServiceAccount", "postgres"),
        ("NetworkPolicy", "allow-postgres-ingress"),
    ] {
        assert!(variant.find(kind, name).is_none(), "{kind} {name}");
    }
    let documented = "sslrootcert=/run/secrets/jobqueue/ca.crt";
    assert!(read("docs/operations.md").contains(documented), "the path below");
    let mut processes = 0;
    for pod in variant.pods() {
        assert!(pod.binary().is_some(), "{}: only ours are left", pod.name());
        assert!(config_maps_beside_secrets(&pod).contains("jobqueue-database-ca/ca.crt"), "{}", pod.name());
        for container in pod.containers() {
            let mounts = list(&container["volumeMounts"]).iter().find(|mount| mount["name"] == "secret");
            assert_eq!(mounts.unwrap()["mountPath"], "/run/secrets/jobqueue", "{}", pod.name());
            processes += 1;
        }
    }
    assert_eq!(processes, 8, "four pods, each with one that waits");
}

#[test]
fn the_job_of_the_schedules_has_a_file_the_key_and_the_address_of_the_api_and_nothing_else() {
    for variant in variants().iter().filter(|variant| variant.has("schedules")) {
        let pod = variant.pods().find(|pod| pod.name() == "jobqueue-schedules").unwrap();
        assert_eq!(secret_keys(&pod), [("jobqueue-secret", "API_SECRET_KEY")], "{}", variant.name);
        let container = &pod.spec()["containers"][0];
        assert!(container["envFrom"].is_null() && pod.containers().count() == 1, "{}", variant.name);
        let url = list(&container["env"]).iter().find(|entry| entry["name"] == "JOBQUEUE_URL").unwrap();
        let service = variant.get("Service", text(&url["value"]).strip_prefix("http://").unwrap());
        assert_eq!(service["spec"]["ports"][0]["port"], 80, "the port of a URL without one");
        // another name for another file, so that a changed file cannot be applied without running the Job
        let maps = config_maps(&pod);
        let suffix = maps.first().unwrap().strip_prefix("jobqueue-schedules-").unwrap();
        assert!(maps.len() == 1 && suffix.len() >= 8, "{maps:?}");
    }
}

/// `name/file` of the ConfigMap files in the volume `secret`.
fn config_maps_beside_secrets(pod: &Pod<'_>) -> BTreeSet<String> {
    let volumes = list(&pod.spec()["volumes"]).iter().filter(|volume| volume["name"] == "secret");
    let maps = volumes.flat_map(|volume| list(&volume["projected"]["sources"])).map(|s| &s["configMap"]);
    let files = maps.flat_map(|map| list(&map["items"]).iter().map(move |item| (map, item)));
    files.map(|(map, item)| format!("{}/{}", text(&map["name"]), text(&item["path"]))).collect()
}

#[test]
fn monitors_select_their_targets() {
    let all: [&Variant; 1] = match crate::manifests::variant("servicemonitor") {
        Some(variant) => [variant],
        None => return,
    };
    for variant in all {
        let service = variant.get("ServiceMonitor", "jobqueue-api");
        let labels = texts(&variant.get("Service", "jobqueue-api")["metadata"]["labels"]);
        assert!(selects(&service["spec"]["selector"]["matchLabels"], &labels));
        let api = variant.pods().find(|pod| pod.name() == "jobqueue-api").unwrap();
        let endpoint = &service["spec"]["endpoints"][0];
        assert_eq!(port_of(&api, &endpoint["targetPort"]), Some(9090), "clients can fill the public port");
        assert_eq!(endpoint["path"], "/metrics/cluster");
        let pods = variant.get("PodMonitor", "jobqueue-processes");
        let names = list(&pods["spec"]["selector"]["matchExpressions"][0]["values"]);
        let port = &pods["spec"]["podMetricsEndpoints"][0]["port"];
        for name in names {
            let pod = variant.pods().find(|pod| pod.name() == *name).unwrap();
            assert_eq!(port_of(&pod, port), Some(9090), "{name}");
        }
        assert_eq!(names.len(), 3);
    }
}
