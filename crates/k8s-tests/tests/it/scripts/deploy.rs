//! `deploy.sh` against the stand-in cluster: its order, what it refuses and what it asks for. The secret has a file of its own.

use std::fs;
use std::process::Command;

use super::{Place, told};

#[test]
fn deploy_refuses_without_a_secret_and_with_an_example() {
    let Some(place) = Place::new("refuses") else { return };
    let output = place.run("k8s/deploy.sh", &[]);
    assert!(!output.status.success());
    assert!(told(&output).contains("--generate-secret"), "{}", told(&output));
    fs::copy(place.0.join("k8s/secret-values.yaml.example"), place.0.join("k8s/secret-values.yaml")).unwrap();
    let output = place.run("k8s/deploy.sh", &[]);
    assert!(!output.status.success() && told(&output).contains("CHANGE_ME"), "{}", told(&output));
    assert!(!place.calls().contains("apply --server-side"), "{}", place.calls());
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
        "apply --server-side --force-conflicts -f -",
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
fn deploy_replaces_a_migration_that_failed_or_is_of_another_version() {
    let Some(place) = Place::new("migrations") else { return };
    place.with("secret", "");
    let deletions = |place: &Place| place.calls().matches("delete job jobqueue-migration").count();
    assert!(place.run("k8s/deploy.sh", &[]).status.success());
    assert!(place.run("k8s/deploy.sh", &[]).status.success());
    assert_eq!(deletions(&place), 0, "the same again is no reason: {}", place.calls());
    let output = place.run("k8s/deploy.sh", &["--tag", "9.9"]);
    assert!(output.status.success() && deletions(&place) == 1, "{}", told(&output));
    let output = place.with("job-failed", "").run("k8s/deploy.sh", &["--tag", "9.9"]);
    assert!(output.status.success() && deletions(&place) == 2, "{}", told(&output));
}

#[test]
fn a_dry_run_works_before_the_first_installation_and_before_an_upgrade() {
    let Some(place) = Place::new("dry-run") else { return };
    place.with("missing", "namespace jobqueue\nsecret jobqueue-secret");
    let output = place.run("k8s/deploy.sh", &["--dry-run"]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("Job created (dry run)"), "{}", told(&output));
    place.with("missing", "").with("job-image", "jobqueue-api:0.0.9");
    let output = place.run("k8s/deploy.sh", &["--dry-run"]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("made anew") && told(&output).contains("+ a difference"));
    let changing = ["delete", "rollout", "apply -f"];
    assert!(changing.iter().all(|verb| !place.calls().contains(verb)), "{}", place.calls());
}

#[test]
fn deploy_does_not_start_on_an_empty_database_beside_the_old_one() {
    let Some(place) = Place::new("moves") else { return };
    place.with("secret", "");
    let refused = |arguments: &[&str]| {
        let output = place.run("k8s/deploy.sh", arguments);
        assert!(!output.status.success() && told(&output).contains("--allow-empty-database"));
        told(&output)
    };
    assert!(refused(&["--overlay", "prod"]).contains("in statefulset/postgres"));
    assert!(!place.calls().contains("apply"), "{}", place.calls());
    assert!(place.run("k8s/deploy.sh", &["--overlay", "prod", "--allow-empty-database"]).status.success());
    place.with("missing", "statefulset postgres").with("present", "cnpg");
    assert!(refused(&[]).contains("in cluster/jobqueue-db"));
    assert!(place.run("k8s/deploy.sh", &["--overlay", "prod"]).status.success());
}

#[test]
fn deploy_knows_a_database_outside_of_the_cluster() {
    let Some(place) = Place::new("outside") else { return };
    place.with_overlay("outside", &["managed-postgres"], "");
    let run = |arguments: &[&str]| {
        let output = place.run("k8s/deploy.sh", arguments);
        (output.status.success(), told(&output))
    };
    let outside = ["--overlay", "outside"];
    place.with("secret", "");
    for (missing, present, old) in
        [("", "", "in statefulset/postgres"), ("statefulset postgres", "cnpg", "in cluster/jobqueue-db")]
    {
        place.with("missing", missing).with("present", present);
        let (ok, told) = run(&outside);
        assert!(!ok && told.contains(old) && told.contains("Move to a managed Postgres"), "{told}");
    }
    place.with("missing", "statefulset postgres").with("present", "managed");
    let (ok, told) = run(&outside);
    assert!(ok && told.contains("'10.20.0.0/24' is an example"), "{told}");
    assert!(told.contains("k8s/components/managed-postgres/database-address.yaml"), "{told}");
    let (ok, told) = run(&[]);
    assert!(!ok && told.contains("in the managed database"), "back again: {told}");
    fs::remove_file(place.0.join("stand-in/secret")).unwrap();
    let (ok, told) = run(&[&outside[..], &["--generate-secret"]].concat());
    assert!(!ok && told.contains("URL of your database"), "{told}");
}

#[test]
fn deploy_asks_for_what_the_render_needs_and_tells_what_is_an_example() {
    let Some(place) = Place::new("needs") else { return };
    place.with("secret", "");
    for (missing, hint) in [
        ("storageclass", "is-default-class=true"),
        ("namespace monitoring", "kubectl create namespace monitoring"),
        ("secret jobqueue-backup-credentials", "create secret generic jobqueue-backup-credentials"),
    ] {
        place.with("missing", &format!("statefulset postgres\n{missing}"));
        let output = place.run("k8s/deploy.sh", &["--overlay", "prod"]);
        assert!(!output.status.success() && told(&output).contains(hint), "{missing}: {}", told(&output));
        let output = place.run("k8s/deploy.sh", &["--overlay", "prod", "--dry-run"]);
        assert!(output.status.success() && told(&output).contains(hint), "{missing}: {}", told(&output));
    }
    place.with("missing", "storageclass").with("present", "pvc");
    assert!(place.run("k8s/deploy.sh", &[]).status.success(), "its volumes are there already");
    place.with("missing", "statefulset postgres").with("present", "");
    let output = told(&place.run("k8s/deploy.sh", &["--overlay", "prod"]));
    for (example, file) in [
        ("jobqueue.example.com", "k8s/components/ingress/"),
        ("s3://jobqueue-backup/", "k8s/components/cnpg/object-store.yaml"),
        ("'https://jobqueue.example/'", "k8s/components/servicemonitor/prometheus-rule.yaml"),
    ] {
        let line = output.lines().find(|line| line.contains(example)).unwrap_or_else(|| panic!("{output}"));
        assert!(line.contains(file), "{line}");
    }
    assert!(!told(&place.run("k8s/deploy.sh", &[])).contains("is an example"));
}

#[test]
fn deploy_refuses_pools_that_use_different_databases() {
    let Some(place) = Place::new("pools") else { return };
    place.with_overlay("right", &["routed-workers", "cnpg"], "");
    let output = place.run("k8s/deploy.sh", &["--render", "--overlay", "right"]);
    assert!(output.status.success(), "{}", told(&output));
    let patch = "patches:\n  - target: { kind: Deployment, name: jobqueue-worker-backups }\n    patch: |\n      - op: replace\n        \
                 path: /spec/template/spec/volumes/0/secret/secretName\n        value: other\n";
    place.with_overlay("other", &["routed-workers"], patch);
    place.with_overlay("wrong", &["cnpg", "routed-workers"], "");
    for name in ["other", "wrong"] {
        let output = place.run("k8s/deploy.sh", &["--render", "--overlay", name]);
        assert!(!output.status.success(), "{name}");
        assert!(told(&output).contains("routed-workers first"), "{name}: {}", told(&output));
    }
}

#[test]
fn deploy_wants_a_kubectl_and_a_cluster_that_are_new_enough() {
    let Some(place) = Place::new("versions") else { return };
    place.with("secret", "");
    let run = |arguments: &[&str]| {
        let output = place.run("k8s/deploy.sh", arguments);
        (output.status.success(), told(&output))
    };
    for (client, fine) in
        [("v1.26.9", false), ("v1.27.0", true), ("v1.40.1-eks-1", true), ("nonsense", false)]
    {
        place.with("client-version", client);
        let (ok, told) = run(&["--render"]);
        assert!(ok == fine && (fine || told.contains("install kubectl 1.27 or newer")), "{client}: {told}");
    }
    place.with("client-version", "v1.33.0");
    for (server, fine) in [("v1.32.9", false), ("v1.33.0", true), ("v1.41.0+k3s1", true)] {
        place.with("server-version", server);
        let (ok, told) = run(&[]);
        assert!(
            ok == fine && (fine || told.contains("the manifests ask for 1.33 or newer")),
            "{server}: {told}"
        );
    }
    let (ok, told) = {
        place.with("server-version", "v1.30.2");
        run(&["--dry-run"])
    };
    assert!(ok && told.contains("is of Kubernetes 1.30"), "a dry run tells it and goes on: {told}");
}
