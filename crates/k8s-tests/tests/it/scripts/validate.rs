//! `validate.sh` against the stand-ins: each of its checks passes where all is well, and fails where one thing is not.

use std::process::Command;

use super::api::Answers;
use super::{Place, told};
use crate::manifests::root;

/// Fails once its jobs had 30 s: seen below, with others that are as slow.
const SLOW_TO_FAIL: &str = "worker_loss_survived";

#[test]
fn validate_names_its_checks_and_each_can_fail() {
    let Some(place) = Place::new("validates") else { return };
    let listed = told(&place.run("k8s/validate.sh", &["--list"]));
    let count = listed.lines().count();
    assert!(count >= 12, "{listed}");
    place.with_api(Answers::HEALTHY);
    let output = place.with("job-image", "jobqueue-api:0.1.0").with("secret", "").run("k8s/validate.sh", &[]);
    assert!(told(&output).contains(&format!("{count} passed, 0 failed, 0 skipped")), "{}", told(&output));
    for check in listed.lines().filter(|check| *check != SLOW_TO_FAIL) {
        place.with("spoiled", check).with_api(Answers { spoiled: leaked(check), ..Answers::HEALTHY });
        let output = place.run("k8s/validate.sh", &["--wait", "0", "--only", check]);
        assert_eq!(output.status.code(), Some(1), "{check}: {}", told(&output));
        let line = format!("FAIL  {}", check.replace('_', "-"));
        assert!(told(&output).contains(&line), "{check}: {}", told(&output));
        assert!(told(&output).contains("0 passed, 1 failed, 0 skipped"), "{check}: {}", told(&output));
    }
    place.left_no_forward();
}

/// The stand-in API lives as long as the tests.
fn leaked(text: &str) -> &'static str {
    text.to_owned().leak()
}

#[test]
fn validate_does_not_pass_what_is_not_there() {
    let Some(place) = Place::new("absent") else { return };
    let run = |check: &str| told(&place.run("k8s/validate.sh", &["--wait", "0", "--only", check]));
    for (check, missing, reason) in [
        ("pods_ready", "pods", "no pod of jobqueue-api is ready"),
        ("autoscalers_active", "hpa jobqueue-api-hpa", "no autoscaler jobqueue-api-hpa"),
        ("autoscalers_active", "hpa jobqueue-worker-hpa", "no autoscaler jobqueue-worker-hpa"),
        ("disruption_budgets_allow", "pdb jobqueue-api", "no PodDisruptionBudget jobqueue-api"),
        ("disruption_budgets_allow", "pdb jobqueue-worker", "no PodDisruptionBudget jobqueue-worker"),
        ("grace_longer_than_drain", "deployment jobqueue-api", "no deployment/jobqueue-api"),
    ] {
        let output = place.with("missing", missing);
        let told = run(check);
        assert!(told.contains("1 failed") && told.contains(reason), "{missing}: {told}");
        output.with("missing", "");
    }
    for (check, spoiled, reason) in [
        ("pods_ready", "no_reaper", "no pod of jobqueue-reaper is ready"),
        ("grace_longer_than_drain", "grace_of_the_api", "jobqueue-api (30 s, but 5 + 25 + 5)"),
        ("grace_longer_than_drain", "grace_of_a_pool", "jobqueue-worker-backups (60 s, but 0 + 120 + 9)"),
    ] {
        place.with("spoiled", spoiled);
        let told = run(check);
        assert!(told.contains("1 failed") && told.contains(reason), "{spoiled}: {told}");
    }
}

#[test]
fn validate_waits_for_what_has_just_been_installed() {
    let Some(place) = Place::new("waits") else { return };
    let checks = "pods_ready,autoscalers_active";
    let asked = || place.calls().matches("ScalingActive").count();
    let output = told(&place.with("slow", "1").run("k8s/validate.sh", &["--only", checks]));
    assert!(output.contains("2 passed, 0 failed") && asked() == 1, "{output}");
    let output = told(&place.with("slow", "9").run("k8s/validate.sh", &["--wait", "1", "--only", checks]));
    assert!(output.contains("0 passed, 2 failed"), "{output}");
    assert_eq!(
        output.matches("not ready: jobqueue-api-x").count(),
        1,
        "the reason of the last time: {output}"
    );
    assert_eq!(asked(), 2, "once in vain, nothing else is waited for: {}", place.calls());
}

#[test]
fn validate_needs_no_cluster_for_the_api_alone() {
    let port = super::api::start(Answers::HEALTHY);
    let run = |checks: &str, key: &str| {
        let output = Command::new(root().join("k8s/validate.sh"))
            .args(["--url", &format!("http://127.0.0.1:{port}"), "--only", checks])
            .env("JOBQUEUE_API_KEY", key)
            .env("KUBECONFIG", "/nonexistent")
            .env("KUBERNETES_MASTER", "http://127.0.0.1:1")
            .output();
        output.unwrap()
    };
    let output = run("api_alive,api_ready,key_required,job_finishes,metrics_of_the_queues", "a-key");
    assert!(told(&output).contains("5 passed, 0 failed, 0 skipped"), "{}", told(&output));
    for (checks, key) in [("api_alive", ""), ("api_alive,pods_ready", "a-key")] {
        assert_eq!(run(checks, key).status.code(), Some(2), "{checks}");
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
    assert!(
        output.status.success() && place.calls().contains("\"-h\",\"jobqueue-db-rw\",\"-U\",\"postgres\"")
    );
}

#[test]
fn validate_fails_on_a_lost_job_an_open_network_and_a_target_that_is_down() {
    let Some(place) = Place::new("loses") else { return };
    place.with_api(Answers { finished: 499, scraped: false, ..Answers::HEALTHY });
    let output = told(
        &place.with("spoiled", "network_policy_effective").run("k8s/validate.sh", &["--only", LIVE_CHECKS]),
    );
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
