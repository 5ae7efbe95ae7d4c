//! Reachability: every pair of our pods, other pods and addresses, on every port, compared with the list of needed
//! connections.

use std::collections::BTreeSet;

use crate::manifests::{Pod, Variant, base, variant, variants};
use crate::network::{End, Port, ends, reaches};

const PORTS: [Port<'_>; 12] = [
    ("UDP", 53),
    ("TCP", 53),
    ("TCP", 80),
    ("TCP", 443),
    ("TCP", 4318),
    ("TCP", 5432),
    ("TCP", 6432),
    ("TCP", 6443),
    ("TCP", 8000),
    ("TCP", 8089),
    ("TCP", 9090),
    ("TCP", 9187),
];

fn others() -> Vec<End> {
    let named = |name: &str, pod: &str, labels: &[(&str, &str)]| {
        End::pod(pod, &[("kubernetes.io/metadata.name", name)], labels)
    };
    vec![
        End::pod("client", &[("kubernetes.io/metadata.name", "shop"), ("jobqueue-client", "true")], &[]),
        named("kube-system", "dns", &[("k8s-app", "kube-dns")]),
        named("kube-system", "kubelet-helper", &[]),
        named("monitoring", "prometheus", &[("app.kubernetes.io/name", "prometheus")]),
        named("monitoring", "beside-prometheus", &[("app.kubernetes.io/name", "grafana")]),
        named("ingress-nginx", "ingress", &[("app.kubernetes.io/name", "ingress-nginx")]),
        named("ingress-nginx", "beside-ingress", &[]),
        named("observability", "otel", &[]),
        named("cnpg-system", "operator", &[]),
        named("other", "stranger", &[("app.kubernetes.io/name", "jobqueue-api")]),
        named("jobqueue", "intruder", &[("app", "debug")]),
        End::outside("internet", [93, 184, 216, 34]),
        End::outside("metadata", [169, 254, 169, 254]),
        End::outside("private", [10, 0, 0, 5]),
        End::outside("api-server", [10, 0, 0, 1]),
        End::outside("managed-database", [10, 20, 0, 7]),
        End::outside("beside-the-database", [10, 20, 1, 7]),
    ]
}

/// `from → to port` of every possible connection of one of our pods.
fn matrix(variant: &Variant) -> BTreeSet<String> {
    let ours = ends(variant);
    let all: Vec<_> = ours.iter().cloned().chain(others()).collect();
    let mut found = BTreeSet::new();
    for from in &all {
        for to in all.iter().filter(|to| to.name != from.name) {
            if !ours.iter().any(|end| end.name == from.name || end.name == to.name) {
                continue;
            }
            for (protocol, port) in PORTS {
                if reaches(variant, from, to, (protocol, port)) {
                    found.insert(format!("{} → {} {protocol}/{port}", from.name, to.name));
                }
            }
        }
    }
    found
}

/// The connections that the components of a variant need.
fn expected(variant: &Variant) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    let mut want = |from: &str, to: &str, ports: &[&str]| {
        wanted.extend(ports.iter().map(|port| format!("{from} → {to} {port}")));
    };
    let databases: &[&str] = if variant.has("cnpg") {
        &["jobqueue-db-1", "jobqueue-db-2"]
    } else if variant.has("managed-postgres") {
        &["managed-database"]
    } else {
        &["postgres"]
    };
    for end in ends(variant) {
        want(&end.name, "dns", &["UDP/53", "TCP/53"]);
    }
    if variant.has("schedules") {
        want("jobqueue-schedules", "jobqueue-api", &["TCP/8000"]);
    }
    for pod in variant.pods().filter(Pod::uses_database) {
        let name = pod.name();
        let serves = pod.owner["kind"] == "Deployment";
        if variant.has("pgbouncer") && serves {
            want(name, "pgbouncer", &["TCP/6432"]);
        }
        // also with a pooler: during a rollout, old pods connect directly
        for database in databases {
            want(name, database, &["TCP/5432"]);
        }
        if serves {
            want("prometheus", name, &["TCP/9090"]);
        }
        if serves && variant.has("otel") {
            want(name, "otel", &["TCP/4318"]);
        }
        if pod.binary() == Some("jobqueue-worker") && variant.has("pod-deletion-cost") {
            want(name, "api-server", &["TCP/443", "TCP/6443"]);
        }
    }
    want("client", "jobqueue-api", &["TCP/8000"]);
    if variant.has("pgbouncer") {
        want("pgbouncer", "postgres", &["TCP/5432"]);
    }
    if variant.has("ingress") {
        want("ingress", "jobqueue-api", &["TCP/8000"]);
    }
    if variant.has("webhook-egress") {
        want("jobqueue-worker", "internet", &["TCP/443", "TCP/80"]);
    }
    if variant.has("routed-workers") {
        want("jobqueue-worker-webhooks", "internet", &["TCP/443", "TCP/80"]);
    }
    if variant.has("cnpg") {
        wanted.extend(expected_of_cnpg());
    }
    wanted
}

/// The connections of CloudNativePG: between its instances, from its operator and from Prometheus, and to the object
/// store and the API of Kubernetes at any address except the node's metadata service.
fn expected_of_cnpg() -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    for (instance, peer) in [("jobqueue-db-1", "jobqueue-db-2"), ("jobqueue-db-2", "jobqueue-db-1")] {
        for port in ["TCP/5432", "TCP/8000"] {
            wanted.insert(format!("{instance} → {peer} {port}"));
            wanted.insert(format!("operator → {instance} {port}"));
        }
        wanted.insert(format!("prometheus → {instance} TCP/9187"));
        for to in others().iter().filter(|to| !["metadata", "intruder"].contains(&to.name.as_str())) {
            wanted.insert(format!("{instance} → {} TCP/443", to.name));
            wanted.insert(format!("{instance} → {} TCP/6443", to.name));
        }
    }
    wanted
}

/// Checks that the possible connections of the variant are exactly the needed ones.
pub(crate) fn expected_is_found(variant: &Variant) {
    let (found, wanted) = (matrix(variant), expected(variant));
    let more: Vec<_> = found.difference(&wanted).collect();
    let less: Vec<_> = wanted.difference(&found).collect();
    assert!(more.is_empty() && less.is_empty(), "{}: opens {more:?}, closes {less:?}", variant.name);
}

#[test]
fn every_variant_opens_exactly_what_is_needed() {
    assert_eq!(expected(base()).len(), 5 * 2 + 4 + 3 + 1);
    variants().iter().for_each(expected_is_found);
}

/// cert-manager creates the solver's pod in our namespace, where all traffic is denied by default.
#[test]
fn the_solver_of_a_challenge_is_reached_through_the_ingress_alone() {
    let Some(variant) = variant("ingress") else { return };
    let namespace = [("kubernetes.io/metadata.name", "jobqueue")];
    let solver = End::pod("solver", &namespace, &[("acme.cert-manager.io/http01-solver", "true")]);
    let mut found = Vec::new();
    for from in others() {
        let open = PORTS.into_iter().filter(|port| reaches(variant, &from, &solver, *port));
        found.extend(open.map(|(_, port)| (from.name.clone(), port)));
    }
    assert_eq!(found, [("ingress".to_owned(), 8089)]);
}

#[test]
fn every_pool_reaches_postgres_and_only_webhooks_the_internet() {
    let Some(variant) = variant("routed-workers") else { return };
    let found = matrix(variant);
    let pools = variant.pods().filter(|pod| pod.binary() == Some("jobqueue-worker"));
    let pools: Vec<_> = pools.map(|pod| pod.name()).collect();
    assert_eq!(pools.len(), 8);
    for pool in pools {
        assert!(found.contains(&format!("{pool} → postgres TCP/5432")), "{pool}");
        assert!(found.contains(&format!("prometheus → {pool} TCP/9090")), "{pool}");
        let webhooks = pool == "jobqueue-worker-webhooks";
        assert_eq!(found.contains(&format!("{pool} → internet TCP/443")), webhooks, "{pool}");
        assert!(!found.iter().any(|line| line.starts_with(pool) && line.contains("metadata")), "{pool}");
        assert!(!found.iter().any(|line| line.starts_with(pool) && line.contains("private")), "{pool}");
    }
}
