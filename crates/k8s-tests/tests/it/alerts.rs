//! The alerts: `promtool` checks them and runs their tests. Each alert has a test in which it fires, one in which it
//! does not, and a runbook.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::manifests::{list, must_not_skip, parse, read, text};

/// Components with alerts: prometheus-rule.yaml, and rules-test.yaml beside it.
const WITH_ALERTS: [&str; 2] = ["servicemonitor", "cnpg"];

fn rule_of(component: &str) -> Value {
    parse(&read(&format!("k8s/components/{component}/prometheus-rule.yaml"))).remove(0)
}

fn tests_of(component: &str) -> String {
    read(&format!("k8s/components/{component}/rules-test.yaml"))
}

fn alerts(rule: &Value) -> Vec<&Value> {
    list(&rule["spec"]["groups"]).iter().flat_map(|group| list(&group["rules"])).collect()
}

#[test]
fn every_alert_has_a_test_that_fires_one_that_does_not_a_severity_and_a_runbook() {
    let operations = read("docs/operations.md");
    for component in WITH_ALERTS {
        has_tests_and_runbooks(&rule_of(component), &parse(&tests_of(component))[0], &operations);
    }
}

fn has_tests_and_runbooks(rule: &Value, tests: &Value, operations: &str) {
    for alert in alerts(rule) {
        let name = text(&alert["alert"]);
        for what in ["fires", "is silent"] {
            let title = format!("{name} {what}");
            assert!(
                list(&tests["tests"]).iter().any(|test| test["name"] == title.as_str()),
                "no test: {title}"
            );
        }
        assert!(["warning", "critical"].contains(&text(&alert["labels"]["severity"])), "{name}");
        for annotation in ["summary", "description"] {
            assert!(!text(&alert["annotations"][annotation]).is_empty(), "{name}: {annotation}");
        }
        let anchor = text(&alert["annotations"]["runbook_url"]).rsplit_once("docs/operations.md#").unwrap().1;
        assert_eq!(anchor, name.to_lowercase());
        let heading = format!("### {name}\n");
        assert!(operations.contains(&heading), "docs/operations.md has no runbook `{}`", heading.trim());
    }
}

/// Runs promtool. Returns `None` and prints a message if it is not installed.
pub(crate) fn promtool(arguments: &[&str], directory: &Path) -> Option<()> {
    let Ok(output) = Command::new("promtool").args(arguments).current_dir(directory).output() else {
        assert!(!must_not_skip(), "CI is set, and there is no promtool");
        println!("SKIPPED: no promtool (apt install prometheus)");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {text}");
    Some(())
}

pub(crate) fn work_dir(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rules").join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests_pass() {
    for component in WITH_ALERTS {
        accepted_and_tested(component);
    }
}

fn accepted_and_tested(component: &str) {
    let mut rule = rule_of(component);
    let directory = work_dir(component);
    let write = |rule: &Value| {
        // JSON is valid YAML
        let groups = json!({ "groups": rule["spec"]["groups"] }).to_string();
        fs::write(directory.join("rules.yaml"), groups).unwrap();
    };
    write(&rule);
    if promtool(&["check", "rules", "rules.yaml"], &directory).is_none() {
        return;
    }
    // promtool compares annotations exactly, but the tests only check when an alert fires
    for group in rule["spec"]["groups"].as_array_mut().unwrap() {
        for alert in group["rules"].as_array_mut().unwrap() {
            alert.as_object_mut().unwrap().remove("annotations");
        }
    }
    write(&rule);
    fs::write(directory.join("rules-test.yaml"), tests_of(component)).unwrap();
    promtool(&["test", "rules", "rules-test.yaml"], &directory);
}
