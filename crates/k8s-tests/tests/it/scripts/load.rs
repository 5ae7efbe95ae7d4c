//! `load-test.sh` against the stand-in cluster.

use super::{Place, told};

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
    for expected in [
        "jobqueue-worker-hpa 7/9",
        "load: 1000 requests",
        "most worker pods: 7, at least 2",
        "most API pods: 5, at least 3",
        "back at 2 worker and 3 API pods",
    ] {
        assert!(told(&output).contains(expected), "{expected}: {}", told(&output));
    }
    let key = "a-key-of-more-than-thirty-two-characters";
    assert!(!told(&output).contains(key) && !calls.contains(key));

    place.with("spoiled", "load");
    assert_eq!(
        place.run("k8s/scripts/load-test.sh", &[]).status.code(),
        Some(1),
        "the master's verdict counts"
    );
    place.with("spoiled", "no_scale_in");
    let output = place.run("k8s/scripts/load-test.sh", &["--scale-in-timeout", "0"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("jobqueue-api-hpa is at 5"), "{}", told(&output));
    let output = place.run("k8s/scripts/load-test.sh", &["--no-scale-in"]);
    assert!(output.status.success() && !told(&output).contains("back at"), "{}", told(&output));
    place.with("spoiled", "no_scale");
    let output = place.run("k8s/scripts/load-test.sh", &[]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("describe hpa jobqueue-worker-hpa"), "{}", told(&output));
    assert!(place.run("k8s/scripts/load-test.sh", &["--no-hpa"]).status.success());
}
