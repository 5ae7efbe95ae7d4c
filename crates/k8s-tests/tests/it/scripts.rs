//! `deploy.sh`, `validate.sh` and `load-test.sh` against a stand-in for the cluster: their order, what they refuse, what they never
//! print.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::manifests::{kubectl_renders, root};

/// Checks of `validate.sh` that look at objects alone; the others need an API that answers.
const OBJECT_CHECKS: [&str; 10] = [
    "namespace_restricted",
    "database_ready",
    "pods_ready",
    "pods_not_restarting",
    "probes_configured",
    "resources_bounded",
    "containers_hardened",
    "grace_longer_than_drain",
    "autoscalers_active",
    "disruption_budgets_allow",
];

/// A copy of the manifests with a stand-in cluster of its own.
struct Place(PathBuf);

impl Place {
    /// `None`: no kubectl here that renders.
    fn new(name: &str) -> Option<Self> {
        if !kubectl_renders() {
            println!("SKIPPED: no kubectl that renders");
            return None;
        }
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripts").join(name);
        let _absent = fs::remove_dir_all(&place);
        fs::create_dir_all(place.join("stand-in")).unwrap();
        for directory in ["k8s", "k8s-overlays"] {
            let copied =
                Command::new("cp").arg("-r").arg(root().join(directory)).arg(&place).status().unwrap();
            assert!(copied.success());
        }
        // a developer's own
        let _absent = fs::remove_file(place.join("k8s/secret-values.yaml"));
        Some(Self(place))
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let stand_in = root().join("crates/k8s-tests/tests/stand-in");
        let path = std::env::var("PATH").unwrap();
        let real = Command::new("sh").args(["-c", "command -v kubectl"]).output().unwrap().stdout;
        Command::new(self.0.join(script))
            .args(arguments)
            .env("PATH", format!("{}:{path}", stand_in.display()))
            .env("REAL_KUBECTL", String::from_utf8(real).unwrap().trim())
            .env("STAND_IN", self.0.join("stand-in"))
            .output()
            .unwrap()
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.0.join("stand-in/calls")).unwrap_or_default()
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn deploy_refuses_without_a_secret_and_with_an_example() {
    let Some(place) = Place::new("refuses") else { return };
    let output = place.run("k8s/deploy.sh", &[]);
    assert!(!output.status.success());
    assert!(told(&output).contains("--generate-secret"), "{}", told(&output));
    fs::copy(place.0.join("k8s/secret-values.yaml.example"), place.0.join("k8s/secret-values.yaml")).unwrap();
    let output = place.run("k8s/deploy.sh", &[]);
    assert!(!output.status.success() && told(&output).contains("CHANGE_ME"), "{}", told(&output));
    assert!(!place.calls().contains("apply -f secret"), "{}", place.calls());
}

#[test]
fn deploy_migrates_before_it_rolls_and_shows_no_secret() {
    let Some(place) = Place::new("deploys") else { return };
    fs::write(place.0.join("stand-in/job-image"), "jobqueue-api:0.0.9").unwrap();
    let arguments = ["--generate-secret", "--overlay", "dev", "--registry", "ghcr.io/acme/", "--tag", "9.9"];
    let output = place.run("k8s/deploy.sh", &arguments);
    assert!(output.status.success(), "{}", told(&output));
    let calls = place.calls();
    let at = |what: &str| calls.find(what).unwrap_or_else(|| panic!("no {what} in {calls}"));
    let steps = [
        "1 kind: Namespace",
        "apply -f secret-values.yaml",
        "delete job jobqueue-migration",
        "1 kind: Job",
        "rendered.yaml",
        "rollout status deployment.apps/jobqueue-api",
    ];
    assert!(steps.map(at).is_sorted(), "{calls}");
    let first = &calls[at("1 kind: Job") - 400..at("1 kind: Job")];
    assert!(!first.contains("kind: Deployment"), "the schema comes first: {first}");
    for image in ["api", "worker", "reaper"] {
        assert!(calls.contains(&format!("image ghcr.io/acme/jobqueue-{image}:9.9\n")), "{calls}");
    }
    let secret = fs::read_to_string(place.0.join("k8s/secret-values.yaml")).unwrap();
    let values: Vec<_> = secret.split([' ', '\n', ':', '@', '/']).filter(|word| word.len() >= 40).collect();
    assert_eq!(values.len(), 3, "a key, and the password twice: {}", secret.len());
    assert!(values.iter().all(|value| !told(&output).contains(value) && !calls.contains(value)));
    let mode = Command::new("stat").args(["-c", "%a"]).arg(place.0.join("k8s/secret-values.yaml")).output();
    assert_eq!(String::from_utf8(mode.unwrap().stdout).unwrap().trim(), "600");

    let again = place.run("k8s/deploy.sh", &arguments);
    assert!(again.status.success(), "{}", told(&again));
    assert_eq!(fs::read_to_string(place.0.join("k8s/secret-values.yaml")).unwrap(), secret, "it is kept");
}

#[test]
fn deploy_renders_without_a_cluster_and_rolls_on_a_change_of_the_configuration() {
    let Some(place) = Place::new("renders") else { return };
    let checksum = |place: &Place| {
        let output = place.run("k8s/deploy.sh", &["--render"]);
        assert!(output.status.success(), "{}", told(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.contains("checksum/config: ")).unwrap().trim().to_owned()
    };
    let before = checksum(&place);
    assert_eq!(place.calls(), "", "it asks no cluster");
    let config = place.0.join("k8s/config.yaml");
    fs::write(&config, fs::read_to_string(&config).unwrap().replace("LOG_LEVEL: INFO", "LOG_LEVEL: WARN"))
        .unwrap();
    assert_ne!(checksum(&place), before);
}

#[test]
fn validate_names_its_checks_and_each_can_fail() {
    let Some(place) = Place::new("validates") else { return };
    let listed = told(&place.run("k8s/validate.sh", &["--list"]));
    assert!(listed.lines().count() >= 12, "{listed}");
    let only = OBJECT_CHECKS.join(",");
    let healthy = place.run("k8s/validate.sh", &["--only", &only]);
    assert!(healthy.status.success(), "{}", told(&healthy));
    assert!(told(&healthy).contains("10 passed, 0 failed, 0 skipped"), "{}", told(&healthy));
    for check in OBJECT_CHECKS {
        assert!(listed.lines().any(|line| line == check), "{check}");
        fs::write(place.0.join("stand-in/spoiled"), check).unwrap();
        let output = place.run("k8s/validate.sh", &["--only", &only]);
        assert_eq!(output.status.code(), Some(1), "{check}: {}", told(&output));
        let line = format!("FAIL  {}", check.replace('_', "-"));
        assert!(
            told(&output).contains(&line) && told(&output).contains("9 passed, 1 failed"),
            "{}",
            told(&output)
        );
    }
}

#[test]
fn the_load_test_brings_what_it_needs_watches_and_takes_it_away() {
    let Some(place) = Place::new("load") else { return };
    let output =
        place.run("k8s/scripts/load-test.sh", &["--users", "50", "--image", "ghcr.io/acme/locust:9"]);
    assert!(output.status.success(), "{}", told(&output));
    let calls = place.calls();
    let at = |what: &str| calls.find(what).unwrap_or_else(|| panic!("no {what} in {calls}"));
    let steps = ["locust-key", "2 kind: Job", "get job locust-master", "logs job/locust-master"];
    assert!(steps.map(at).is_sorted(), "{calls}");
    assert!(calls.contains("bytes of a secret: 40"), "the key, by a pipe: {calls}");
    assert!(
        calls.trim_end().ends_with("delete namespace jobqueue-load --ignore-not-found --wait=false"),
        "{calls}"
    );
    for expected in ["jobqueue-worker-hpa 7/9", "load: 1000 requests", "most worker pods: 7"] {
        assert!(told(&output).contains(expected), "{expected}: {}", told(&output));
    }
    let key = "a-key-of-more-than-thirty-two-characters";
    assert!(!told(&output).contains(key) && !calls.contains(key));

    fs::write(place.0.join("stand-in/spoiled"), "load").unwrap();
    assert_eq!(
        place.run("k8s/scripts/load-test.sh", &[]).status.code(),
        Some(1),
        "the master's verdict counts"
    );
}
