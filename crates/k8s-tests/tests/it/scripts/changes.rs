//! What `deploy.sh` reports before it changes anything: what is missing, what cannot be changed in place, and images
//! that cannot be pulled. Also which workloads a change of the configuration restarts.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use super::{ScriptDir, output_text};
use crate::manifests::{parse, text};

/// The responses of an API server to a dry run.
const STATEFUL_SET: &str = "The StatefulSet \"postgres\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than \
     'replicas', 'ordinals', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden\n";
const SELECTOR: &str = "The Deployment \"jobqueue-api\" is invalid: spec.selector: Invalid value: v1.LabelSelector{}: field is immutable\n";
const QUOTA: &str = "Error from server (Forbidden): error when creating \"STDIN\": pods is forbidden: exceeded quota: small\n";

/// Checks that nothing in the cluster was changed.
fn changed_nothing(dir: &ScriptDir) {
    for verb in ["apply -f", "delete job", "create -f", "rollout", "annotate", "apply --server-side"] {
        assert!(!dir.calls().contains(verb), "{verb}: {}", dir.calls());
    }
}

#[test]
fn what_cannot_be_changed_in_place_is_reported_before_anything_is_applied() {
    let Some(dir) = ScriptDir::new("in-place") else { return };
    dir.with("secret", "");
    for (refusal, expected) in [
        (STATEFUL_SET, "StatefulSet postgres cannot be changed in place"),
        (STATEFUL_SET, "its volume has 20Gi, and the manifests ask for 2Gi"),
        (STATEFUL_SET, "is 'dev' what this installation was made with?"),
        (STATEFUL_SET, "delete statefulset postgres --cascade=orphan"),
        (SELECTOR, "Deployment jobqueue-api cannot be changed in place"),
        (SELECTOR, "delete deployment jobqueue-api"),
        (QUOTA, "exceeded quota: small"),
    ] {
        dir.with("refused", &format!("Warning: of no matter\n{refusal}"));
        for mode in [&["--overlay", "dev"][..], &["--overlay", "dev", "--dry-run"]] {
            let output = dir.run("k8s/deploy.sh", mode);
            assert!(
                !output.status.success() && output_text(&output).contains(expected),
                "{}",
                output_text(&output)
            );
            assert!(!output_text(&output).contains("of no matter"), "{}", output_text(&output));
            changed_nothing(&dir);
        }
    }
    let all = [STATEFUL_SET, SELECTOR, QUOTA].concat();
    let output = output_text(&dir.with("refused", &all).run("k8s/deploy.sh", &[]));
    assert!(output.contains("3 of these would stop the deployment"), "{output}");
}

#[test]
fn everything_that_is_missing_is_listed() {
    let Some(dir) = ScriptDir::new("lists") else { return };
    dir.with("server-version", "v1.28.1")
        .with("denied", "create secrets\ncreate jobs.batch\n")
        .with("unknown", "monitoring.coreos.com\npostgresql.cnpg.io\n")
        .with("refused", QUOTA)
        .with(
            "missing",
            "statefulset postgres\nstorageclass\nnamespace monitoring\nsecret jobqueue-backup-credentials",
        );
    for arguments in [&["--overlay", "prod", "--dry-run"][..], &["--overlay", "prod"]] {
        let output = dir.run("k8s/deploy.sh", arguments);
        assert_eq!(output.status.code(), Some(1));
        for expected in [
            "the cluster has Kubernetes 1.28",
            "your permissions in jobqueue do not include: create jobs.batch, create secrets",
            "the cluster does not serve these API groups: monitoring.coreos.com postgresql.cnpg.io",
            "there is no secret jobqueue-secret and no k8s/secret-values.yaml",
            "no StorageClass is the default",
            "there is no namespace monitoring",
            "there is no secret jobqueue-backup-credentials",
            "exceeded quota: small",
            "8 of these would stop the deployment",
        ] {
            assert!(output_text(&output).contains(expected), "{expected}: {}", output_text(&output));
        }
        changed_nothing(&dir);
    }
}

#[test]
fn an_image_that_cannot_be_pulled_is_reported_before_the_old_migration_is_deleted() {
    let Some(dir) = ScriptDir::new("image") else { return };
    dir.with("secret", "").with("job-image", "jobqueue-api:0.0.9");
    for image in ["jobqueue-api:9.9", "jobqueue-worker:9.9", "postgres:18-bookworm"] {
        let output = dir.with("bad-image", image).run("k8s/deploy.sh", &["--tag", "9.9"]);
        assert!(!output.status.success());
        assert!(
            output_text(&output).contains(&format!("{image}: ErrImagePull: manifest unknown")),
            "{}",
            output_text(&output)
        );
        for verb in ["delete job", "kind: Deployment", "kind: StatefulSet"] {
            assert!(!dir.calls().contains(verb), "{verb}: {}", dir.calls());
        }
        assert!(
            dir.calls()
                .trim_end()
                .ends_with("delete pod jobqueue-image-check --ignore-not-found --wait=false")
        );
    }
    let output = dir.with("bad-image", "").run("k8s/deploy.sh", &["--tag", "9.9"]);
    assert!(
        output.status.success() && output_text(&output).contains("every image can be pulled"),
        "{}",
        output_text(&output)
    );
    assert!(dir.calls().contains("delete job jobqueue-migration"));
    let pod = fs::read_to_string(dir.0.join("fake-cluster/images")).unwrap();
    let images: Vec<_> = parse(&pod)[0]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| text(&container["image"]).to_owned())
        .collect();
    assert_eq!(
        images,
        ["jobqueue-api:9.9", "jobqueue-reaper:9.9", "jobqueue-worker:9.9", "postgres:18-bookworm"]
    );
}

#[test]
fn an_overlay_is_a_name_or_a_path() {
    let Some(dir) = ScriptDir::new("paths") else { return };
    let directory = dir.0.join("elsewhere/my-cluster");
    fs::create_dir_all(&directory).unwrap();
    fs::write(
        directory.join("kustomization.yaml"),
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../k8s]\n\
         components: [../../k8s/components/webhook-egress]\n",
    )
    .unwrap();
    let absolute = directory.display().to_string();
    for path in ["elsewhere/my-cluster", "./elsewhere/my-cluster", "elsewhere/my-cluster/", &absolute] {
        let output = dir.run("k8s/deploy.sh", &["--render", "--overlay", path]);
        assert!(output.status.success(), "{path}: {}", output_text(&output));
        assert!(output_text(&output).contains("jobqueue-egress: webhooks"), "{path}");
    }
    let output = dir.with("secret", "").run("k8s/deploy.sh", &["--overlay", &absolute]);
    assert!(output.status.success(), "{}", output_text(&output));
    for absent in ["nowhere", "./nowhere"] {
        let output = output_text(&dir.run("k8s/deploy.sh", &["--render", "--overlay", absent]));
        assert!(
            output.contains(&format!("no overlay '{absent}'")) && output.contains("dev prod staging"),
            "{output}"
        );
    }
}

/// The checksum in each Deployment's pod template.
fn checksums(output: &Output) -> BTreeMap<String, String> {
    assert!(output.status.success(), "{}", output_text(output));
    let objects = parse(std::str::from_utf8(&output.stdout).unwrap());
    let deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
    deployments
        .map(|object| {
            let annotations = &object["spec"]["template"]["metadata"]["annotations"];
            (text(&object["metadata"]["name"]).to_owned(), text(&annotations["checksum/config"]).to_owned())
        })
        .collect()
}

#[test]
fn a_change_of_the_configuration_restarts_the_workloads_that_read_it() {
    let Some(dir) = ScriptDir::new("rolls") else { return };
    dir.with_overlay("pooled", &["routed-workers", "pgbouncer"], "");
    let render = || checksums(&dir.run("k8s/deploy.sh", &["--render", "--overlay", "pooled"]));
    let cases = [
        ("k8s/worker-handlers.yaml", "timeout_seconds = 10", "timeout_seconds = 11", "jobqueue-worker"),
        ("k8s/configmap.yaml", "LOG_LEVEL: INFO", "LOG_LEVEL: WARN", "jobqueue-"),
        (
            "k8s/components/pgbouncer/config.yaml",
            "default_pool_size",
            "# more\n    default_pool_size",
            "pgbouncer",
        ),
        ("k8s/grafana-dashboard.yaml", "Service level", "Level of service", "nobody"),
    ];
    let mut before = render();
    assert_eq!(before.len(), 11, "three of ours, seven pools, the pooler");
    for (file, old, new, rolls) in cases {
        let file = dir.0.join(file);
        let changed = fs::read_to_string(&file).unwrap().replacen(old, new, 1);
        assert!(changed.contains(new), "{}", file.display());
        fs::write(&file, changed).unwrap();
        let after = render();
        for (name, checksum) in &after {
            assert!(!checksum.is_empty());
            assert_eq!(
                before[name] != *checksum,
                name.starts_with(rolls),
                "{name} after a change of {}",
                file.display()
            );
        }
        before = after;
    }
}
