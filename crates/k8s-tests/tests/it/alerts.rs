//! The alerts hold in Prometheus' own eyes: `promtool` checks them and runs their tests; each has a test both ways and a runbook.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::manifests::{list, parse, read, text};

const RULE: &str = "k8s/components/servicemonitor/prometheus-rule.yaml";
const TESTS: &str = "k8s/components/servicemonitor/rules-test.yaml";

fn alerts(rule: &Value) -> Vec<&Value> {
    list(&rule["spec"]["groups"]).iter().flat_map(|group| list(&group["rules"])).collect()
}

#[test]
fn every_alert_has_a_test_both_ways_a_severity_and_a_runbook() {
    let rule = &parse(&read(RULE))[0];
    let tests = &parse(&read(TESTS))[0];
    let operations = read("docs/operations.md");
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

fn promtool(arguments: &[&str], directory: &Path) -> Option<()> {
    let output = Command::new("promtool").args(arguments).current_dir(directory).output().ok()?;
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {told}");
    Some(())
}

fn workplace(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rules").join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests_pass() {
    let mut rule = parse(&read(RULE)).remove(0);
    let directory = workplace("all");
    let write = |rule: &Value| {
        // JSON is YAML
        let groups = json!({ "groups": rule["spec"]["groups"] }).to_string();
        fs::write(directory.join("rules.yaml"), groups).unwrap();
    };
    write(&rule);
    if promtool(&["check", "rules", "rules.yaml"], &directory).is_none() {
        println!("SKIPPED: no promtool (apt install prometheus)");
        return;
    }
    // promtool compares annotations word by word; the tests are about when an alert fires
    for group in rule["spec"]["groups"].as_array_mut().unwrap() {
        for alert in group["rules"].as_array_mut().unwrap() {
            alert.as_object_mut().unwrap().remove("annotations");
        }
    }
    write(&rule);
    fs::write(directory.join("rules-test.yaml"), read(TESTS)).unwrap();
    promtool(&["test", "rules", "rules-test.yaml"], &directory);
}
