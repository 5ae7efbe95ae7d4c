//! The oldest supported Kubernetes. The schemas do not show which fields it ignores, because they also contain the
//! fields of alpha features.

use serde_json::Value;

use crate::manifests::{Variant, list, read, text, variants};

/// The minor version of the oldest Kubernetes that the manifests support.
const OLDEST: u32 = 29;

/// The end of a field's path, beginning with the kind, and the first minor version that supports the field by default.
const FIELDS: [(&str, u32); 15] = [
    ("/preStop/sleep", 30),
    ("/postStart/sleep", 30),
    ("/lifecycle/stopSignal", 34),
    ("/spec/trafficDistribution", 31),
    ("/podAffinityTerm/matchLabelKeys", 31),
    ("/podAffinityTerm/mismatchLabelKeys", 31),
    ("/scaleUp/tolerance", 35),
    ("/scaleDown/tolerance", 35),
    ("StatefulSet/spec/updateStrategy/rollingUpdate/maxUnavailable", 35),
    ("Job/spec/successPolicy", 31),
    ("/template/spec/resources", 34),
    ("/template/spec/hostUsers", 33),
    ("/securityContext/supplementalGroupsPolicy", 33),
    ("/volumeMounts/recursiveReadOnly", 31),
    ("/valueFrom/fileKeyRef", 35),
];
/// A kind that needs a newer Kubernetes than the base, its version, and the component that may contain it.
const KINDS: [(&str, u32, &str); 2] = [
    ("ValidatingAdmissionPolicy", 30, "pod-deletion-cost"),
    ("ValidatingAdmissionPolicyBinding", 30, "pod-deletion-cost"),
];

/// The fields of a value with their paths, without the indexes of lists.
fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{key}");
        paths(value, &path, found);
        found.push(path);
    }
    for value in list(value) {
        paths(value, path, found);
    }
}

/// The fields that the oldest Kubernetes ignores or rejects.
fn too_new(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    paths(object, text(&object["kind"]), &mut all);
    all.retain(|path| FIELDS.iter().any(|(end, since)| path.ends_with(end) && *since > OLDEST));
    all
}

#[test]
fn the_oldest_kubernetes_knows_every_field() {
    for variant in variants() {
        for object in &variant.objects {
            let found = too_new(object);
            assert!(found.is_empty(), "{}: {} {found:?}", variant.name, object["metadata"]["name"]);
        }
        newer_kinds(variant);
    }
    let sleeps = serde_json::json!({"kind": "Deployment", "spec": {"template": {"spec": {
        "resources": {}, "containers": [{"resources": {}, "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}]}}}});
    assert_eq!(too_new(&sleeps).len(), 2, "it finds them: {:?}", too_new(&sleeps));
}

fn newer_kinds(variant: &Variant) {
    for (kind, since, component) in KINDS {
        let found = variant.of_kind(kind).next().is_some();
        assert!(!found || variant.has(component), "{}: {kind} needs 1.{since}", variant.name);
    }
}

#[test]
fn everything_names_the_same_oldest_kubernetes() {
    let wanted = format!("1.{OLDEST}");
    for (path, line) in [
        ("docs/operations.md", format!("Needs Kubernetes {wanted} or newer")),
        ("k8s/deploy.sh", format!("readonly OLDEST_KUBERNETES={OLDEST}")),
        ("k8s/namespace.yaml", format!("enforce-version: v{wanted}")),
        ("scripts/check-k8s", format!("readonly OLDEST={wanted}.0")),
    ] {
        assert!(read(path).contains(&line), "{path}: no `{line}`");
    }
    for (kind, since, component) in KINDS {
        assert!(
            read("k8s/deploy.sh").contains(&format!("{kind} {since}")),
            "deploy.sh does not check {kind}"
        );
        let line = format!("| `{component}`");
        assert!(read("docs/operations.md").contains(&line), "{line}");
    }
}
