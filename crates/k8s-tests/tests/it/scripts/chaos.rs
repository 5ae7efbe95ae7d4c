//! `chaos.sh` with a fake cluster and a fake API.

use super::api::Answers;
use super::{ScriptDir, output_text};

#[test]
fn chaos_counts_skipped_experiments_and_ends_its_port_forward() {
    let Some(dir) = ScriptDir::new("chaos") else { return };
    dir.with_api(Answers::HEALTHY);
    let output = dir.run(
        "k8s/scripts/chaos.sh",
        &["--cut", "1", "--only", "database_killed,worker_cut_off,node_drained"],
    );
    assert!(output.status.success(), "{}", output_text(&output));
    assert!(output_text(&output).contains("skipped: give --node"), "{}", output_text(&output));
    assert!(dir.calls().contains("delete pod postgres-0 --grace-period=1 --wait=false"));
    assert!(!dir.calls().contains("--force") && !dir.calls().contains("grace-period=0"));
    let calls = dir.calls();
    let at = |what: &str| calls.find(what).unwrap_or_else(|| panic!("no {what} in {calls}"));
    let steps = [
        "label pod a-pod app.kubernetes.io/name=jobqueue-cut-off --overwrite",
        "get pod a-pod",
        "delete pod a-pod --grace-period=1",
    ];
    assert!(steps.map(at).is_sorted(), "one worker is cut off until the jobs are finished: {calls}");
    dir.assert_no_forward_left();
    for (failing, experiment, expected) in [
        ("kill", "api_killed", "FAILED: it cannot be deleted"),
        ("still_connected", "worker_cut_off", "FAILED: a-pod is still ready after 1 s"),
    ] {
        dir.with("faulty", failing);
        let output = dir.run("k8s/scripts/chaos.sh", &["--cut", "1", "--only", experiment]);
        assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
        assert!(
            output_text(&output).contains(expected) && output_text(&output).contains("1 experiments"),
            "{}",
            output_text(&output)
        );
    }
    dir.with("faulty", "");
    let output = dir.run("k8s/scripts/chaos.sh", &["--reclaim", "0", "--only", "worker_killed"]);
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("FAILED: the jobs of the worker were not finished within 0 s"),
        "{}",
        output_text(&output)
    );
    dir.assert_no_forward_left();
}
