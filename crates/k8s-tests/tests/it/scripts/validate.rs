//! `validate.sh` with a fake cluster and a fake API: each of its checks passes on a correct installation, and fails if
//! one thing is wrong.

use std::process::Command;

use super::api::Answers;
use super::{ScriptDir, output_text};
use crate::manifests::root;

/// This check fails only after 30 s, so it is tested below with others that are as slow.
const SLOW_TO_FAIL: &str = "worker_loss_survived";

#[test]
fn validate_names_its_checks_and_each_can_fail() {
    let Some(dir) = ScriptDir::new("validates") else { return };
    let listed = output_text(&dir.run("k8s/validate.sh", &["--list"]));
    let count = listed.lines().count();
    assert!(count >= 12, "{listed}");
    dir.with_api(Answers::HEALTHY);
    let output = dir.with("job-image", "jobqueue-api:0.1.0").with("secret", "").run("k8s/validate.sh", &[]);
    assert!(
        output_text(&output).contains(&format!("{count} passed, 0 failed, 0 skipped")),
        "{}",
        output_text(&output)
    );
    for check in listed.lines().filter(|check| *check != SLOW_TO_FAIL) {
        dir.with("faulty", check).with_api(Answers { failing: leaked(check), ..Answers::HEALTHY });
        let output = dir.run("k8s/validate.sh", &["--wait", "0", "--only", check]);
        assert_eq!(output.status.code(), Some(1), "{check}: {}", output_text(&output));
        let line = format!("FAIL  {}", check.replace('_', "-"));
        assert!(output_text(&output).contains(&line), "{check}: {}", output_text(&output));
        assert!(
            output_text(&output).contains("0 passed, 1 failed, 0 skipped"),
            "{check}: {}",
            output_text(&output)
        );
    }
    dir.assert_no_forward_left();
}

/// The fake API needs strings that live until the tests end.
fn leaked(text: &str) -> &'static str {
    text.to_owned().leak()
}

#[test]
fn validate_fails_if_objects_are_missing() {
    let Some(dir) = ScriptDir::new("absent") else { return };
    let run = |check: &str| output_text(&dir.run("k8s/validate.sh", &["--wait", "0", "--only", check]));
    for (check, missing, reason) in [
        ("pods_ready", "pods", "no pod of jobqueue-api is ready"),
        ("autoscalers_active", "hpa jobqueue-api-hpa", "no autoscaler jobqueue-api-hpa"),
        ("autoscalers_active", "hpa jobqueue-worker-hpa", "no autoscaler jobqueue-worker-hpa"),
        ("disruption_budgets_allow", "pdb jobqueue-api", "no PodDisruptionBudget jobqueue-api"),
        ("disruption_budgets_allow", "pdb jobqueue-worker", "no PodDisruptionBudget jobqueue-worker"),
        ("grace_longer_than_drain", "deployment jobqueue-api", "no deployment/jobqueue-api"),
    ] {
        let output = dir.with("missing", missing);
        let output_text = run(check);
        assert!(output_text.contains("1 failed") && output_text.contains(reason), "{missing}: {output_text}");
        output.with("missing", "");
    }
    for (check, failing, reason) in [
        ("pods_ready", "no_reaper", "no pod of jobqueue-reaper is ready"),
        ("grace_longer_than_drain", "grace_of_the_api", "jobqueue-api (30 s, but 5 + 25 + 5)"),
        ("grace_longer_than_drain", "grace_of_a_pool", "jobqueue-worker-backups (60 s, but 0 + 120 + 9)"),
    ] {
        dir.with("faulty", failing);
        let output_text = run(check);
        assert!(output_text.contains("1 failed") && output_text.contains(reason), "{failing}: {output_text}");
    }
}

#[test]
fn validate_skips_the_schedules_of_an_installation_without_them() {
    let Some(dir) = ScriptDir::new("unscheduled") else { return };
    let run = || output_text(&dir.run("k8s/validate.sh", &["--only", "pods_ready,schedules_applied"]));
    assert!(run().contains("2 passed, 0 failed, 0 skipped"), "{}", run());
    dir.with("missing", "job jobqueue-schedules");
    assert!(run().contains("1 passed, 0 failed, 1 skipped"), "{}", run());
}

#[test]
fn validate_waits_for_what_has_just_been_installed() {
    let Some(dir) = ScriptDir::new("waits") else { return };
    let checks = "pods_ready,autoscalers_active";
    let queries = || dir.calls().matches("ScalingActive").count();
    let output = output_text(&dir.with("slow", "1").run("k8s/validate.sh", &["--only", checks]));
    assert!(output.contains("2 passed, 0 failed") && queries() == 1, "{output}");
    let output =
        output_text(&dir.with("slow", "9").run("k8s/validate.sh", &["--wait", "1", "--only", checks]));
    assert!(output.contains("0 passed, 2 failed"), "{output}");
    assert_eq!(
        output.matches("not ready: jobqueue-api-x").count(),
        1,
        "the reason of the last time: {output}"
    );
    assert_eq!(queries(), 2, "once in vain, nothing else is waited for: {}", dir.calls());
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
    assert!(output_text(&output).contains("5 passed, 0 failed, 0 skipped"), "{}", output_text(&output));
    for (checks, key) in [("api_alive", ""), ("api_alive,pods_ready", "a-key")] {
        assert_eq!(run(checks, key).status.code(), Some(2), "{checks}");
    }
}

#[test]
fn validate_checks_every_container() {
    let Some(dir) = ScriptDir::new("containers") else { return };
    let checks = ["probes_configured", "resources_bounded", "containers_hardened"];
    for (container, found) in [
        ("Deployment/jobqueue-api/main", 3),
        ("StatefulSet/postgres/main", 3),
        ("Job/jobqueue-migration/main", 2),
        ("Deployment/jobqueue-api/init", 2),
        ("Job/jobqueue-migration/init", 2),
    ] {
        dir.with("faulty-containers", container);
        let output = output_text(&dir.run("k8s/validate.sh", &["--only", &checks.join(",")]));
        assert!(output.contains(&format!("{found} failed")), "{container}: {output}");
        assert!(output.contains(container.rsplit_once('/').unwrap().0), "{output}");
    }
}

#[test]
fn validate_refuses_the_keys_and_passwords_of_examples() {
    let Some(dir) = ScriptDir::new("placeholders") else { return };
    let run = || output_text(&dir.run("k8s/validate.sh", &["--only", "secret_is_real"]));
    for key in [
        "your-secret-key-here-min-32-characters",
        "super-secret-api-key-change-in-production",
        "my-production-key-with-at-least-32-characters",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "00000000000000000000000000000000",
        "<the root key, 32 characters or more>",
        "CHANGE_ME_CHANGE_ME_CHANGE_ME_CHANGE_ME",
    ] {
        dir.with("api-key", key);
        let output = run();
        assert!(
            output.contains("1 failed") && output.contains("API_SECRET_KEY is a placeholder"),
            "{key}: {output}"
        );
        assert!(!output.contains(key), "it is never printed");
    }
    for key in ["a3f1c09e5b7d2846a3f1c09e5b7d2846", "w2Jx/8qV+Zr0tN5kYb7mQe4GhUoL1sDf9aCi"] {
        dir.with("api-key", key);
        assert!(run().contains("1 passed, 0 failed"), "{key}");
    }
    dir.with("password", "WU9VUl9QQVNTV09SRA==");
    assert!(run().contains("POSTGRES_PASSWORD is a placeholder"), "{}", run());
    dir.with("missing", "statefulset postgres");
    assert!(run().contains("1 passed, 0 failed"), "with a managed Postgres it is not used");
}

/// Checks of `validate.sh` that need an API, and one that creates its own pods.
const LIVE_CHECKS: &str = "job_finishes,prometheus_scrapes,worker_loss_survived,network_policy_effective";

#[test]
fn validate_calls_the_api_and_ends_its_port_forwards() {
    let Some(dir) = ScriptDir::new("asks") else { return };
    dir.with_api(Answers::HEALTHY);
    let output = dir.run("k8s/validate.sh", &["--only", LIVE_CHECKS]);
    assert!(output_text(&output).contains("4 passed, 0 failed, 0 skipped"), "{}", output_text(&output));
    assert!(output_text(&output).contains("a deleted pod released 500 jobs, which other pods finished"));
    assert!(dir.calls().contains("delete pod worker-b --wait=false"), "not the one on its way out");
    dir.assert_no_forward_left();
    dir.with("missing", "statefulset postgres").with("present", "cnpg");
    let output = dir.run("k8s/validate.sh", &["--only", "network_policy_effective"]);
    assert!(output.status.success() && dir.calls().contains("\"-h\",\"jobqueue-db-rw\",\"-U\",\"postgres\""));
}

#[test]
fn validate_fails_on_a_lost_job_an_open_network_and_a_target_that_is_down() {
    let Some(dir) = ScriptDir::new("loses") else { return };
    dir.with_api(Answers { finished: 499, scraped: false, ..Answers::HEALTHY });
    let output = output_text(
        &dir.with("faulty", "network_policy_effective").run("k8s/validate.sh", &["--only", LIVE_CHECKS]),
    );
    for expected in [
        "1 of 500 jobs are not completed",
        "without jobqueue's labels can connect to",
        "no pod of jobqueue-worker",
    ] {
        assert!(output.contains(expected), "{output}");
    }
    assert!(output.contains("1 passed, 3 failed, 0 skipped"), "{output}");
    dir.with_api(Answers { moved: false, ..Answers::HEALTHY });
    let output =
        output_text(&dir.with("faulty", "no_answer").run("k8s/validate.sh", &["--only", LIVE_CHECKS]));
    assert!(output.contains("a pod that is allowed to connect to postgres cannot"), "{output}");
    assert!(output.contains("skip  worker-loss-survived"), "no deleted pod held a job: {output}");
    dir.with("faulty", "");
    let output = output_text(&dir.run("k8s/validate.sh", &["--only", "worker_loss_survived"]));
    assert!(output.contains("a deleted pod held 10 jobs, which it finished"), "{output}");
}
