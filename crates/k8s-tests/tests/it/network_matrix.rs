//! Who reaches whom: every pair of pods, friends, strangers and addresses, on every port, against the list of what is needed.

use std::collections::BTreeSet;

use crate::manifests::{Variant, base, variant};
use crate::network::{End, Port, ends, reaches};

const PORTS: [Port<'_>; 9] = [
    ("UDP", 53),
    ("TCP", 53),
    ("TCP", 80),
    ("TCP", 443),
    ("TCP", 4318),
    ("TCP", 5432),
    ("TCP", 6432),
    ("TCP", 8000),
    ("TCP", 9090),
];
const OURS: [&str; 4] = ["jobqueue-api", "jobqueue-migration", "jobqueue-reaper", "jobqueue-worker"];

fn others() -> Vec<End> {
    let named = |name: &str, pod: &str, labels: &[(&str, &str)]| {
        End::pod(pod, &[("kubernetes.io/metadata.name", name)], labels)
    };
    vec![
        End::pod("client", &[("kubernetes.io/metadata.name", "shop"), ("jobqueue-client", "true")], &[]),
        named("kube-system", "dns", &[("k8s-app", "kube-dns")]),
        named("kube-system", "kubelet-helper", &[]),
        named("monitoring", "prometheus", &[]),
        named("ingress-nginx", "ingress", &[]),
        named("observability", "otel", &[]),
        named("other", "stranger", &[("app.kubernetes.io/name", "jobqueue-api")]),
        named("jobqueue", "intruder", &[("app", "debug")]),
        End::outside("internet", [93, 184, 216, 34]),
        End::outside("metadata", [169, 254, 169, 254]),
        End::outside("private", [10, 0, 0, 5]),
        End::outside("api-server", [10, 0, 0, 1]),
    ]
}

/// `from → to port` of everything that comes about and has one of our pods at an end.
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

/// What the base needs, and nothing else.
fn needed() -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    for name in OURS.iter().chain(&["postgres"]) {
        needed.insert(format!("{name} → dns UDP/53"));
        needed.insert(format!("{name} → dns TCP/53"));
    }
    for name in OURS {
        needed.insert(format!("{name} → postgres TCP/5432"));
    }
    for name in ["jobqueue-api", "jobqueue-reaper", "jobqueue-worker"] {
        needed.insert(format!("prometheus → {name} TCP/9090"));
    }
    needed.insert("prometheus → jobqueue-api TCP/8000".to_owned());
    needed.insert("client → jobqueue-api TCP/8000".to_owned());
    needed
}

#[test]
fn the_base_opens_exactly_what_is_needed() {
    assert_eq!(matrix(base()), needed());
}

/// What a component opens and closes, beside the base.
fn changes(name: &str) -> Option<(Vec<String>, Vec<String>)> {
    let found = matrix(variant(name)?);
    let needed = needed();
    let more = found.difference(&needed).filter(|line| !line.contains("→ dns")).cloned().collect();
    Some((more, needed.difference(&found).cloned().collect()))
}

#[test]
fn components_open_what_they_say() {
    let none: Vec<String> = vec![];
    for (name, opens) in [
        ("ingress", vec!["ingress → jobqueue-api TCP/8000"]),
        (
            "otel",
            vec![
                "jobqueue-api → otel TCP/4318",
                "jobqueue-reaper → otel TCP/4318",
                "jobqueue-worker → otel TCP/4318",
            ],
        ),
        ("webhook-egress", vec!["jobqueue-worker → internet TCP/443", "jobqueue-worker → internet TCP/80"]),
        ("pod-deletion-cost", vec!["jobqueue-worker → api-server TCP/443"]),
        ("servicemonitor", vec![]),
        ("keda", vec![]),
        ("prometheus-adapter", vec![]),
        ("limitrange-2to1", vec![]),
    ] {
        let Some((more, less)) = changes(name) else { return };
        assert_eq!((more, less), (opens.into_iter().map(str::to_owned).collect(), none.clone()), "{name}");
    }
}

#[test]
fn behind_the_pooler_only_the_migration_and_the_pooler_reach_postgres() {
    let Some(variant) = variant("pgbouncer") else { return };
    let found = matrix(variant);
    let to = |target: &str| -> Vec<_> {
        found
            .iter()
            .filter(|line| line.contains(target))
            .map(|line| line.split(' ').next().unwrap())
            .collect()
    };
    assert_eq!(to("→ postgres TCP/5432"), ["jobqueue-migration", "pgbouncer"]);
    assert_eq!(to("→ pgbouncer TCP/6432"), ["jobqueue-api", "jobqueue-reaper", "jobqueue-worker"]);
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
