//! Runs every scenario of the benchmark with small sizes. None may lose a job or run an attempt twice. The figures are
//! ignored, because they depend on the test machine.

use std::process::Command;

#[test]
fn no_scenario_loses_or_duplicates_a_job() {
    let figures = std::env::temp_dir().join(format!("jobqueue-bench-quick-{}.json", std::process::id()));
    let plots = figures.with_extension("plots");
    let bench = || Command::new(env!("CARGO_BIN_EXE_jobqueue-bench"));
    let run = bench().args(["run", "--quick", "--json"]).arg(&figures).status().unwrap();
    assert!(run.success(), "{run}");
    let drawn = bench().arg("plot").arg(&figures).arg("--out").arg(&plots).status().unwrap();
    assert!(drawn.success(), "{drawn}");

    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&figures).unwrap()).unwrap();
    assert!(report["machine"]["postgres"].is_string(), "{}", report["machine"]);
    let has_costs = |scenario: &str| {
        let mut figures = report["figures"].as_array().unwrap().iter();
        figures.any(|figure| figure["scenario"] == scenario && figure["costs"] != serde_json::json!([]))
    };
    for scenario in [
        "burn-down",
        "saturate",
        "count",
        "mixed",
        "pinned",
        "rest",
        "latency",
        "idle",
        "memory",
        "backlog",
        "crowd",
        "schedules",
    ] {
        assert!(has_costs(scenario), "{scenario} has no figure with its costs");
    }
    for plot in ["ratios.svg", "over-time.svg"] {
        assert!(std::fs::read_to_string(plots.join(plot)).unwrap().contains("</svg>"), "{plot}");
    }
    std::fs::remove_dir_all(plots).unwrap();
    std::fs::remove_file(figures).unwrap();
}
