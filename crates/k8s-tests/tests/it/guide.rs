//! The commands of the guide, run with the real kubectl against a fake API server: they create everything, can be
//! repeated, and leave no password where `kubectl describe` shows it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::manifests::{base, kubectl_renders, read, root};

const SECRET: &str = "/api/v1/namespaces/jobqueue/secrets/jobqueue-secret";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A copy of the manifests.
fn copied(name: &str) -> Option<PathBuf> {
    if !kubectl_renders() {
        println!("SKIPPED: no kubectl that renders");
        return None;
    }
    let place = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("guide-{name}-{}", std::process::id()));
    let _absent = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    let copy =
        std::process::Command::new("cp").arg("-r").arg(root().join("k8s")).arg(&place).status().unwrap();
    assert!(copy.success());
    Some(place)
}

/// Runs commands of the guide; all must succeed.
fn follow(cluster: &Cluster, place: &std::path::Path, commands: &[&[&str]]) {
    for command in commands {
        let output = cluster.kubectl(place, command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn put_values(place: &std::path::Path, password: &str) {
    let text = read("k8s/secret-values.yaml.example").replace("CHANGE_ME", password);
    fs::write(place.join("k8s/secret-values.yaml"), text).unwrap();
}

fn values(cluster: &Cluster) -> Value {
    let secret = cluster.object(SECRET);
    let annotation = secret["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
    assert!(annotation.contains("jobqueue-secret"), "what kubectl compares with: {annotation}");
    for value in ["first", "second"] {
        assert!(!annotation.contains(value), "{annotation}");
    }
    secret["data"].clone()
}

#[test]
fn the_commands_of_the_guide_create_everything_and_leave_no_password_in_an_annotation() {
    let Some(place) = copied("commands") else { return };
    for all in [["apply", "-f", "k8s/"], ["apply", "-k", "k8s/"]] {
        let cluster = Cluster::start();
        put_values(&place, "first");
        let before: [&[&str]; 2] =
            [&["apply", "-f", "k8s/namespace.yaml"], &["apply", "-f", "k8s/secret-values.yaml"]];
        follow(&cluster, &place, &[&before[..], &[&all], &[&all]].concat());
        assert_eq!(values(&cluster)["POSTGRES_PASSWORD"], "first");
        let example = usize::from(all[1] == "-f");
        let wanted = base().objects.len() + 1 + example;
        assert_eq!(cluster.kinds().len(), wanted, "{all:?}: {:?}", cluster.kinds());
        put_values(&place, "second");
        follow(&cluster, &place, &[before[1], &all]);
        assert_eq!(values(&cluster)["POSTGRES_PASSWORD"], "second", "{all:?}: a change arrives");
        assert_eq!(values(&cluster)["DATABASE_URL"], "postgresql://postgres:second@postgres:5432/jobqueue");
    }
    fs::remove_dir_all(place).unwrap();
}
