//! Every pod is admitted where Pod Security `restricted` is enforced, and has further restrictions.

use serde_json::Value;

use crate::manifests::{Pod, base, list, text, variants};

/// The volume types that `restricted` allows.
const VOLUMES: [&str; 7] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"];
const FORBIDDEN: [&str; 4] = ["hostNetwork", "hostPID", "hostIPC", "hostUsers"];

#[test]
fn the_namespace_enforces_restricted() {
    let labels = &base().get("Namespace", "jobqueue")["metadata"]["labels"];
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(labels[format!("pod-security.kubernetes.io/{mode}")], "restricted");
        let version = text(&labels[format!("pod-security.kubernetes.io/{mode}-version")]);
        assert!(version.starts_with("v1."), "{mode} is pinned: {version}");
    }
}

#[test]
fn every_pod_is_restricted() {
    for variant in variants() {
        assert!(variant.pods().count() >= 4, "{}", variant.name);
        for pod in variant.pods() {
            let findings = pod_findings(&pod);
            assert!(findings.is_empty(), "{}: {}: {findings:?}", variant.name, pod.name());
        }
    }
}

#[test]
fn violations_are_detected() {
    let pod = base().pods().next().unwrap();
    let spoil = |path: &str, value: Value| {
        let mut template = pod.template.clone();
        *template.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        pod_findings(&Pod { owner: pod.owner, template: &template })
    };
    assert_eq!(pod_findings(&pod), [""; 0]);
    for (path, value) in [
        ("/spec/securityContext/runAsNonRoot", Value::Bool(false)),
        ("/spec/securityContext/seccompProfile/type", "Unconfined".into()),
        ("/spec/containers/0/securityContext/capabilities/drop", Value::Array(vec![])),
        ("/spec/containers/0/securityContext/allowPrivilegeEscalation", Value::Bool(true)),
        ("/spec/containers/0/securityContext/readOnlyRootFilesystem", Value::Bool(false)),
        ("/spec/containers/0/resources/limits/memory", Value::Null),
        ("/spec/automountServiceAccountToken", Value::Bool(true)),
        ("/spec/volumes/0", serde_json::json!({"name": "secret", "hostPath": {"path": "/"}})),
    ] {
        assert_eq!(spoil(path, value).len(), 1, "{path}");
    }
}

pub(crate) fn pod_findings(pod: &Pod<'_>) -> Vec<String> {
    let spec = pod.spec();
    let context = &spec["securityContext"];
    let mut findings = Vec::new();
    let mut want = |fine: bool, what: &str| {
        if !fine {
            findings.push(what.to_owned());
        }
    };
    want(context["runAsNonRoot"] == true, "runAsNonRoot");
    want(context["runAsUser"].as_u64().is_some_and(|uid| uid > 0), "runAsUser");
    want(context["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile");
    want(spec["automountServiceAccountToken"] == false, "automountServiceAccountToken");
    want(spec["serviceAccountName"].is_string(), "serviceAccountName");
    want(FORBIDDEN.iter().all(|field| spec[field].is_null()), "shares the node's namespaces");
    if pod.binary().is_some() {
        want(context["runAsUser"].as_u64().is_some_and(|uid| uid >= 10_000), "uid ≥ 10000");
    }
    for volume in list(&spec["volumes"]) {
        let known = VOLUMES.iter().chain(&["secret"]).any(|kind| volume[kind].is_object());
        want(known, "a volume from the node");
        let bounded = volume["emptyDir"].is_null() || volume["emptyDir"]["sizeLimit"].is_string();
        want(bounded, "an emptyDir without a bound");
    }
    for container in pod.containers() {
        let context = &container["securityContext"];
        want(context["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
        want(context["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem");
        want(context["capabilities"] == serde_json::json!({"drop": ["ALL"]}), "capabilities");
        want(context["privileged"].is_null(), "privileged");
        want(list(&container["ports"]).iter().all(|port| port["hostPort"].is_null()), "hostPort");
        for bound in ["requests", "limits"] {
            for resource in ["cpu", "memory", "ephemeral-storage"] {
                let given = container["resources"][bound][resource].is_string();
                want(given, &format!("{bound}.{resource}"));
            }
        }
    }
    findings
}

#[test]
fn images_are_ours_in_this_version_or_pinned_to_a_tag() {
    for variant in variants() {
        for pod in variant.pods() {
            for container in pod.containers() {
                let image = text(&container["image"]);
                let (name, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
                assert_ne!(tag, "latest", "{image}");
                if name.starts_with("jobqueue-") {
                    assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{image}: the version of the workspace");
                }
            }
        }
    }
}
