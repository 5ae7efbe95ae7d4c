//! `load-test.sh` with a fake cluster.

use super::{ScriptDir, output_text};

#[test]
fn the_load_test_creates_its_objects_watches_and_deletes_them() {
    let Some(dir) = ScriptDir::new("load") else { return };
    let output = dir.run("k8s/scripts/load-test.sh", &["--users", "50", "--image", "ghcr.io/acme/locust:9"]);
    assert!(output.status.success(), "{}", output_text(&output));
    let calls = dir.calls();
    let at = |what: &str| calls.find(what).unwrap_or_else(|| panic!("no {what} in {calls}"));
    let steps = ["locust-key", "2 kind: Job", "get job locust-master", "logs job/locust-master"];
    assert!(steps.map(at).is_sorted(), "{calls}");
    assert!(calls.contains("bytes of a secret: 32"), "the key, by a pipe: {calls}");
    assert!(
        calls.trim_end().ends_with("delete namespace jobqueue-load --ignore-not-found --wait=false"),
        "{calls}"
    );
    for expected in [
        "jobqueue-worker-hpa 7/9",
        "load: 1000 requests",
        "most worker pods: 7, at least 2",
        "most API pods: 5, at least 3",
        "back at 2 worker and 3 API pods",
    ] {
        assert!(output_text(&output).contains(expected), "{expected}: {}", output_text(&output));
    }
    let key = "k7Qv2mZx9RtB4nWc8LdF3hYs6JpG5aXe";
    assert!(!output_text(&output).contains(key) && !calls.contains(key));

    dir.with("faulty", "load");
    assert_eq!(
        dir.run("k8s/scripts/load-test.sh", &[]).status.code(),
        Some(1),
        "the master's verdict counts"
    );
    dir.with("faulty", "no_scale_in");
    let output = dir.run("k8s/scripts/load-test.sh", &["--scale-in-timeout", "0"]);
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(output_text(&output).contains("jobqueue-api-hpa is at 5"), "{}", output_text(&output));
    let output = dir.run("k8s/scripts/load-test.sh", &["--no-scale-in"]);
    assert!(output.status.success() && !output_text(&output).contains("back at"), "{}", output_text(&output));
    dir.with("faulty", "no_scale");
    let output = dir.run("k8s/scripts/load-test.sh", &[]);
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(output_text(&output).contains("describe hpa jobqueue-worker-hpa"), "{}", output_text(&output));
    assert!(dir.run("k8s/scripts/load-test.sh", &["--no-hpa"]).status.success());
}
