//! `deploy.sh` with a fake cluster: the order of its steps, what it rejects and what it requires. The tests of the
//! secret are in another file.

use std::fs;
use std::process::Command;

use super::{ScriptDir, output_text};
use crate::manifests::{parse, read, text};

#[test]
fn deploy_refuses_without_a_secret_and_with_an_example() {
    let Some(dir) = ScriptDir::new("refuses") else { return };
    let output = dir.run("k8s/deploy.sh", &[]);
    assert!(!output.status.success());
    assert!(output_text(&output).contains("--generate-secret"), "{}", output_text(&output));
    fs::copy(dir.0.join("k8s/secret-values.yaml.example"), dir.0.join("k8s/secret-values.yaml")).unwrap();
    let output = dir.run("k8s/deploy.sh", &[]);
    assert!(
        !output.status.success() && output_text(&output).contains("CHANGE_ME"),
        "{}",
        output_text(&output)
    );
    assert!(!dir.calls().contains("apply --server-side"), "{}", dir.calls());
}

#[test]
fn deploy_migrates_before_it_rolls_and_shows_no_secret() {
    let Some(dir) = ScriptDir::new("deploys") else { return };
    fs::write(dir.0.join("fake-cluster/job-image"), "jobqueue-api:0.0.9").unwrap();
    let arguments = ["--generate-secret", "--overlay", "dev", "--registry", "ghcr.io/acme/", "--tag", "9.9"];
    let output = dir.run("k8s/deploy.sh", &arguments);
    assert!(output.status.success(), "{}", output_text(&output));
    let calls = dir.calls();
    let at = |what: &str| calls.find(what).unwrap_or_else(|| panic!("no {what} in {calls}"));
    let steps = [
        "1 kind: Namespace",
        "apply --server-side --force-conflicts -f -",
        "kind: Pod",
        "delete job jobqueue-migration",
        "1 kind: Job",
        "parts.yaml",
        "rollout status deployment.apps/jobqueue-api",
    ];
    assert!(steps.map(at).is_sorted(), "{calls}");
    let first = &calls[at("1 kind: Job") - 400..at("1 kind: Job")];
    assert!(!first.contains("kind: Deployment"), "the schema comes first: {first}");
    for image in ["api", "worker", "reaper"] {
        assert!(calls.contains(&format!("image ghcr.io/acme/jobqueue-{image}:9.9\n")), "{calls}");
    }
    let secret = fs::read_to_string(dir.0.join("k8s/secret-values.yaml")).unwrap();
    let values: Vec<_> = secret.split([' ', '\n', ':', '@', '/']).filter(|word| word.len() >= 40).collect();
    assert_eq!(values.len(), 3, "a key, and the password twice: {}", secret.len());
    assert!(values.iter().all(|value| !output_text(&output).contains(value) && !calls.contains(value)));
    let mode = Command::new("stat").args(["-c", "%a"]).arg(dir.0.join("k8s/secret-values.yaml")).output();
    assert_eq!(String::from_utf8(mode.unwrap().stdout).unwrap().trim(), "600");

    let again = dir.run("k8s/deploy.sh", &arguments);
    assert!(again.status.success(), "{}", output_text(&again));
    assert_eq!(fs::read_to_string(dir.0.join("k8s/secret-values.yaml")).unwrap(), secret, "it is kept");
}

#[test]
fn deploy_renders_without_a_cluster() {
    let Some(dir) = ScriptDir::new("renders") else { return };
    let output = dir.run("k8s/deploy.sh", &["--render"]);
    assert!(
        output.status.success() && output_text(&output).contains("name: jobqueue-worker-hpa"),
        "{}",
        output_text(&output)
    );
    assert_eq!(dir.calls(), "", "it calls no cluster");
}

#[test]
fn deploy_replaces_a_migration_that_failed_or_is_of_another_version() {
    let Some(dir) = ScriptDir::new("migrations") else { return };
    dir.with("secret", "");
    let deletions = |dir: &ScriptDir| dir.calls().matches("delete job jobqueue-migration").count();
    assert!(dir.run("k8s/deploy.sh", &[]).status.success());
    assert!(dir.run("k8s/deploy.sh", &[]).status.success());
    assert_eq!(deletions(&dir), 0, "the same again is no reason: {}", dir.calls());
    let output = dir.run("k8s/deploy.sh", &["--tag", "9.9"]);
    assert!(output.status.success() && deletions(&dir) == 1, "{}", output_text(&output));
    let output = dir.with("job-failed", "").run("k8s/deploy.sh", &["--tag", "9.9"]);
    assert!(output.status.success() && deletions(&dir) == 2, "{}", output_text(&output));
}

#[test]
fn a_dry_run_works_before_the_first_installation_and_before_an_upgrade() {
    let Some(dir) = ScriptDir::new("dry-run") else { return };
    dir.with("missing", "namespace jobqueue\nsecret jobqueue-secret");
    let output = dir.run("k8s/deploy.sh", &["--dry-run", "--generate-secret"]);
    assert!(output.status.success(), "{}", output_text(&output));
    assert!(output_text(&output).contains("Job created (dry run)"), "{}", output_text(&output));
    dir.with("missing", "").with("secret", "").with("job-image", "jobqueue-api:0.0.9");
    let output = dir.run("k8s/deploy.sh", &["--dry-run"]);
    assert!(output.status.success(), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("created again") && output_text(&output).contains("+ a difference")
    );
    let changing = ["delete", "rollout", "apply -f"];
    assert!(changing.iter().all(|verb| !dir.calls().contains(verb)), "{}", dir.calls());
}

#[test]
fn deploy_does_not_start_on_an_empty_database_beside_the_old_one() {
    let Some(dir) = ScriptDir::new("moves") else { return };
    dir.with("secret", "");
    let refused = |arguments: &[&str]| {
        let output = dir.run("k8s/deploy.sh", arguments);
        assert!(!output.status.success() && output_text(&output).contains("--allow-empty-database"));
        output_text(&output)
    };
    assert!(refused(&["--overlay", "prod"]).contains("in statefulset/postgres"));
    assert!(!dir.calls().contains("apply -f"), "{}", dir.calls());
    assert!(dir.run("k8s/deploy.sh", &["--overlay", "prod", "--allow-empty-database"]).status.success());
    dir.with("missing", "statefulset postgres").with("present", "cnpg");
    assert!(refused(&[]).contains("in cluster/jobqueue-db"));
    assert!(dir.run("k8s/deploy.sh", &["--overlay", "prod"]).status.success());
}

#[test]
fn deploy_supports_a_database_outside_of_the_cluster() {
    let Some(dir) = ScriptDir::new("outside") else { return };
    dir.with_overlay("outside", &["managed-postgres"], "");
    let run = |arguments: &[&str]| {
        let output = dir.run("k8s/deploy.sh", arguments);
        (output.status.success(), output_text(&output))
    };
    let outside = ["--overlay", "outside"];
    dir.with("secret", "");
    for (missing, present, old) in
        [("", "", "in statefulset/postgres"), ("statefulset postgres", "cnpg", "in cluster/jobqueue-db")]
    {
        dir.with("missing", missing).with("present", present);
        let (ok, output_text) = run(&outside);
        assert!(
            !ok && output_text.contains(old) && output_text.contains("Move to a managed Postgres"),
            "{output_text}"
        );
    }
    dir.with("missing", "statefulset postgres").with("present", "managed");
    let (ok, output_text) = run(&outside);
    assert!(ok && output_text.contains("'10.20.0.0/24' is an example"), "{output_text}");
    assert!(output_text.contains("k8s/components/managed-postgres/database-address.yaml"), "{output_text}");
    let (ok, output_text) = run(&[]);
    assert!(!ok && output_text.contains("in the managed database"), "back again: {output_text}");
    fs::remove_file(dir.0.join("fake-cluster/secret")).unwrap();
    let (ok, output_text) = run(&[&outside[..], &["--generate-secret"]].concat());
    assert!(!ok && output_text.contains("URL of your database"), "{output_text}");
}

#[test]
fn deploy_lists_the_needs_of_the_render_and_values_that_are_examples() {
    let Some(dir) = ScriptDir::new("needs") else { return };
    dir.with("secret", "");
    for (missing, hint) in [
        ("storageclass", "is-default-class=true"),
        ("namespace monitoring", "kubectl create namespace monitoring"),
        ("secret jobqueue-backup-credentials", "create secret generic jobqueue-backup-credentials"),
    ] {
        dir.with("missing", &format!("statefulset postgres\n{missing}"));
        let output = dir.run("k8s/deploy.sh", &["--overlay", "prod"]);
        assert!(
            !output.status.success() && output_text(&output).contains(hint),
            "{missing}: {}",
            output_text(&output)
        );
        let output = dir.run("k8s/deploy.sh", &["--overlay", "prod", "--dry-run"]);
        assert!(
            !output.status.success() && output_text(&output).contains(hint),
            "{missing}: {}",
            output_text(&output)
        );
    }
    dir.with("missing", "storageclass").with("present", "pvc");
    assert!(dir.run("k8s/deploy.sh", &[]).status.success(), "its volumes are there already");
    dir.with("missing", "statefulset postgres").with("present", "");
    let output = output_text(&dir.run("k8s/deploy.sh", &["--overlay", "prod"]));
    for (example, file) in [
        ("jobqueue.example.com", "k8s/components/ingress/"),
        ("s3://jobqueue-backup/", "k8s/components/cnpg/object-store.yaml"),
        ("'https://jobqueue.example/'", "k8s/components/servicemonitor/prometheus-rule.yaml"),
    ] {
        let line = output.lines().find(|line| line.contains(example)).unwrap_or_else(|| panic!("{output}"));
        assert!(line.contains(file), "{line}");
    }
    assert!(!output_text(&dir.run("k8s/deploy.sh", &[])).contains("is an example"));
}

#[test]
fn deploy_applies_the_schedules_last_and_with_every_run() {
    let Some(dir) = ScriptDir::new("schedules") else { return };
    dir.with("secret", "").with_overlay("timed", &["schedules"], "");
    let run = |more: &[&str]| {
        let _absent = fs::remove_file(dir.0.join("fake-cluster/calls"));
        let output = dir.run("k8s/deploy.sh", &[&["--overlay", "timed"], more].concat());
        (output.status.success(), output_text(&output), dir.calls())
    };
    for changed in [false, true] {
        if changed {
            let file = dir.0.join("k8s/components/schedules/schedules.toml");
            fs::write(&file, fs::read_to_string(&file).unwrap().replace("0 3 *", "0 4 *")).unwrap();
        }
        let (_, output, calls) = run(&["--dry-run"]);
        assert!(output.contains("job/jobqueue-schedules would run") && !calls.contains("delete"), "{output}");
        let (ok, output, calls) = run(&[]);
        assert!(ok && output.contains("ok  schedules"), "{output}");
        assert!(!calls.contains("delete job jobqueue-migration"), "{calls}");
        let steps = ["rollout status", "delete job jobqueue-schedules", "1 kind: Job", "delete configmap"];
        let last = |what: &str| calls.rfind(what).unwrap_or_else(|| panic!("no {what} in {calls}"));
        assert!(steps.map(last).is_sorted(), "{calls}");
        let name = fs::read_to_string(dir.0.join("fake-cluster/schedules-job")).unwrap();
        assert!(calls.contains(&format!("metadata.name!={name}\n")), "the ConfigMap in use stays: {calls}");
    }
    dir.with("schedules-failed", "");
    let (ok, output, _) = run(&[]);
    assert!(!ok && output.contains("schedule nightly: the API refused"), "{output}");
    assert!(
        output.contains("the schedules of the file are not applied; everything else is deployed"),
        "{output}"
    );
    let output = dir.run("k8s/deploy.sh", &[]);
    assert!(output.status.success() && !output_text(&output).contains("schedules"), "without the component");
}

#[test]
fn an_overlay_replaces_the_file_of_schedules() {
    let Some(dir) = ScriptDir::new("own-schedules") else { return };
    dir.with_overlay("timed", &["schedules", "../../k8s-overlays/timed/own"], "");
    let own = dir.0.join("k8s-overlays/timed/own");
    fs::create_dir_all(&own).unwrap();
    let page = read("docs/schedules.md");
    let shown = page.split("# my-cluster/schedules/kustomization.yaml\n").nth(1).unwrap();
    fs::write(own.join("kustomization.yaml"), shown.split("```").next().unwrap()).unwrap();
    let mut checksums = std::collections::BTreeSet::new();
    for hour in [2, 3] {
        let file =
            format!("owner = \"shop\"\n[schedules.nightly]\ncron = \"0 {hour} * * *\"\njob.kind = \"k\"\n");
        fs::write(own.join("schedules.toml"), &file).unwrap();
        let output = dir.run("k8s/deploy.sh", &["--render", "--overlay", "timed"]);
        assert!(output.status.success(), "{}", output_text(&output));
        let objects = parse(std::str::from_utf8(&output.stdout).unwrap());
        let of = |kind: &str| {
            let named = |object: &&serde_json::Value| {
                object["kind"] == kind && text(&object["metadata"]["name"]).starts_with("jobqueue-schedules")
            };
            objects.iter().find(named).unwrap().clone()
        };
        let map = of("ConfigMap");
        assert_eq!(map["data"]["schedules.toml"], file.as_str());
        let volumes = &of("Job")["spec"]["template"]["spec"]["volumes"];
        assert!(volumes.to_string().contains(text(&map["metadata"]["name"])), "{volumes}");
        checksums.insert(map["metadata"]["name"].to_string());
    }
    assert_eq!(checksums.len(), 2, "a changed file has another name");
}

#[test]
fn deploy_refuses_pools_that_use_different_databases() {
    let Some(dir) = ScriptDir::new("pools") else { return };
    dir.with_overlay("right", &["routed-workers", "cnpg"], "");
    let output = dir.run("k8s/deploy.sh", &["--render", "--overlay", "right"]);
    assert!(output.status.success(), "{}", output_text(&output));
    let patch = "patches:\n  - target: { kind: Deployment, name: jobqueue-worker-backups }\n    patch: |\n      - op: replace\n        \
                 path: /spec/template/spec/volumes/0/secret/secretName\n        value: other\n";
    dir.with_overlay("other", &["routed-workers"], patch);
    dir.with_overlay("wrong", &["cnpg", "routed-workers"], "");
    for name in ["other", "wrong"] {
        let output = dir.run("k8s/deploy.sh", &["--render", "--overlay", name]);
        assert!(!output.status.success(), "{name}");
        assert!(output_text(&output).contains("routed-workers first"), "{name}: {}", output_text(&output));
    }
}

#[test]
fn deploy_requires_a_kubectl_and_a_cluster_that_are_new_enough() {
    let Some(dir) = ScriptDir::new("versions") else { return };
    dir.with("secret", "");
    let run = |arguments: &[&str]| {
        let output = dir.run("k8s/deploy.sh", arguments);
        (output.status.success(), output_text(&output))
    };
    for (client, fine) in
        [("v1.26.9", false), ("v1.27.0", true), ("v1.40.1-eks-1", true), ("nonsense", false)]
    {
        dir.with("client-version", client);
        let (ok, output_text) = run(&["--render"]);
        assert!(
            ok == fine && (fine || output_text.contains("install kubectl 1.27 or newer")),
            "{client}: {output_text}"
        );
    }
    dir.with("client-version", "v1.33.0");
    for (server, fine) in [("v1.28.15", false), ("v1.29.0", true), ("v1.41.0+k3s1", true)] {
        dir.with("server-version", server);
        let (ok, output_text) = run(&[]);
        assert!(
            ok == fine && (fine || output_text.contains("the manifests need 1.29 or newer")),
            "{server}: {output_text}"
        );
    }
    let (ok, output_text) = {
        dir.with("server-version", "v1.28.2");
        run(&["--dry-run"])
    };
    assert!(
        !ok && output_text.contains("has Kubernetes 1.28") && output_text.contains("+ a difference"),
        "it continues: {output_text}"
    );
    dir.with_overlay("cost", &["pod-deletion-cost"], "");
    for (server, fine) in [("v1.29.9", false), ("v1.30.0", true)] {
        dir.with("server-version", server);
        let (ok, output_text) = run(&["--overlay", "cost"]);
        assert!(
            ok == fine && (fine || output_text.contains("ValidatingAdmissionPolicy needs 1.30")),
            "{output_text}"
        );
    }
}
