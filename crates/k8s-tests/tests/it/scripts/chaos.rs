//! `chaos.sh` against the stand-ins.

use super::api::Answers;
use super::{Place, told};

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
