//! The routed pools differ from the worker of the base only in the fields that define a pool.

use serde_json::Value;

use crate::manifests::{base, list, text, variant};

const POOLS: [&str; 7] =
    ["backups", "pricing", "reports", "notifications", "accounting", "monitoring", "webhooks"];

#[test]
fn a_pool_is_the_worker_of_the_base_with_its_own_queues_slots_and_priority() {
    let Some(variant) = variant("routed-workers") else { return };
    let worker = base().get("Deployment", "jobqueue-worker");
    let mut queues = Vec::new();
    for pool in POOLS {
        let name = format!("jobqueue-worker-{pool}");
        let deployment = variant.get("Deployment", &name);
        let env = list(&deployment["spec"]["template"]["spec"]["containers"][0]["env"]);
        let value = |name: &str| env.iter().find(|e| e["name"] == name).map(|e| text(&e["value"]).to_owned());
        let served = value("WORKER_QUEUES").unwrap();
        queues.extend(served.split(',').map(|q| q.split('=').next().unwrap().to_owned()));
        assert!(value("WORKER_SLOTS").unwrap().parse::<u32>().unwrap() > 0);
        assert!(deployment["spec"]["template"]["spec"]["priorityClassName"].is_string());
        assert_eq!(as_the_base(deployment, pool), *worker, "{name} differs from worker.yaml");
        let scaler = variant.get("HorizontalPodAutoscaler", &format!("{name}-hpa"));
        assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], name.as_str());
        variant.get("PodDisruptionBudget", &name);
    }
    queues.push("default".to_owned());
    let distinct: std::collections::BTreeSet<_> = queues.iter().collect();
    assert_eq!(distinct.len(), queues.len(), "a queue in two pools: {queues:?}");
}

fn as_the_base(deployment: &Value, pool: &str) -> Value {
    let yaml = deployment.to_string();
    let yaml = yaml.replace(&format!("\"jobqueue-worker-{pool}\""), "\"jobqueue-worker\"");
    let mut plain: Value =
        serde_json::from_str(&yaml.replace(&format!("\"worker-{pool}\""), "\"worker\"")).unwrap();
    let template = &mut plain["spec"]["template"];
    template["spec"].as_object_mut().unwrap().remove("priorityClassName");
    template["metadata"]["labels"].as_object_mut().unwrap().remove("jobqueue-egress");
    let env = template["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    env.retain(|entry| entry["name"] != "WORKER_QUEUES" && entry["name"] != "WORKER_SLOTS");
    plain
}
