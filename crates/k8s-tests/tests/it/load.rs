//! The manifests and users of the load test: its pods are admitted, its namespace may call the API, and its users
//! request routes that exist.

use std::collections::BTreeSet;

use crate::manifests::{Variant, base, kubectl_renders, list, read, render, root, text, texts};
use crate::network::{End, ends, reaches};
use crate::restricted::pod_findings;

fn load() -> Option<Variant> {
    if !kubectl_renders() {
        println!("SKIPPED: no kubectl that renders");
        return None;
    }
    Some(render("load", &root().join("k8s/locust")))
}

#[test]
fn its_pods_are_restricted_and_its_namespace_may_call_the_api() {
    let Some(load) = load() else { return };
    assert_eq!(load.pods().count(), 2, "the master, and the workers");
    for pod in load.pods() {
        assert_eq!(pod_findings(&pod), [""; 0], "{}", pod.name());
        for reference in pod.containers().flat_map(|container| list(&container["envFrom"])) {
            load.get("ConfigMap", text(&reference["configMapRef"]["name"]));
        }
    }
    let namespace = &load.get("Namespace", "jobqueue-load")["metadata"]["labels"];
    assert_eq!(namespace["pod-security.kubernetes.io/enforce"], "restricted");
    let labels = texts(namespace);
    let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let ours = ends(base());
    let end = |name: &str| ours.iter().find(|end| end.name == name).unwrap();
    let user = End::pod("locust", &labels, &[]);
    assert!(reaches(base(), &user, end("jobqueue-api"), ("TCP", 8000)));
    assert!(!reaches(base(), &user, end("postgres"), ("TCP", 5432)));
    assert_eq!(load.get("Job", "locust-worker")["spec"]["parallelism"], 3);
    let master = &load.get("Job", "locust-master")["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(master.to_string().contains(r#""--expect-workers","3""#), "it begins with all of them: {master}");
}

#[test]
fn there_are_six_kinds_of_users_and_they_request_routes_that_exist() {
    let users = read("k8s/locust/locustfile.py");
    let kinds =
        users.lines().filter(|line| line.starts_with("class ") && line.ends_with("(ApiUser):")).count();
    assert_eq!(kinds, 6);
    let routes: BTreeSet<_> =
        jobqueue_api::table().iter().map(|route| route.path.replace("{id}", "")).collect();
    let mut requested = BTreeSet::new();
    for literal in users.split('"').skip(1).step_by(2).filter(|literal| literal.starts_with("/v1/")) {
        let path = literal.split('?').next().unwrap().replace("{job['id']}", "").replace("{verb}", "cancel");
        assert!(routes.contains(&path), "{literal}: no route {path} in {routes:?}");
        requested.insert(path);
    }
    assert!(requested.len() >= 6, "{requested:?}");
}
