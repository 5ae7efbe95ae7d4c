//! `deploy.sh`, `validate.sh`, `load-test.sh` and `chaos.sh` against stand-ins for the cluster and the API: their order, what they
//! refuse, what they never print, and that each check can fail.

mod api;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use self::api::Answers;
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
        // of this process: the tests may run twice at once
        let own = format!("{name}-{}", std::process::id());
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripts").join(own);
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

    /// Tells the stand-in how the cluster is; see there.
    fn with(&self, file: &str, text: &str) -> &Self {
        fs::write(self.0.join("stand-in").join(file), text).unwrap();
        self
    }

    /// Starts an API that the stand-in's port-forwards lead to.
    fn with_api(&self, answers: Answers) {
        self.with("api-port", &api::start(answers).to_string());
    }

    /// An overlay of the operator's own.
    fn with_overlay(&self, name: &str, components: &[&str], patches: &str) {
        let place = self.0.join("k8s-overlays").join(name);
        fs::create_dir_all(&place).unwrap();
        let listed: Vec<_> =
            components.iter().map(|name| format!("  - ../../k8s/components/{name}\n")).collect();
        let listed = listed.concat();
        let head =
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../k8s]\n";
        fs::write(place.join("kustomization.yaml"), format!("{head}components:\n{listed}{patches}")).unwrap();
    }

    /// Every port-forward and every log that a script follows has ended with it.
    fn left_no_forward(&self) {
        let begun = fs::read_to_string(self.0.join("stand-in/forwards")).unwrap();
        for process in begun.lines() {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            assert!(stat.is_empty() || stat.contains(") Z "), "still there: {stat}");
        }
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.0.join("stand-in/calls")).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _absent = fs::remove_dir_all(&self.0);
        }
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
fn the_scripts_say_which_bash_they_need() {
    for script in ["deploy.sh", "validate.sh", "scripts/chaos.sh", "scripts/load-test.sh"] {
        let text = fs::read_to_string(root().join("k8s").join(script)).unwrap();
        assert!(text.lines().take(12).any(|line| line.contains("BASH_VERSINFO")), "{script}");
    }
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
fn validate_looks_at_every_container() {
    let Some(place) = Place::new("containers") else { return };
    let checks = ["probes_configured", "resources_bounded", "containers_hardened"];
    for (container, found) in [
        ("Deployment/jobqueue-api/main", 3),
        ("StatefulSet/postgres/main", 3),
        ("Job/jobqueue-migration/main", 2),
        ("Deployment/jobqueue-api/init", 2),
        ("Job/jobqueue-migration/init", 2),
    ] {
        place.with("spoiled-containers", container);
        let output = told(&place.run("k8s/validate.sh", &["--only", &checks.join(",")]));
        assert!(output.contains(&format!("{found} failed")), "{container}: {output}");
        assert!(output.contains(container.rsplit_once('/').unwrap().0), "{output}");
    }
}

/// Checks of `validate.sh` that need an API, and one that needs pods of its own.
const LIVE_CHECKS: &str = "job_finishes,prometheus_scrapes,worker_loss_survived,network_policy_effective";

#[test]
fn validate_asks_the_api_and_takes_its_forwards_away() {
    let Some(place) = Place::new("asks") else { return };
    place.with_api(Answers::HEALTHY);
    let output = place.run("k8s/validate.sh", &["--only", LIVE_CHECKS]);
    assert!(told(&output).contains("4 passed, 0 failed, 0 skipped"), "{}", told(&output));
    assert!(told(&output).contains("a deleted pod gave back 500 jobs, which others finished"));
    assert!(place.calls().contains("delete pod worker-b --wait=false"), "not the one on its way out");
    place.left_no_forward();
    place.with("missing", "statefulset postgres").with("present", "cnpg");
    let output = place.run("k8s/validate.sh", &["--only", "network_policy_effective"]);
    assert!(output.status.success() && place.calls().contains("\"-h\",\"jobqueue-db-rw\""));
}

#[test]
fn validate_fails_on_a_lost_job_an_open_network_and_a_target_that_is_down() {
    let Some(place) = Place::new("loses") else { return };
    place.with_api(Answers { finished: 499, scraped: false, ..Answers::HEALTHY });
    let output = told(&place.with("spoiled", "no_policy").run("k8s/validate.sh", &["--only", LIVE_CHECKS]));
    for expected in
        ["1 of 500 jobs are not completed", "without our labels reaches", "no pod of jobqueue-worker"]
    {
        assert!(output.contains(expected), "{output}");
    }
    assert!(output.contains("1 passed, 3 failed, 0 skipped"), "{output}");
    place.with_api(Answers { moved: false, ..Answers::HEALTHY });
    let output = told(&place.with("spoiled", "no_answer").run("k8s/validate.sh", &["--only", LIVE_CHECKS]));
    assert!(output.contains("a pod that may reach postgres does not"), "{output}");
    assert!(output.contains("skip  worker-loss-survived"), "nobody saw one in hand: {output}");
    place.with("spoiled", "");
    let output = told(&place.run("k8s/validate.sh", &["--only", "worker_loss_survived"]));
    assert!(output.contains("a deleted pod had 10 jobs in hand, which it finished"), "{output}");
}

#[test]
fn chaos_kills_gently_counts_what_it_could_not_break_and_takes_its_forward_away() {
    let Some(place) = Place::new("chaos") else { return };
    place.with_api(Answers::HEALTHY);
    let output = place.run(
        "k8s/scripts/chaos.sh",
        &["--cut", "1", "--only", "database_killed,worker_cut_off,node_drained"],
    );
    assert!(output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("skipped: give --node"), "{}", told(&output));
    assert!(place.calls().contains("delete pod postgres-0 --grace-period=1 --wait=false"));
    assert!(!place.calls().contains("--force") && !place.calls().contains("grace-period=0"));
    assert!(place.calls().contains("\"value\":[\"jobqueue-api\"]}"), "the workers are cut off");
    place.left_no_forward();
    place.with("spoiled", "kill").with_api(Answers { workers_go: false, ..Answers::HEALTHY });
    let output = place.run("k8s/scripts/chaos.sh", &["--cut", "1", "--only", "api_killed,worker_cut_off"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    for expected in
        ["FAILED: it cannot be deleted", "FAILED: job_queue_workers was 2 and is 2", "2 experiments"]
    {
        assert!(told(&output).contains(expected), "{}", told(&output));
    }
    place.left_no_forward();
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
    place.with("spoiled", "no_scale");
    let output = place.run("k8s/scripts/load-test.sh", &[]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("describe hpa jobqueue-worker-hpa"), "{}", told(&output));
    assert!(place.run("k8s/scripts/load-test.sh", &["--no-hpa"]).status.success());
}
