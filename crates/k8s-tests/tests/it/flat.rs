//! Both ways to apply the base succeed on a cluster without extensions, and create the same objects.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::manifests::{
    COMPONENTS, base, flat_files, kubectl_renders, list, parse, read, render, root, text, texts, variants,
};

/// The groups and versions in the base, which every cluster has.
const BUILT_IN: [&str; 6] =
    ["v1", "apps/v1", "batch/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1"];

/// The files that the deployment guide names. The rest of the base has one file per part.
const GUIDE: [&str; 5] =
    ["namespace.yaml", "configmap.yaml", "migration-job.yaml", "worker.yaml", "ci-cd-example.yaml"];
const PARTS: [&str; 4] = ["api.yaml", "reaper.yaml", "postgres.yaml", "network-policies.yaml"];

#[test]
fn the_files_have_the_names_of_the_guide_and_a_bare_cluster_knows_what_is_in_them() {
    let files = flat_files();
    for name in GUIDE.iter().chain(&PARTS) {
        assert!(files.iter().any(|file| file == name), "no k8s/{name}");
    }
    assert!(
        !files.iter().any(|name| name.to_lowercase().starts_with("kustomization")),
        "`kubectl apply -f` trips on it: call it `Kustomization`, without an ending"
    );
    for file in &files {
        for object in parse(&read(&format!("k8s/{file}"))) {
            assert!(BUILT_IN.contains(&text(&object["apiVersion"])), "{file}: {}", object["apiVersion"]);
            assert_ne!(object["kind"], "Secret", "{file} would overwrite the real one");
            let is_namespace = object["kind"] == "Namespace";
            assert_eq!(
                is_namespace,
                file == "namespace.yaml",
                "{file}: the guide applies it alone, and first"
            );
            assert!(is_namespace || object["metadata"]["namespace"] == "jobqueue", "{file}");
        }
    }
}

#[test]
fn apply_k_and_apply_f_are_the_same() {
    let kustomization = &parse(&read("k8s/Kustomization"))[0];
    let listed: BTreeSet<_> = list(&kustomization["resources"]).iter().map(text).collect();
    let files = flat_files();
    let local = |name: &&String| {
        parse(&read(&format!("k8s/{name}")))[0]["metadata"]["annotations"]["config.kubernetes.io/local-config"]
            == "true"
    };
    let applied: BTreeSet<_> = files.iter().filter(|name| !local(name)).map(String::as_str).collect();
    assert_eq!(listed, applied);
    let keys: BTreeSet<_> = kustomization.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["apiVersion", "kind", "resources"]), "it transforms nothing");
    if !kubectl_renders() {
        println!("SKIPPED in part: no kubectl that renders");
        return;
    }
    let sorted = |objects: &[Value]| {
        let mut objects: Vec<_> = objects.iter().map(Value::to_string).collect();
        objects.sort();
        objects
    };
    assert_eq!(sorted(&render("base", &root().join("k8s")).objects), sorted(&base().objects));
}

#[test]
fn every_component_is_tested() {
    let found: BTreeSet<_> = std::fs::read_dir(root().join("k8s/components"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, COMPONENTS.map(str::to_owned).into());
}

#[test]
fn the_secret_is_an_example_with_every_key_and_no_value() {
    let example = &parse(&read("k8s/secret-values.yaml.example"))[0];
    assert_eq!(example["metadata"]["name"], "jobqueue-secret");
    let values = texts(&example["stringData"]);
    let keys: Vec<_> = values.keys().map(String::as_str).collect();
    assert_eq!(keys, ["API_SECRET_KEY", "DATABASE_URL", "POSTGRES_PASSWORD"]);
    assert!(values.values().all(|value| value.contains("CHANGE_ME")), "{values:?}");
    assert!(read("k8s/.gitignore").lines().any(|line| line == "secret-values.yaml"));
}

#[test]
fn names_and_labels_are_complete() {
    for variant in variants() {
        let mut seen = BTreeSet::new();
        for object in &variant.objects {
            let metadata = &object["metadata"];
            let place = format!("{}: {} {}", variant.name, object["kind"], metadata["name"]);
            assert!(seen.insert(format!("{place} {}", metadata["namespace"])), "{place} twice");
            assert_eq!(metadata["labels"]["app.kubernetes.io/part-of"], "jobqueue", "{place}");
            if ["Namespace", "PriorityClass"].iter().any(|kind| object["kind"] == *kind) {
                continue;
            }
            for label in ["name", "instance", "component"] {
                let label = format!("app.kubernetes.io/{label}");
                assert!(metadata["labels"][&label].is_string(), "{place}: {label}");
            }
        }
    }
}

#[test]
fn the_pipeline_example_is_a_pipeline() {
    let example = &parse(&read("k8s/ci-cd-example.yaml"))[0];
    let pipeline = &parse(text(&example["data"]["deploy.yaml"]))[0];
    let runs = pipeline["jobs"]["deploy"]["steps"].to_string();
    for script in ["k8s/deploy.sh", "k8s/validate.sh"] {
        assert!(runs.contains(script), "{script}");
        assert!(root().join(script).exists(), "{script}");
    }
}
