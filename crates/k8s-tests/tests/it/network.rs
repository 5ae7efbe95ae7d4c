//! Evaluates NetworkPolicies as a cluster does, by the rules of `networking.k8s.io/v1`. Does not decide what should be
//! reachable.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::manifests::{Variant, list, text, texts};

/// A protocol and a number.
pub(crate) type Port<'a> = (&'a str, u64);

/// One end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) name: String,
    /// Missing for an address outside of the cluster.
    pub(crate) namespace: Option<BTreeMap<String, String>>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) address: Ipv4Addr,
}

impl End {
    /// A pod that is not ours, with the labels of its namespace and its own.
    pub(crate) fn pod(name: &str, namespace: &[(&str, &str)], labels: &[(&str, &str)]) -> Self {
        Self {
            name: name.to_owned(),
            namespace: Some(owned(namespace)),
            labels: owned(labels),
            address: Ipv4Addr::new(10, 1, 2, 3),
        }
    }

    /// An address outside of the cluster.
    pub(crate) fn outside(name: &str, address: [u8; 4]) -> Self {
        Self { name: name.to_owned(), namespace: None, labels: BTreeMap::new(), address: address.into() }
    }

    fn is_ours(&self) -> bool {
        let name = self.namespace.as_ref().and_then(|labels| labels.get("kubernetes.io/metadata.name"));
        name.is_some_and(|name| name == "jobqueue")
    }
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The pods of a variant as ends of connections.
pub(crate) fn ends(variant: &Variant) -> Vec<End> {
    let namespace = [("kubernetes.io/metadata.name", "jobqueue")];
    let end = |pod: crate::manifests::Pod<'_>| End {
        labels: pod.labels(),
        ..End::pod(pod.name(), &namespace, &[])
    };
    // the instances of CloudNativePG; two represent the three
    let clusters = variant.of_kind("Cluster").map(|cluster| text(&cluster["metadata"]["name"]));
    let instances = clusters.flat_map(|cluster| {
        let labels = [("cnpg.io/cluster", cluster), ("cnpg.io/podRole", "instance")];
        [1, 2].map(|n| End::pod(&format!("{cluster}-{n}"), &namespace, &labels))
    });
    variant.pods().map(end).chain(instances).collect()
}

/// Whether a connection is possible: the policies of both ends must allow it.
pub(crate) fn reaches(variant: &Variant, from: &End, to: &End, port: Port<'_>) -> bool {
    allowed(variant, from, to, "Egress", port) && allowed(variant, to, from, "Ingress", port)
}

fn allowed(variant: &Variant, subject: &End, peer: &End, direction: &str, port: Port<'_>) -> bool {
    if !subject.is_ours() {
        return true;
    }
    let (rules, peers) = if direction == "Egress" { ("egress", "to") } else { ("ingress", "from") };
    let applies = |policy: &&Value| {
        selects(&policy["spec"]["podSelector"], &subject.labels)
            && list(&policy["spec"]["policyTypes"]).iter().any(|kind| kind == direction)
    };
    let policies: Vec<_> = variant.of_kind("NetworkPolicy").filter(applies).collect();
    let lets = |rule: &Value| {
        let ports = list(&rule["ports"]);
        let right_port = ports.iter().any(|p| text(&p["protocol"]) == port.0 && p["port"] == port.1);
        let peers = list(&rule[peers]);
        (ports.is_empty() || right_port)
            && (peers.is_empty() || peers.iter().any(|entry| is_peer(entry, peer)))
    };
    policies.is_empty() || policies.iter().flat_map(|policy| list(&policy["spec"][rules])).any(lets)
}

fn is_peer(entry: &Value, peer: &End) -> bool {
    if entry["ipBlock"].is_object() {
        let inside = |cidr: &Value| in_network(text(cidr), peer.address);
        let excepted = list(&entry["ipBlock"]["except"]).iter().any(inside);
        return inside(&entry["ipBlock"]["cidr"]) && !excepted;
    }
    let Some(namespace) = &peer.namespace else { return false };
    let right_namespace = match &entry["namespaceSelector"] {
        Value::Null => peer.is_ours(),
        selector => selects(selector, namespace),
    };
    right_namespace && (entry["podSelector"].is_null() || selects(&entry["podSelector"], &peer.labels))
}

/// A label selector; the empty one selects everything.
fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let equal = texts(&selector["matchLabels"]).iter().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = list(&selector["matchExpressions"]).iter().all(|expression| {
        let value = labels.get(text(&expression["key"]));
        let listed =
            value.is_some_and(|value| list(&expression["values"]).iter().any(|v| v == value.as_str()));
        match text(&expression["operator"]) {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            other => panic!("no operator {other}"),
        }
    });
    equal && expressions
}

fn in_network(cidr: &str, address: Ipv4Addr) -> bool {
    let (network, length) = cidr.split_once('/').unwrap();
    let network: Ipv4Addr = network.parse().unwrap();
    let shift = 32 - length.parse::<u32>().unwrap();
    u64::from(u32::from(network)) >> shift == u64::from(u32::from(address)) >> shift
}

#[test]
fn the_rules_are_those_of_kubernetes() {
    assert!(in_network("0.0.0.0/0", [1, 2, 3, 4].into()));
    assert!(in_network("172.16.0.0/12", [172, 31, 0, 1].into()));
    assert!(!in_network("172.16.0.0/12", [172, 32, 0, 1].into()));
    let policy = |spec: Value| Variant {
        name: "test".to_owned(),
        components: Vec::new(),
        objects: vec![serde_json::json!({"kind": "NetworkPolicy", "spec": spec})],
    };
    let a = End::pod("a", &[("kubernetes.io/metadata.name", "jobqueue")], &[("app", "a")]);
    let b = End::pod("b", &[("kubernetes.io/metadata.name", "other")], &[("app", "b")]);
    let none =
        policy(serde_json::json!({"podSelector": {"matchLabels": {"app": "z"}}, "policyTypes": ["Egress"]}));
    assert!(reaches(&none, &a, &b, ("TCP", 80)), "no policy selects the pod: everything is open");
    let deny = policy(serde_json::json!({"podSelector": {}, "policyTypes": ["Egress"]}));
    assert!(!reaches(&deny, &a, &b, ("TCP", 80)));
    assert!(reaches(&deny, &b, &a, ("TCP", 80)), "only egress is denied");
    let same_namespace = serde_json::json!({"podSelector": {}, "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "b"}}}]}]});
    assert!(
        !reaches(&policy(same_namespace), &a, &b, ("TCP", 80)),
        "a podSelector alone selects pods of the same namespace"
    );
    let by_port = serde_json::json!({"podSelector": {}, "policyTypes": ["Egress"],
        "egress": [{"ports": [{"protocol": "TCP", "port": 80}]}]});
    assert!(reaches(&policy(by_port.clone()), &a, &b, ("TCP", 80)));
    assert!(!reaches(&policy(by_port), &a, &b, ("TCP", 81)));
}
